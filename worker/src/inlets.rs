//! What those who train the layer below pass on: their streams to this worker, and what has come of each step.
//!
//! Whatever comes is taken at once, for there are never more than a few steps of it ([`crate::gathering`]), so that nobody who is done
//! has to wait for others before it ends. That one has ended is a failure only where something of it is still missing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::refusal::{Reason, Refused};
use proto::wire::feed_request::Request;
use proto::{WireError, wire};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::activity::Call;
use crate::gathering::{Gathering, Rows};
use crate::meetings::{Expectation, Feed, Meeting};
use crate::meters::Meters;
use crate::node::Node;
use crate::passing::{Feeders, Way};
use crate::refusal::{Refusal, Relation};
use crate::stage::StagePlan;

/// The streams of those who pass on to a session. They end with this value.
pub struct Inlets {
    inbox: Arc<Inbox>,
    streams: JoinSet<()>,
    /// The session has all that it needs.
    satisfied: CancellationToken,
}

/// What has come.
struct Inbox {
    arrived: Mutex<Arrived>,
    changed: Notify,
    workers: Vec<wire::Shard>,
}

struct Arrived {
    gathering: Gathering,
    /// Of each feeder, why nothing comes of it any more.
    ended: Vec<Option<Refused>>,
    /// Who has sent what it should not.
    wrong: Option<Refusal>,
}

impl Inlets {
    /// Expects those who pass on to this worker in a stage: registered before anything takes long. Nobody where rows come in another way.
    pub fn open(node: &Node, plan: &StagePlan) -> Option<Self> {
        let feeders = plan.feeders.as_ref().filter(|_| plan.is_fed())?;
        let Feeders { workers, samples, way, rows, step } = feeders.clone();
        let rows = Rows {
            count: rows,
            batch: plan.shape.size,
            feeders: samples,
            own: (way == Way::Own).then(|| plan.share.own.samples.clone()),
            length: plan.shape.length,
            precision: plan.shape.precision,
        };
        let ended = workers.iter().map(|_| None).collect();
        let arrived = Arrived { gathering: Gathering::new(rows, step), ended, wrong: None };
        let inbox = Arc::new(Inbox { arrived: Mutex::new(arrived), changed: Notify::new(), workers });
        let (mut streams, satisfied) = (JoinSet::new(), CancellationToken::new());
        for (feeder, worker) in inbox.workers.iter().enumerate() {
            let (run, layer, attempt) = (plan.run.clone(), plan.layer, plan.attempt);
            let expectation = node.feeds.expect(Meeting { run, layer, attempt, caller: worker.identity });
            let own = worker.identity == node.identity;
            let (inbox, satisfied) = (inbox.clone(), satisfied.clone());
            let reading = Reading { feeder, inbox, satisfied, meters: (!own).then(|| node.meters.clone()) };
            streams.spawn(reading.run(expectation, plan.step_limit));
        }
        Some(Self { inbox, streams, satisfied })
    }

    /// Tells the feeders that nothing more is needed of them.
    pub async fn part(mut self) {
        self.satisfied.cancel();
        while self.streams.join_next().await.is_some() {}
    }

    /// The rows of the next step, in order, once they are there. `shifts`: of its batch in the layer below.
    pub async fn rows(&self, step: u64, shifts: &[usize], count: usize) -> Result<Vec<wire::Rows>, Refusal> {
        self.inbox.expect(step, shifts, count)?;
        loop {
            let changed = self.inbox.changed.notified();
            if let Some(rows) = self.inbox.whole()? {
                return Ok(rows);
            }
            changed.await;
        }
    }
}

impl Inbox {
    fn expect(&self, step: u64, shifts: &[usize], count: usize) -> Result<(), Refusal> {
        let mut arrived = self.look();
        let gathering = &mut arrived.gathering;
        if step != gathering.step() {
            return Err(WireError::new("batch.step", step, gathering.step()).into());
        }
        if count != gathering.count() {
            return Err(WireError::new("feeders.rows", gathering.count(), count).into());
        }
        gathering.expect(shifts).map_err(|(feeder, error)| malformed(&self.workers[feeder], &error))
    }

    /// What the expected step passes on, once it is whole, or why it never will be.
    fn whole(&self) -> Result<Option<Vec<wire::Rows>>, Refusal> {
        let mut arrived = self.look();
        if let Some(wrong) = arrived.wrong.take() {
            return Err(wrong);
        }
        if let Some(rows) = arrived.gathering.whole() {
            return Ok(Some(rows));
        }
        let gone =
            arrived.gathering.awaited().and_then(|feeder| Some((feeder, arrived.ended[feeder].clone()?)));
        match gone {
            Some((feeder, refused)) => Err(Refusal::unheard(Relation::Feeds, &self.workers[feeder], refused)),
            None => Ok(None),
        }
    }

    fn take(&self, feeder: usize, message: wire::FeedRequest) -> Result<(), WireError> {
        let part = match message.request {
            Some(Request::PassedOn(part)) => part,
            Some(Request::Introduction(_)) => {
                return Err(WireError::new("request", "another `introduction`", "`passed_on`"));
            }
            None => return Err(WireError::new("request", "nothing", "`passed_on`")),
        };
        let taken = self.look().gathering.take(feeder, part);
        self.changed.notify_waiters();
        taken
    }

    /// Nothing comes of a feeder any more.
    fn end(&self, feeder: usize, why: Refused) {
        self.look().ended[feeder] = Some(why);
        self.changed.notify_waiters();
    }

    /// A feeder has sent what it should not.
    fn refuse(&self, feeder: usize, error: &WireError) {
        self.look().wrong.get_or_insert(malformed(&self.workers[feeder], error));
        self.changed.notify_waiters();
    }

    fn look(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn malformed(feeder: &wire::Shard, error: &WireError) -> Refusal {
    let refused =
        Refused { reason: Reason::Malformed, passing: false, message: error.to_string(), whose: None };
    Refusal::by(Relation::Feeds, feeder, refused)
}

/// One feeder's stream.
struct Reading {
    feeder: usize,
    inbox: Arc<Inbox>,
    satisfied: CancellationToken,
    /// Where what comes over the network is counted.
    meters: Option<Meters>,
}

impl Reading {
    async fn run(self, mut expectation: Expectation<Feed>, patience: Duration) {
        let broken = |message: String| Refused::passing(Reason::Broken, message);
        let met = tokio::select! {
            met = timeout(patience, expectation.met()) => met,
            () = self.satisfied.cancelled() => return,
        };
        let why = match met {
            Err(_) => broken(format!("it has not called within {} s", patience.as_secs())),
            Ok(None) => broken("it is expected by another session".to_owned()),
            Ok(Some(feed)) => self.read(feed).await,
        };
        self.inbox.end(self.feeder, why);
    }

    /// Takes all that comes; returns why nothing comes any more.
    async fn read(&self, Feed { mut parts, done, call }: Feed) -> Refused {
        while let Some(Some(message)) = self.satisfied.run_until_cancelled(parts.next()).await {
            let message = match message {
                Ok(message) => message,
                Err(status) => return Refused::read(&status),
            };
            if let Some(meters) = &self.meters {
                meters.received_of_feeder(&message);
            }
            if let Err(error) = self.inbox.take(self.feeder, message) {
                self.inbox.refuse(self.feeder, &error);
                // Its call is answered once this session ends.
                self.satisfied.cancelled().await;
            }
        }
        // Nobody waits for it where the feeder has failed.
        let _ = done.send(());
        drop(call);
        Refused::passing(Reason::Broken, "it has ended its stream".to_owned())
    }
}

/// Takes a feeder to the session that expects it, and returns once all that it passes on has come. One whom nobody expects is
/// refused.
pub async fn welcome(
    node: &Arc<Node>,
    mut messages: Streaming<wire::FeedRequest>,
    call: Call,
) -> Result<(), Refusal> {
    let expected = "an `introduction` first";
    let first = node.soon(&mut messages, expected).await?;
    let Some(Request::Introduction(introduction)) = first.and_then(|message| message.request) else {
        return Err(WireError::new("request", "no `introduction`", expected).into());
    };
    let meeting = Meeting::parse(introduction, node.identity)?;
    let (done, answered) = oneshot::channel();
    let feed = Feed { parts: Box::pin(messages), done, call: Some(call) };
    let met = timeout(node.dialer.silence.duration(), node.feeds.visit(&meeting, feed));
    let fed = async {
        let Meeting { run, layer, .. } = &meeting;
        met.await.map_err(|_| Refusal::Uninvited { run: run.clone(), layer: layer.0 })?;
        // The session that it fed has ended, and says itself why.
        answered.await.map_err(|_| Refusal::Deserted(Relation::Takes))
    };
    tokio::select! {
        fed = fed => fed,
        () = node.closing() => Err(Refusal::Closing),
    }
}
