//! The streams between this worker and the others of its row and column: one for each, both ways.
//!
//! # Who is heard when one of a group fails
//!
//! When a worker fails all its streams break, and whoever waits for its slices ends too, and breaks its own. Of all that is said
//! then, only the first cause may reach the client. So there is an order:
//!
//! 1. What a worker finds out of itself (it is stuck, leaves, was taken over, has diverged), and what one says of the worker next
//!    below it in the chain (it refuses, it is gone, it is silent), is certain, and goes up the chain at once, as it was said.
//!    Every worker but the first has somebody above it, so one that dies is always reported by a neighbour; the first is
//!    known to the client itself.
//! 2. That slices do not come is hearsay: the other may have ended only because of a third. Whoever ends for that waits
//!    [`MOMENT`] for something better to come up the chain. So it is where the outputs of the layer below do not come, or who trains the
//!    layer above does not take them.
//! 3. Whoever ends keeps its streams open until its reason has been taken by the worker above it, for [`HOLD`] at most. So
//!    others do not begin to wonder before the reason is on its way past them, or to the client.
//!
//! What is said by workers below one that has failed reaches nobody, and need not. Hearsay is still needed: where only the way
//! between two that are no neighbours fails, nobody knows better.
//!
//! In the end all is quiet: a worker that is done closes its own half of each stream, and waits for the others to close theirs, so
//! that none of its last slices is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::dial::{Connection, Dialer};
use proto::limits::SLICE_BYTES;
use proto::refusal::{Reason, Refused};
use proto::wire::exchange_message::Message;
use proto::{WireError, wire};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::codegen::BoxStream;

use crate::activity::Call;
use crate::columns::Store;
use crate::exchange::Letter;
use crate::group::reach;
use crate::meetings::{Expectation, Meeting, Visit};
use crate::meters::Meters;
use crate::node::Node;
use crate::party::{Party, Shared};
use crate::refusal::{Refusal, Relation};

/// How long hearsay waits for a better reason.
pub const MOMENT: Duration = Duration::from_millis(300);
/// How long streams are kept open, at most, by whoever has ended.
pub const HOLD: Duration = Duration::from_secs(2);
/// Messages of one peer that wait for the thread; more wait in the peer's stream.
const ROOM: usize = 2;

/// What goes out to a peer. There is no bound to it, but what it holds never is more than the numbers of a round, which are
/// there anyway: the peer has to take them before there can be another. With a bound two who wait for room at each other's
/// would wait for ever.
type Letters = mpsc::UnboundedReceiver<wire::ExchangeMessage>;

/// Those who are expected to call, by their places: registered before anything takes long.
pub struct Invitations(BTreeMap<usize, Expectation<Visit>>);

impl Invitations {
    /// Expects those above this worker in the list.
    pub fn of(node: &Node, party: &Party) -> Self {
        let expect = |place: usize| {
            let (run, layer, attempt) = (party.run.clone(), party.layer, party.attempt);
            let caller = party.group[place].identity;
            (place, node.meetings.expect(Meeting { run, layer, attempt, caller }))
        };
        let above = party.peers.iter().copied().filter(|place| *place < party.place);
        Self(above.map(expect).collect())
    }
}

/// The streams at work.
pub struct Peers {
    streams: JoinSet<()>,
    over: CancellationToken,
}

/// The thread's end of them.
pub struct Post {
    shared: Shared,
    /// By places in the group's list.
    lines: BTreeMap<usize, Line>,
}

struct Line {
    letters: mpsc::UnboundedSender<wire::ExchangeMessage>,
    slices: mpsc::Receiver<Result<wire::Slice, Refusal>>,
}

impl Post {
    /// Sends a letter. One that cannot be delivered is missed by nobody: its reader has ended, or is about to say so.
    pub fn send(&self, Letter { to, slice }: Letter) {
        self.put(to, Message::Slice(slice));
    }

    /// The same of features. How many there may be on their way is for whoever sends samples to limit.
    pub fn send_columns(&self, to: usize, columns: wire::Columns) {
        self.put(to, Message::Columns(columns));
    }

    /// Waits for what a peer sends next; for a thread.
    pub fn receive(&mut self, from: usize) -> Result<wire::Slice, Refusal> {
        let line = self.lines.get_mut(&from).expect("a peer");
        line.slices.blocking_recv().unwrap_or(Err(Refusal::Deserted(Relation::Shares(self.shared))))
    }

    fn put(&self, to: usize, message: Message) {
        let _ = self.lines[&to].letters.send(wire::ExchangeMessage { message: Some(message) });
    }

    /// The same for a task, which may give up waiting: nothing is lost.
    pub async fn next(&mut self, from: usize) -> Result<wire::Slice, Refusal> {
        let line = self.lines.get_mut(&from).expect("a peer");
        line.slices.recv().await.unwrap_or(Err(Refusal::Deserted(Relation::Shares(self.shared))))
    }
}

impl Peers {
    /// Nobody.
    pub fn none() -> Self {
        Self { streams: JoinSet::new(), over: CancellationToken::new() }
    }

    /// Calls those below this worker in the list, and awaits those above it. Features that they send go to `store`, where there is
    /// any.
    pub fn open(
        &mut self,
        node: &Node,
        party: &Party,
        mut invitations: Invitations,
        store: Option<&Arc<Store>>,
    ) -> Post {
        let lines = party.peers.iter().map(|&place| {
            let (letters, outgoing) = mpsc::unbounded_channel();
            let (incoming, slices) = mpsc::channel(ROOM);
            let peer = party.group[place].clone();
            let opening = if let Some(expectation) = invitations.0.remove(&place) {
                Opening::Awaited(expectation, party.patience)
            } else {
                let introduction = wire::Introduction {
                    run: party.run.to_string(),
                    layer: party.layer.0,
                    attempt: party.attempt,
                    from: node.identity,
                    to: peer.identity,
                };
                let first = wire::ExchangeMessage { message: Some(Message::Introduction(introduction)) };
                letters.send(first).expect("the other end is here");
                Opening::Called(node.dialer.clone())
            };
            let (over, meters) = (self.over.clone(), node.meters.clone());
            let shared = party.shared;
            let reading = Reading { shared, peer, incoming, store: store.cloned(), over, meters };
            self.streams.spawn(reading.run(opening, outgoing));
            (place, Line { letters, slices })
        });
        Post { shared: party.shared, lines: lines.collect() }
    }

    /// Tells the thread that nothing comes any more, and keeps the streams.
    pub fn hold(&self) {
        self.over.cancel();
    }

    /// Returns once all have said all, or too late.
    pub async fn part(mut self) {
        let _ = timeout(HOLD, async { while self.streams.join_next().await.is_some() {} }).await;
    }
}

/// How a stream begins.
enum Opening {
    /// This worker calls.
    Called(Dialer),
    /// The other does, within so long.
    Awaited(Expectation<Visit>, Duration),
}

/// A stream that is open, and what has to last as long.
struct Open {
    slices: Streaming<wire::ExchangeMessage>,
    connection: Option<Connection>,
    _call: Option<Call>,
}

impl Open {
    fn refused(&self, status: &tonic::Status) -> Refused {
        self.connection
            .as_ref()
            .map_or_else(|| Refused::read(status), |connection| connection.refused(status))
    }
}

/// One stream's way in.
struct Reading {
    shared: Shared,
    peer: wire::Shard,
    incoming: mpsc::Sender<Result<wire::Slice, Refusal>>,
    /// Where features go.
    store: Option<Arc<Store>>,
    over: CancellationToken,
    meters: Meters,
}

impl Reading {
    async fn run(self, opening: Opening, letters: Letters) {
        let opened = tokio::select! {
            opened = self.open(opening, letters) => opened,
            () = self.over.cancelled() => return,
        };
        match opened {
            Ok(open) => self.read(open).await,
            Err(refused) => {
                let _ = self.incoming.send(Err(self.unheard(&refused))).await;
            }
        }
    }

    async fn open(&self, opening: Opening, letters: Letters) -> Result<Open, Refused> {
        let letters = UnboundedReceiverStream::new(letters);
        let meters = self.meters.clone();
        let letters = letters.map(move |letter| {
            meters.sent_to_peer(&letter);
            letter
        });
        match opening {
            Opening::Called(dialer) => {
                let connection = reach(&dialer, &self.peer).await?;
                let mut client = connection.client().max_decoding_message_size(SLICE_BYTES);
                let answer = client.exchange(letters).await.map_err(|status| connection.refused(&status))?;
                Ok(Open { slices: answer.into_inner(), connection: Some(connection), _call: None })
            }
            Opening::Awaited(mut expectation, limit) => {
                let broken = |message: String| Refused::passing(Reason::Broken, message);
                let met = timeout(limit, expectation.met()).await;
                let met =
                    met.map_err(|_| broken(format!("it has not called within {} s", limit.as_secs())))?;
                let visit = met.ok_or_else(|| broken("it is expected by another session".to_owned()))?;
                let letters: BoxStream<wire::ExchangeMessage> = Box::pin(letters.map(Ok));
                let Visit { slices, answer, call } = visit;
                answer.send(letters).map_err(|_| broken("it called and is gone".to_owned()))?;
                Ok(Open { slices, connection: None, _call: Some(call) })
            }
        }
    }

    /// Hands on what comes, until it ends; then, or once nobody is to hear more, keeps the stream.
    async fn read(self, mut open: Open) {
        let reading = async {
            loop {
                let message = match open.slices.message().await {
                    Ok(Some(message)) => {
                        self.meters.received_of_peer(&message);
                        self.take(message)
                    }
                    Ok(None) => {
                        let ended = Refused::passing(Reason::Broken, "it has ended its stream".to_owned());
                        Err(Refusal::unheard(Relation::Shares(self.shared), &self.peer, ended))
                    }
                    Err(status) => Err(self.unheard(&open.refused(&status))),
                };
                let slice = match message {
                    Ok(Some(slice)) => Ok(slice),
                    Ok(None) => continue,
                    Err(refusal) => Err(refusal),
                };
                let ended = slice.is_err();
                // Nobody takes it where the thread has done its part.
                let _ = self.incoming.send(slice).await;
                if ended {
                    return;
                }
            }
        };
        tokio::select! {
            () = reading => return,
            () = self.over.cancelled() => {}
        }
        drop(self.incoming);
        std::future::pending::<()>().await;
    }

    /// Takes a message in; a slice is for the thread.
    fn take(&self, message: wire::ExchangeMessage) -> Result<Option<wire::Slice>, Refusal> {
        let expected = if self.store.is_some() { "a `slice` or `columns`" } else { "a `slice`" };
        let error = match (message.message, &self.store) {
            (Some(Message::Slice(slice)), _) => return Ok(Some(slice)),
            (Some(Message::Columns(columns)), Some(store)) => match store.put(&columns) {
                Ok(()) => return Ok(None),
                Err(error) => error,
            },
            (Some(Message::Columns(_)), None) => WireError::new("message", "columns", expected),
            (Some(Message::Introduction(_)), _) => {
                WireError::new("message", "another introduction", expected)
            }
            (None, _) => WireError::new("message", "nothing", expected),
        };
        let malformed = || Refusal::malformed(self.shared, &self.peer, &error);
        if let Some(store) = &self.store {
            store.fail(malformed());
        }
        Err(malformed())
    }

    /// That nothing is heard of the peer. While features are on their way nobody waits for slices, and it is the store that says so.
    fn unheard(&self, refused: &Refused) -> Refusal {
        let unheard = || Refusal::unheard(Relation::Shares(self.shared), &self.peer, refused.clone());
        if let Some(store) = &self.store {
            store.fail(unheard());
        }
        unheard()
    }
}

/// Takes a caller to the session that expects it; returns what that has to say. A caller whom nobody expects is refused.
pub async fn welcome(
    node: &Arc<Node>,
    mut messages: Streaming<wire::ExchangeMessage>,
    call: Call,
) -> Result<BoxStream<wire::ExchangeMessage>, Refusal> {
    let expected = "an `introduction` first";
    let first = node.soon(&mut messages, expected).await?;
    let Some(Message::Introduction(introduction)) = first.and_then(|message| message.message) else {
        return Err(WireError::new("message", "no `introduction`", expected).into());
    };
    let meeting = Meeting::parse(introduction, node.identity)?;
    let (answer, letters) = oneshot::channel();
    let visit = Visit { slices: messages, answer, call };
    let met = async {
        node.meetings.visit(&meeting, visit).await;
        letters.await.ok()
    };
    tokio::select! {
        met = timeout(node.dialer.silence.duration(), met) => {
            let Meeting { run, layer, .. } = meeting;
            met.ok().flatten().ok_or(Refusal::Uninvited { run, layer: layer.0 })
        }
        () = node.closing() => Err(Refusal::Closing),
    }
}
