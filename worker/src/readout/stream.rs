//! One readout stream: between the client, those who share the readout, and the thread that learns.

use std::sync::Arc;

use prost::Message;
use proto::wire::readout_reply::Reply;
use proto::wire::readout_request::Request;
use proto::{WireError, required, wire};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::Streaming;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::learn::{Material, Tools, learn};
use super::plan::ReadoutPlan;
use crate::activity::Call;
use crate::columns::{Store, cut};
use crate::conversation::{self, Conversation};
use crate::node::Node;
use crate::peers::{Invitations, MOMENT, Peers, Post};
use crate::refusal::Refusal;
use crate::slot::Turn;
use crate::transform::PendingRows;

/// Messages of samples that are under way on the pool, besides one that goes out and one that comes in.
const AHEAD: usize = 2;

/// A stream of replies.
pub type Replies = conversation::Replies<wire::ReadoutReply>;

type Client = conversation::Client<wire::ReadoutReply>;

/// Computes features and trains a readout on them as `requests` say, while `call` lasts.
pub fn stream(node: Arc<Node>, requests: Streaming<wire::ReadoutRequest>, call: Call) -> Replies {
    let (conversation, replies) = Conversation::begin("a readout stream");
    let span = tracing::info_span!("readout", peer = call.peer().map(display), run = Empty, attempt = Empty);
    let streams = node.streams.clone();
    let session = async move {
        let _call = call;
        let mut peers = Peers::none();
        let session = Box::pin(converse(&node, requests, conversation.client(), &mut peers));
        let ended = conversation.during(&node, session).await;
        conversation.end(&node, peers, std::future::ready(()), ended).await;
    };
    streams.spawn(session.instrument(span));
    replies
}

async fn converse(
    node: &Arc<Node>,
    mut requests: Streaming<wire::ReadoutRequest>,
    client: &Client,
    peers: &mut Peers,
) -> Result<(), Refusal> {
    let expected = "`begin` first";
    let first = node.soon(&mut requests, expected).await?;
    let Some(Request::Begin(begin)) = first.and_then(|message| message.request) else {
        return Err(WireError::new("request", "no `begin`", expected).into());
    };
    let plan = Arc::new(ReadoutPlan::parse(begin, node)?);
    let party = &plan.party;
    Span::current().record("run", display(&party.run)).record("attempt", party.attempt);
    let invitations = Invitations::of(node, party);
    let taken = timeout(party.patience, node.slot.take(&party.run, party.attempt, party.layer)).await;
    let (seat, turn) = taken.map_err(|_| Refusal::Stuck { taken: party.patience })??;
    let rows: Vec<usize> = plan.parts.iter().map(|part| part.rows).collect();
    let store = Arc::new(Store::new(&rows, plan.own().columns().len(), plan.passage.precision()));
    let post = peers.open(node, party, invitations, Some(&store));
    tracing::info!("a readout begins");
    let tools = Tools {
        compute: Arc::clone(&node.compute),
        busy: node.compute.busy(party.patience),
        over: tokio_util::sync::CancellationToken::new(),
    };
    let busy = tools.busy.clone();
    let _over = tools.over.clone().drop_guard();
    let session = Session { node, plan: plan.clone(), store, client };
    let ended = tokio::select! {
        result = session.run(requests, post, turn, tools) => result,
        () = seat.evicted() => Err(Refusal::Preempted),
        taken = busy.stuck() => Err(Refusal::Stuck { taken }),
    };
    tracing::info!("the readout ends");
    ended
}

/// One stream at work.
struct Session<'a> {
    node: &'a Arc<Node>,
    plan: Arc<ReadoutPlan>,
    store: Arc<Store>,
    client: &'a Client,
}

/// Rows on their way to become features: of which part, and how many of it came before.
struct UnderWay {
    part: u32,
    first: usize,
    rows: PendingRows,
}

impl Session<'_> {
    async fn run(
        &self,
        requests: Streaming<wire::ReadoutRequest>,
        post: Post,
        turn: Turn,
        tools: Tools,
    ) -> Result<(), Refusal> {
        let (queue, under_way) = mpsc::channel(AHEAD);
        let computing =
            async { tokio::try_join!(self.take_in(requests, queue), self.hand_out(under_way, &post)) };
        let labels = tokio::select! {
            computed = computing => computed?.0,
            () = self.tell() => return Ok(()),
            refusal = self.store.failed() => {
                if refusal.is_hearsay() {
                    // Meanwhile who has failed may be heard of elsewhere.
                    sleep(MOMENT).await;
                }
                return Err(refusal);
            }
        };
        let Some(labels) = labels else { return Ok(()) };
        let material = Material { features: self.store.take()?, labels };
        let (thread_replies, mut replies) = mpsc::channel(1);
        let plan = self.plan.clone();
        let work = move || learn(&plan, &tools, (material, post), turn, &thread_replies);
        let started = (self.node.system.spawn)("readout".to_owned(), Box::new(work));
        started.map_err(|error| Refusal::Panicked(error.to_string()))?;
        while let Some(reply) = replies.recv().await {
            if reply.as_ref().is_err_and(Refusal::is_hearsay) {
                sleep(MOMENT).await;
            }
            if self.reply(reply?).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn reply(&self, reply: Reply) -> Result<(), ()> {
        self.client.send(Ok(wire::ReadoutReply { reply: Some(reply) })).await.map_err(|_| ())
    }

    /// Takes requests in, up to the one to learn; returns all labels. Nothing where requests end before that.
    async fn take_in(
        &self,
        mut requests: Streaming<wire::ReadoutRequest>,
        queue: mpsc::Sender<UnderWay>,
    ) -> Result<Option<Vec<u32>>, Refusal> {
        let mut labels = Vec::new();
        while let Some(message) = requests.message().await? {
            match required("request", message.request)? {
                Request::Labels(some) => self.add(some.labels, &mut labels)?,
                Request::Samples(samples) => {
                    // Room first: what is started counts as under way.
                    let Ok(room) = queue.reserve().await else { return Ok(None) };
                    room.send(self.start(samples)?);
                }
                Request::Learn(_) if labels.len() == self.plan.labels() => return Ok(Some(labels)),
                Request::Learn(_) => {
                    return Err(WireError::new("labels", labels.len(), self.plan.labels()).into());
                }
                Request::Begin(_) => {
                    return Err(WireError::new("request", "another `begin`", "`labels`").into());
                }
            }
        }
        Ok(None)
    }

    fn add(&self, some: Vec<u32>, labels: &mut Vec<u32>) -> Result<(), WireError> {
        let (missing, classes) = (self.plan.labels() - labels.len(), self.plan.classes);
        if some.len() > missing {
            return Err(WireError::new("labels.labels", some.len(), format_args!("the {missing} missing")));
        }
        if let Some(wrong) = some.iter().find(|label| **label as usize >= classes) {
            return Err(WireError::new("labels.labels", wrong, format_args!("one of {classes} classes")));
        }
        labels.extend(some);
        Ok(())
    }

    fn start(&self, samples: wire::ReadoutSamples) -> Result<UnderWay, Refusal> {
        let wire::ReadoutSamples { part, first, rows } = samples;
        let rows = required("samples.rows", rows)?;
        let parts = &self.plan.parts;
        let wrong = || WireError::new("samples.part", part, format_args!("one of {}", parts.len()));
        let all = parts.get(part as usize).ok_or_else(wrong)?.rows;
        self.node.meters.received_bytes("rows", rows.encoded_len());
        self.node.meters.transformed.inc_by(u64::from(rows.rows));
        let rows = self.plan.passage.rows(rows)?;
        let first_row =
            usize::try_from(first).ok().filter(|first| *first <= all && rows.rows() <= all - first);
        let misplaced = || {
            let found = format_args!("{} rows from {first}", rows.rows()).to_string();
            WireError::new("samples.first", found, format_args!("rows of {all}"))
        };
        let first = first_row.ok_or_else(misplaced)?;
        Ok(UnderWay { part, first, rows: self.plan.passage.clone().start(self.node, rows) })
    }

    /// Sends everybody the features that are theirs, and keeps those of this worker.
    async fn hand_out(&self, mut under_way: mpsc::Receiver<UnderWay>, post: &Post) -> Result<(), Refusal> {
        let number = self.plan.passage.precision().bytes();
        let row_bytes = self.plan.features * number;
        while let Some(UnderWay { part, first, rows }) = under_way.recv().await {
            let rows = rows.wait().await??;
            for place in 0..self.plan.shares.len() {
                let messages =
                    cut(part, first, &rows.payload, self.plan.bytes_of(place), (row_bytes, number));
                for columns in messages {
                    if place == self.plan.party.place {
                        self.store.put(&columns)?;
                    } else {
                        post.send_columns(place, columns);
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells the client how much is stored, as it grows; ends with the client.
    async fn tell(&self) {
        let mut rows = self.store.rows();
        if *rows.borrow() > 0 {
            rows.mark_changed();
        }
        while rows.changed().await.is_ok() {
            let stored = wire::ReadoutStored { rows: *rows.borrow_and_update() };
            if self.reply(Reply::Stored(stored)).await.is_err() {
                return;
            }
        }
    }
}
