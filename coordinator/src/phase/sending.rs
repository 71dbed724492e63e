//! What goes to the trainer of a member: its state, then batches with their rows, and requests for checkpoints.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;
use proto::batch::ArrivingBatch;
use proto::limits::STEPS_AHEAD;
use proto::state::{Header, encode_state, parts};
use proto::wire;
use proto::wire::train_request::Request;
use scff::batch::Step;
use scff::layer::LayerState;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::order::Order;
use crate::transform::Job;

use super::under_way::UnderWay;

/// The member below one that is live.
pub struct Below {
    /// Its batches, where it passes on outputs of positive pairs, which belong to whoever has them by its own shifts.
    pub order: Option<Order>,
    /// How many steps it has taken: what these pass on is on its way.
    pub taken: watch::Receiver<u64>,
}

/// Batches whose rows come from the member below.
pub async fn live_batches(
    mut order: Order,
    steps: Range<u64>,
    mut below: Below,
    jobs: &mpsc::Sender<Job<wire::Batch>>,
) {
    for step in steps {
        if below.taken.wait_for(|taken| *taken > step).await.is_err() {
            return;
        }
        let shift = |order: &mut Order| order.batch(Step(step)).shifts[0] as u32;
        let shift_below = below.order.as_mut().map_or(0, shift);
        let message = ArrivingBatch { batch: order.batch(Step(step)), arriving: Vec::new() };
        let tag = wire::Batch { shift_below, ..wire::Batch::from(&message) };
        if jobs.send(Job { tag, rows: Vec::new() }).await.is_err() {
            return;
        }
    }
}

/// The steps of a member in this attempt.
pub struct Course {
    /// Taken already.
    pub from: Step,
    /// After how many steps the state is asked for, now and then.
    pub checkpoint_every: u64,
    /// Taken in the end; fewer, once batches end early.
    pub end: Arc<AtomicU64>,
    /// What has been asked for and not answered yet.
    pub under_way: Arc<UnderWay>,
    /// Ends the batches early; only that of the lowest member, for those above have no batches without its outputs.
    pub halt: Option<CancellationToken>,
    /// How many steps the member above has taken: what is passed on to it waits there, so this one is only a few steps ahead.
    pub above: Option<watch::Receiver<u64>>,
}

/// Sends everything, up to the last batch or, where there is to be a halt, to the one at hand. Batches that end early, since this
/// member or one below stops, end with a request for the state.
pub async fn send(
    begin: wire::TrainBegin,
    state: LayerState,
    mut batches: mpsc::Receiver<Job<wire::Batch>>,
    course: Course,
    requests: &mpsc::Sender<wire::TrainRequest>,
    bytes_sent: &AtomicU64,
) -> Result<(), mpsc::error::SendError<wire::TrainRequest>> {
    let send = async |request: Request| {
        let request = wire::TrainRequest { request: Some(request) };
        bytes_sent.fetch_add(request.encoded_len() as u64, Ordering::Relaxed);
        let sent = requests.send(request).await;
        course.under_way.moved();
        sent
    };
    let ask = async |request: Request| {
        course.under_way.asked();
        send(request).await
    };
    let state_bytes = Bytes::from(encode_state(&state, Header::new()));
    drop(state);
    ask(Request::Begin(wire::TrainBegin { state_length: state_bytes.len() as u64, ..begin })).await?;
    for part in parts(&state_bytes) {
        send(Request::State(part)).await?;
    }
    drop(state_bytes);
    let mut taken = course.from.0;
    let mut asked_for = taken;
    let last = course.end.load(Ordering::Relaxed);
    while let Some(Job { tag, rows }) = next(&mut batches, &course, taken).await {
        taken = tag.step + 1;
        course.under_way.batch();
        send(Request::Batch(tag)).await?;
        for rows in rows {
            send(Request::Rows(rows)).await?;
        }
        if taken.is_multiple_of(course.checkpoint_every) || taken == last {
            ask(Request::Checkpoint(wire::Checkpoint {})).await?;
            asked_for = taken;
        }
    }
    if taken < last {
        // Before the state is asked for, so that whoever it comes to knows that it is the last.
        course.end.store(taken, Ordering::Relaxed);
        if asked_for < taken {
            ask(Request::Checkpoint(wire::Checkpoint {})).await?;
        }
    }
    Ok(())
}

/// The batch of a step, once there is room for it under way, until there are no more or there is to be a halt.
async fn next(
    batches: &mut mpsc::Receiver<Job<wire::Batch>>,
    course: &Course,
    step: u64,
) -> Option<Job<wire::Batch>> {
    let next = async {
        course.under_way.room().await;
        if let Some(mut above) = course.above.clone() {
            // Where the member above has ended it has failed, and says so itself.
            let _ = above.wait_for(|taken| step < taken + STEPS_AHEAD).await;
        }
        batches.recv().await
    };
    match &course.halt {
        Some(halt) => halt.run_until_cancelled(next).await.flatten(),
        None => next.await,
    }
}
