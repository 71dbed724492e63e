//! One training stream: between the client, the session and the session's thread.

use std::sync::Arc;

use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::Streaming;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use crate::activity::Call;
use crate::assembly::Assembly;
use crate::conversation::{self, Conversation};
use crate::drive::{Channels, Tools, drive};
use crate::group::{Below, Up};
use crate::inlets::Inlets;
use crate::meters::LayerMeters;
use crate::node::Node;
use crate::outlets::Outlets;
use crate::peers::{Invitations, MOMENT, Peers};
use crate::refusal::Refusal;
use crate::session::{Instruction, Session};
use crate::stage::{BatchShape, StagePlan};

/// Complete batches that wait for the thread. Nobody down a chain waits for ever where these are full: whoever steps on a batch
/// has handed it on before.
const BATCHES_AHEAD: usize = 2;
/// A stream of replies.
pub type Replies = conversation::Replies<wire::TrainReply>;

type Client = conversation::Client<wire::TrainReply>;

/// Trains as `requests` say, while `call` lasts.
pub fn stream(node: Arc<Node>, requests: Streaming<wire::TrainRequest>, call: Call) -> Replies {
    let (conversation, replies) = Conversation::begin("a training stream");
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
        let mut others = Others { peers: Peers::none(), inlets: None, outlets: Outlets::none() };
        let session = Box::pin(converse(&node, requests, conversation.client(), &call, &mut others));
        let ended = conversation.during(&node, session).await;
        let Others { peers, inlets, outlets } = others;
        let patience = node.dialer.silence.duration();
        let satisfied = async {
            if let Some(inlets) = inlets {
                inlets.part().await;
            }
        };
        let layers_beside = async { tokio::join!(satisfied, outlets.part(patience)) };
        conversation.end(&node, peers, layers_beside, ended).await;
    };
    streams.spawn(session.instrument(span));
    replies
}

/// The streams to others, which are kept for a while by whoever has ended.
struct Others {
    /// Who share the layer.
    peers: Peers,
    /// Who train the one below, and the one above.
    inlets: Option<Inlets>,
    outlets: Outlets,
}

async fn converse(
    node: &Arc<Node>,
    mut requests: Streaming<wire::TrainRequest>,
    client: &Client,
    call: &Call,
    others: &mut Others,
) -> Result<(), Refusal> {
    let expected = "`begin` first";
    let first = node.soon(&mut requests, expected).await?;
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
    let Others { peers, inlets, outlets } = others;
    *inlets = Inlets::open(node, &plan);
    let state = Assembly::new("state_length", plan.state_length, plan.memory_bytes())?;
    let taken = timeout(plan.step_limit, node.slot.take(&plan.run, plan.attempt, plan.layer)).await;
    let (seat, turn) = taken.map_err(|_| Refusal::Stuck { taken: plan.step_limit })??;
    let needed = seat.note_bytes(plan.layer, plan.step_bytes(1));
    plan.check_bytes("a step of all layers that train here", needed)?;
    let below = Below::open(&node.dialer, &plan.share, begin).await?;
    tracing::info!("training begins");
    let (instructions, thread_instructions) = mpsc::channel(BATCHES_AHEAD);
    let (thread_replies, replies) = mpsc::channel(1);
    let meters = node.meters.of_layer(plan.layer, plan.shape.size);
    let post = peers.open(node, &party, invitations, None);
    let outbox = outlets.open(node, &plan);
    let channels = Channels { instructions: thread_instructions, post, outbox, runtime: Handle::current() };
    let (shape, hands_rows_on) = (plan.shape, plan.hands_rows_on());
    let session = Session::new(shape, state);
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
    let inlets = inlets.as_ref();
    let taking_in = TakingIn { session, shape, inlets, hands_rows_on, instructions, down, meters };
    let undelivered = async {
        let refusal = outlets.failed().await;
        // Meanwhile who has failed may be heard of elsewhere.
        sleep(MOMENT).await;
        refusal
    };
    let ended = tokio::select! {
        result = relay(taking_in, requests, replies, up, client) => result,
        refusal = undelivered => Err(refusal),
        () = seat.evicted() => Err(Refusal::Preempted),
        taken = busy.stuck() => Err(Refusal::Stuck { taken }),
    };
    tracing::info!("training ends");
    ended
}

/// Passes requests on as instructions, and replies on to the client, until all have ended.
async fn relay(
    taking_in: TakingIn<'_>,
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

/// States of those below go to the client; that they are ready and take steps is no news to it.
async fn hand_up(mut up: Up, client: &Client) -> Result<(), Refusal> {
    while let Some(reply) = up.next().await? {
        match reply.reply {
            Some(Reply::State(_)) => {
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
struct TakingIn<'a> {
    session: Session,
    shape: BatchShape,
    /// From where the rows of batches come, unless the client sends them, or the worker above.
    inlets: Option<&'a Inlets>,
    /// Whether those below need them.
    hands_rows_on: bool,
    instructions: mpsc::Sender<Instruction>,
    /// To the worker below.
    down: Option<mpsc::Sender<wire::TrainRequest>>,
    meters: LayerMeters,
}

impl TakingIn<'_> {
    async fn run(mut self, mut requests: Streaming<wire::TrainRequest>) -> Result<(), Refusal> {
        while let Some(request) = requests.message().await? {
            self.meters.received(&request);
            let batch = match (self.inlets, &request.request) {
                (Some(inlets), Some(Request::Batch(batch))) => Some((inlets, batch.clone())),
                _ => None,
            };
            self.take(request, true).await?;
            if let Some((inlets, batch)) = batch {
                self.take_rows(inlets, &batch).await?;
            }
        }
        Ok(self.session.finish()?)
    }

    /// Takes what the layer below passes on of a batch, once it is there.
    async fn take_rows(&mut self, inlets: &Inlets, batch: &wire::Batch) -> Result<(), Refusal> {
        let (count, shifts) = self.shape.passed_on_below(batch)?;
        let rows = inlets.rows(batch.step, &shifts, count).await;
        if rows.as_ref().is_err_and(Refusal::is_hearsay) {
            // Meanwhile who has failed may be heard of elsewhere.
            sleep(MOMENT).await;
        }
        for rows in rows? {
            let request = wire::TrainRequest { request: Some(Request::Rows(rows)) };
            self.take(request, self.hands_rows_on).await?;
        }
        Ok(())
    }

    /// Takes a message in, and hands it on.
    async fn take(&mut self, request: wire::TrainRequest, hand_on: bool) -> Result<(), Refusal> {
        if let Some(down) = self.down.as_ref().filter(|_| hand_on) {
            // One that has ended has said why.
            let _ = down.send(request.clone()).await;
        }
        let Some(instruction) = self.session.handle(request)? else { return Ok(()) };
        let taken = self.instructions.send(instruction).await.is_ok();
        if !taken {
            // The thread has ended, and its last reply says why.
            return std::future::pending().await;
        }
        Ok(())
    }
}
