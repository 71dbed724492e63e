//! What this worker's layer passes on to those who train the layer above: its streams to them.
//!
//! How much is on its way is for the client to bound, which sends batches only so far ahead of the layer above
//! ([`proto::limits::STEPS_AHEAD`]). That a taker does not take it is hearsay ([`crate::peers`]): it may have ended only because of another.

use std::sync::Arc;
use std::time::Duration;

use proto::refusal::{Reason, Refused};
use proto::wire;
use proto::wire::feed_request::Request;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::group::reach;
use crate::meetings::{Feed, Meeting};
use crate::node::Node;
use crate::passed_rows::Output;
use crate::refusal::{Refusal, Relation};
use crate::stage::StagePlan;

/// The streams.
pub struct Outlets {
    streams: JoinSet<Result<(), Refusal>>,
}

/// The thread's end of them.
pub struct Outbox(Vec<mpsc::UnboundedSender<wire::FeedRequest>>);

impl Outbox {
    /// Sends a part. One that cannot be delivered is missed by nobody: whoever does not take it has ended, or is about to say so.
    pub fn send(&self, Output { to, part }: Output) {
        let _ = self.0[to].send(wire::FeedRequest { request: Some(Request::PassedOn(part)) });
    }
}

impl Outlets {
    /// None.
    pub fn none() -> Self {
        Self { streams: JoinSet::new() }
    }

    /// Opens a stream to each of those who train the layer above a stage.
    pub fn open(&mut self, node: &Arc<Node>, plan: &StagePlan) -> Outbox {
        let workers = plan
            .takers
            .iter()
            .flat_map(|takers| takers.workers.iter().map(move |taker| (takers.layer, taker)));
        let lines = workers.map(|(layer, taker)| {
            let (parts, outgoing) = mpsc::unbounded_channel();
            let meeting =
                Meeting { run: plan.run.clone(), layer, attempt: plan.attempt, caller: node.identity };
            let outlet =
                Outlet { node: node.clone(), taker: taker.clone(), meeting, patience: plan.step_limit };
            self.streams.spawn(outlet.run(outgoing));
            parts
        });
        Outbox(lines.collect())
    }

    /// Returns once a stream has failed, and why.
    pub async fn failed(&mut self) -> Refusal {
        while let Some(ended) = self.streams.join_next().await {
            if let Ok(Err(refusal)) = ended {
                return refusal;
            }
        }
        std::future::pending().await
    }

    /// Returns once all has been taken, or too late.
    pub async fn part(mut self, patience: Duration) {
        let _ = timeout(patience, async { while self.streams.join_next().await.is_some() {} }).await;
    }
}

/// A stream to one taker.
struct Outlet {
    node: Arc<Node>,
    taker: wire::Shard,
    meeting: Meeting,
    patience: Duration,
}

type Outgoing = mpsc::UnboundedReceiver<wire::FeedRequest>;

impl Outlet {
    /// Returns once the taker says that it has all.
    async fn run(self, outgoing: Outgoing) -> Result<(), Refusal> {
        let taken = if self.taker.identity == self.node.identity {
            self.hand_over(outgoing).await
        } else {
            self.call(outgoing).await
        };
        taken.map_err(|refused| Refusal::unheard(Relation::Takes, &self.taker, refused))
    }

    /// To another session of this worker.
    async fn hand_over(&self, outgoing: Outgoing) -> Result<(), Refused> {
        let broken = |message: &str| Refused::passing(Reason::Broken, message.to_owned());
        let (done, answered) = oneshot::channel();
        let parts = Box::pin(UnboundedReceiverStream::new(outgoing).map(Ok::<_, tonic::Status>));
        let visit = self.node.feeds.visit(&self.meeting, Feed { parts, done, call: None });
        timeout(self.patience, visit).await.map_err(|_| broken("no session of it trains the layer above"))?;
        answered.await.map_err(|_| broken("its session that trains the layer above has ended"))
    }

    /// To another worker.
    async fn call(&self, outgoing: Outgoing) -> Result<(), Refused> {
        let connection = reach(&self.node.dialer, &self.taker).await?;
        let Meeting { run, layer, attempt, caller } = &self.meeting;
        let introduction = wire::Introduction {
            run: run.to_string(),
            layer: layer.0,
            attempt: *attempt,
            from: *caller,
            to: self.taker.identity,
        };
        let first = wire::FeedRequest { request: Some(Request::Introduction(introduction)) };
        let meters = self.node.meters.clone();
        let parts = UnboundedReceiverStream::new(outgoing).map(move |part| {
            meters.sent_to_taker(&part);
            part
        });
        let answer = connection.client().feed(tokio_stream::once(first).chain(parts)).await;
        answer.map(|_| ()).map_err(|status| connection.refused(&status))
    }
}
