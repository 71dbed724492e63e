//! One training stream: between the client, the session and the session's thread.

use std::sync::Arc;

use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
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
use crate::peers::{HOLD, Invitations, MOMENT, Peers};
use crate::refusal::Refusal;
use crate::session::{Instruction, Session};
use crate::stage::StagePlan;

/// Complete batches that wait for the thread. Nobody down a chain waits for ever where these are full: whoever steps on a batch
/// has handed it on before.
const BATCHES_AHEAD: usize = 2;
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
        let mut peers = Peers::none();
        let ended = tokio::select! {
            result = converse(&node, requests, &client, &call, &mut peers) => result,
            () = node.closing() => Err(Refusal::Closing),
            () = client.closed() => {
                node.complaints.mention("the client of a training stream is gone");
                node.meters.training.dec();
                return;
            }
        };
        node.meters.training.dec();
        match ended {
            Ok(()) => {
                drop((client, last));
                peers.part().await;
            }
            Err(refusal) => {
                node.complaints.tell(&format!("a training stream ends: {refusal}"));
                peers.hold();
                last.send(Err(refusal.into()));
                let _ = timeout(HOLD, client.closed()).await;
            }
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
    peers: &mut Peers,
) -> Result<(), Refusal> {
    let expected = "`begin` first";
    let first = node.first(&mut requests, expected).await?;
    let Some(Request::Begin(begin)) = first.and_then(|message| message.request) else {
        return Err(WireError::new("request", "no `begin`", expected).into());
    };
    let plan = node.with_hosted(|hosted| StagePlan::parse(begin.clone(), hosted, node.budget))?;
    let span = Span::current();
    span.record("run", display(&plan.run)).record("layer", plan.layer.0);
    span.record("name", &plan.spec.name).record("attempt", plan.attempt);
    if plan.share.is_first() {
        call.by_coordinator("training, but as a lower part of a group,")?;
    }
    let party = plan.party();
    let invitations = Invitations::of(node, &party);
    let state = Assembly::new("state_length", plan.state_length, plan.memory_bytes())?;
    let taken = timeout(plan.step_limit, node.slot.take(&plan.run, plan.attempt, plan.layer)).await;
    let (seat, turn) = taken.map_err(|_| Refusal::Stuck { taken: plan.step_limit })??;
    let below = Below::open(&node.dialer, &plan.share, begin).await?;
    tracing::info!("training begins");
    let (instructions, thread_instructions) = mpsc::channel(BATCHES_AHEAD);
    let (thread_replies, replies) = mpsc::channel(1);
    let meters = node.meters.of_layer(plan.layer, plan.shape.size);
    let post = peers.open(node, &party, invitations, None);
    let channels = Channels { instructions: thread_instructions, post };
    let session = Session::new(plan.shape, state);
    let (name, busy) = (format!("train-{}", plan.layer.0), node.compute.busy(plan.step_limit));
    let tools = Tools {
        compute: Arc::clone(&node.compute),
        system: node.system,
        busy: busy.clone(),
        hang_in_step: node.hang_in_step,
    };
    let work = move || drive(plan, tools, turn, channels, &thread_replies);
    (node.system.spawn)(name, Box::new(work)).map_err(|error| Refusal::Panicked(error.to_string()))?;
    let down = below.as_ref().map(Below::down);
    let up = below.map(Below::up);
    let taking_in = TakingIn { session, instructions, down, meters };
    let ended = tokio::select! {
        result = relay(taking_in, requests, replies, up, client) => result,
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
    client: &Client,
) -> Result<(), Refusal> {
    let meters = taking_in.meters.clone();
    let taking_in = taking_in.run(requests);
    let giving_out = async {
        let own = async {
            while let Some(reply) = replies.recv().await {
                if reply.as_ref().is_err_and(Refusal::is_hearsay) {
                    // Meanwhile those below may say better.
                    sleep(MOMENT).await;
                }
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
                Some(up) => hand_up(up, client).await,
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

/// States of those below, and what they pass on, go to the client; that they are ready and take steps is no news to it.
async fn hand_up(mut up: Up, client: &Client) -> Result<(), Refusal> {
    while let Some(reply) = up.next().await? {
        match reply.reply {
            Some(Reply::State(_) | Reply::PassedOn(_)) => {
                if client.send(Ok(reply)).await.is_err() {
                    break;
                }
            }
            Some(Reply::Ready(_) | Reply::Step(_)) | None => {}
        }
    }
    Ok(())
}

/// The way of requests.
struct TakingIn {
    session: Session,
    instructions: mpsc::Sender<Instruction>,
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
            let taken = self.instructions.send(instruction).await.is_ok();
            if !taken {
                // The thread has ended, and its last reply says why.
                return std::future::pending().await;
            }
        }
        Ok(self.session.finish()?)
    }
}
