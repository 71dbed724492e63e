//! What goes to the trainer of a member: its state, then batches with their rows, and requests for checkpoints.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;
use proto::batch::ArrivingBatch;
use proto::state::{Header, encode_state, parts};
use proto::wire;
use proto::wire::train_request::Request;
use scff::batch::Step;
use scff::layer::LayerState;
use tokio::sync::mpsc;

use super::PassedOn;
use crate::order::Order;
use crate::transform::Job;

/// Batches whose rows are what the member below passes on.
pub async fn live_batches(
    mut order: Order,
    steps: Range<u64>,
    mut below: mpsc::Receiver<PassedOn>,
    jobs: &mpsc::Sender<Job<wire::Batch>>,
) {
    for step in steps {
        let batch = order.batch(Step(step));
        let Some(rows) = below.recv().await else { return };
        let tag = wire::Batch::from(&ArrivingBatch { batch, arriving: Vec::new() });
        if jobs.send(Job { tag, rows }).await.is_err() {
            return;
        }
    }
}

/// After which steps the state is asked for: now and then, and after the last.
#[derive(Clone, Copy)]
pub struct Checkpoints {
    pub every: u64,
    pub last: Step,
}

impl Checkpoints {
    fn due(self, taken: u64) -> bool {
        taken.is_multiple_of(self.every) || taken == self.last.0
    }
}

pub async fn send(
    begin: wire::TrainBegin,
    state: LayerState,
    mut batches: mpsc::Receiver<Job<wire::Batch>>,
    checkpoints: Checkpoints,
    requests: &mpsc::Sender<wire::TrainRequest>,
    bytes_sent: &AtomicU64,
) -> Result<(), mpsc::error::SendError<wire::TrainRequest>> {
    let send = async |request: Request| {
        let request = wire::TrainRequest { request: Some(request) };
        bytes_sent.fetch_add(request.encoded_len() as u64, Ordering::Relaxed);
        requests.send(request).await
    };
    let state_bytes = Bytes::from(encode_state(&state, Header::new()));
    drop(state);
    send(Request::Begin(wire::TrainBegin { state_length: state_bytes.len() as u64, ..begin })).await?;
    for part in parts(&state_bytes) {
        send(Request::State(part)).await?;
    }
    drop(state_bytes);
    while let Some(Job { tag, rows }) = batches.recv().await {
        let taken = tag.step + 1;
        send(Request::Batch(tag)).await?;
        for rows in rows {
            send(Request::Rows(rows)).await?;
        }
        if checkpoints.due(taken) {
            send(Request::Checkpoint(wire::Checkpoint {})).await?;
        }
    }
    Ok(())
}
