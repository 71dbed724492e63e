//! One training stream: between the client, the session and the session's thread.

use std::sync::Arc;

use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use crate::activity::Call;
use crate::assembly::Assembly;
use crate::drive::{Channels, Tools, drive};
use crate::group::{Below, Up};
use crate::meters::LayerMeters;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::session::{Instruction, Session};
use crate::stage::StagePlan;

/// Complete batches that wait for the thread.
const BATCHES_AHEAD: usize = 2;
/// The same further down a group's chain, where nobody may wait: more than the first worker lets through.
const BATCHES_AHEAD_BELOW: usize = 64;
/// Replies that wait for the client.
const REPLIES_AHEAD: usize = 4;

/// A stream of replies.
pub type Replies = ReceiverStream<Result<wire::TrainReply, Status>>;

/// Trains as `requests` say, while `call` lasts.
pub fn stream(node: Arc<Node>, requests: Streaming<wire::TrainRequest>, call: Call) -> Replies {
    let (client, replies) = mpsc::channel(REPLIES_AHEAD);
    // Room for the last word is set aside: a client that reads nothing must not hold the session.
    let last = client.clone().try_reserve_owned().expect("the channel is new");
    let span = tracing::info_span!(
        "train",
        peer = call.peer().map(display),
        run = Empty,
        layer = Empty,
        name = Empty,
        attempt = Empty
    );
    let streams = node.streams.clone();
    let session = async move {
        node.meters.training.inc();
        let refusal = tokio::select! {
            result = converse(&node, requests, &client, &call) => result.err(),
            () = node.closing() => Some(Refusal::Closing),
            () = client.closed() => {
                node.complaints.mention("the client of a training stream is gone");
                None
            }
        };
        node.meters.training.dec();
        if let Some(refusal) = refusal {
            node.complaints.tell(&format!("a training stream ends: {refusal}"));
            last.send(Err(refusal.into()));
        }
    };
    streams.spawn(session.instrument(span));
    ReceiverStream::new(replies)
}

type Client = mpsc::Sender<Result<wire::TrainReply, Status>>;

async fn converse(
    node: &Node,
    mut requests: Streaming<wire::TrainRequest>,
    client: &Client,
    call: &Call,
) -> Result<(), Refusal> {
    let Some(Request::Begin(begin)) = node.first(&mut requests).await?.and_then(|message| message.request)
    else {
        return Err(WireError::new("request", "no `begin`", "`begin` first").into());
    };
    let plan = node.with_hosted(|hosted| StagePlan::parse(begin.clone(), hosted, node.budget))?;
    let span = Span::current();
    span.record("run", display(&plan.run)).record("layer", plan.layer.0);
    span.record("name", &plan.spec.name).record("attempt", plan.attempt);
    if plan.share.link.first() {
        call.by_coordinator("training, but as a lower part of a group,")?;
    }
    let state = Assembly::new("state_length", plan.state_length, plan.memory_bytes())?;
    let taken = timeout(plan.step_limit, node.slot.take(&plan.run, plan.attempt, plan.layer)).await;
    let (seat, turn) = taken.map_err(|_| Refusal::Stuck { taken: plan.step_limit })??;
    let below = Below::open(&node.dialer, &plan.share, begin).await?;
    tracing::info!("training begins");
    let first = plan.share.link.first();
    let (instructions, thread_instructions) =
        mpsc::channel(if first { BATCHES_AHEAD } else { BATCHES_AHEAD_BELOW });
    let (totals, thread_totals) = mpsc::channel(1);
    let (sums, thread_sums) = mpsc::channel(1);
    let (thread_replies, replies) = mpsc::channel(1);
    let channels = Channels {
        instructions: thread_instructions,
        totals: thread_totals,
        below: thread_sums,
        down: below.as_ref().map(Below::down),
    };
    let meters = node.meters.of_layer(plan.layer, plan.shape.size);
    let session = Session::new(plan.shape, plan.share.link, state);
    let (name, busy) = (format!("train-{}", plan.layer.0), node.compute.busy(plan.step_limit));
    let tools = Tools {
        compute: Arc::clone(&node.compute),
        system: node.system,
        busy: busy.clone(),
        hang_in_step: node.hang_in_step,
    };
    let work = move || drive(plan, tools, turn, channels, &thread_replies);
    (node.system.spawn)(name, Box::new(work)).map_err(|error| Refusal::Panicked(error.to_string()))?;
    let (down, up) = below.map(Below::split).unzip();
    let taking_in = TakingIn { session, instructions, totals, patient: first, down, meters };
    let ended = tokio::select! {
        result = relay(taking_in, requests, replies, up, sums, client) => result,
        () = seat.evicted() => Err(Refusal::Preempted),
        taken = busy.stuck() => Err(Refusal::Stuck { taken }),
    };
    tracing::info!("training ends");
    ended
}

/// Passes requests on as instructions, and replies on to the client, until all have ended.
async fn relay(
    taking_in: TakingIn,
    requests: Streaming<wire::TrainRequest>,
    mut replies: mpsc::Receiver<Result<Reply, Refusal>>,
    up: Option<Up>,
    sums: mpsc::Sender<wire::Sums>,
    client: &Client,
) -> Result<(), Refusal> {
    let meters = taking_in.meters.clone();
    let taking_in = taking_in.run(requests);
    let giving_out = async {
        let own = async {
            while let Some(reply) = replies.recv().await {
                let reply = reply?;
                meters.sent(&reply);
                let reply = wire::TrainReply { reply: Some(reply) };
                if client.send(Ok(reply)).await.is_err() {
                    break;
                }
            }
            Ok::<_, Refusal>(())
        };
        let of_those_below = async {
            match up {
                Some(up) => hand_up(up, sums, client).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(own, of_those_below).map(|_| ())
    };
    tokio::pin!(taking_in, giving_out);
    let taken_in = tokio::select! {
        result = &mut taking_in => result,
        result = &mut giving_out => return result,
    };
    // What was ordered before a bad message is still carried out and reported.
    giving_out.await?;
    taken_in
}

/// Sums of those below go to the thread, their states to the client; that they are ready and take steps is no news to it.
async fn hand_up(mut up: Up, sums: mpsc::Sender<wire::Sums>, client: &Client) -> Result<(), Refusal> {
    while let Some(reply) = up.next().await? {
        match reply.reply {
            Some(Reply::Sums(partial)) => {
                if sums.send(partial).await.is_err() {
                    break;
                }
            }
            Some(Reply::State(_)) => {
                if client.send(Ok(reply)).await.is_err() {
                    break;
                }
            }
            Some(Reply::Ready(_) | Reply::Step(_) | Reply::Rows(_)) | None => {}
        }
    }
    Ok(())
}

/// The way of requests.
struct TakingIn {
    session: Session,
    instructions: mpsc::Sender<Instruction>,
    totals: mpsc::Sender<wire::Sums>,
    /// Whether it waits for the thread. Further down a chain nobody may: totals come after the batches ahead of them. There
    /// the first worker's patience keeps them few.
    patient: bool,
    /// To the worker below.
    down: Option<mpsc::Sender<wire::TrainRequest>>,
    meters: LayerMeters,
}

impl TakingIn {
    async fn run(mut self, mut requests: Streaming<wire::TrainRequest>) -> Result<(), Refusal> {
        while let Some(request) = requests.message().await? {
            self.meters.received(&request);
            if let Some(down) = &self.down {
                // One that has ended has said why.
                let _ = down.send(request.clone()).await;
            }
            let Some(instruction) = self.session.handle(request)? else { continue };
            let taken = match instruction {
                Instruction::Totals(sums) => self.totals.send(sums).await.is_ok(),
                instruction if self.patient => self.instructions.send(instruction).await.is_ok(),
                instruction => match self.instructions.try_send(instruction) {
                    Ok(()) => true,
                    Err(mpsc::error::TrySendError::Closed(_)) => false,
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        let expected = format!("at most {BATCHES_AHEAD_BELOW} ahead of the totals");
                        return Err(WireError::new("request", "another batch", expected).into());
                    }
                },
            };
            if !taken {
                // The thread has ended, and its last reply says why.
                return std::future::pending().await;
            }
        }
        Ok(self.session.finish()?)
    }
}
