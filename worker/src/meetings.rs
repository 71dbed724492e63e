//! Where those who share a layer, or train one upon the other, find each other: one calls, and the other expects it. Whoever comes
//! first waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::{WireError, wire};
use scff::batch::LayerIndex;
use tokio::sync::{Notify, oneshot};
use tonic::Streaming;
use tonic::codegen::BoxStream;

use crate::activity::Call;
use crate::run::RunName;

/// What two workers meet for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meeting {
    /// The run.
    pub run: RunName,
    /// The layer that they share, or that of who is called.
    pub layer: LayerIndex,
    /// The attempt at training it.
    pub attempt: u64,
    /// Who calls, by the number that it describes itself with.
    pub caller: u64,
}

impl Meeting {
    /// What a caller introduces itself for, which must mean this worker, whose number is `identity`.
    pub fn parse(introduction: wire::Introduction, identity: u64) -> Result<Self, WireError> {
        let wire::Introduction { run, layer, attempt, from: caller, to } = introduction;
        let run = RunName::parse(run)?;
        if to != identity {
            return Err(WireError::new("introduction.to", to, identity));
        }
        Ok(Self { run, layer: LayerIndex(layer), attempt, caller })
    }
}

/// What a caller brings: its messages, and where it waits for ours.
pub struct Visit {
    /// What it sends.
    pub slices: Streaming<wire::ExchangeMessage>,
    /// Where what it is to be sent goes.
    pub answer: oneshot::Sender<BoxStream<wire::ExchangeMessage>>,
    /// Keeps its connection from idling.
    pub call: Call,
}

/// What one that trains the layer below brings.
pub struct Feed {
    /// What it passes on.
    pub parts: BoxStream<wire::FeedRequest>,
    /// Answered once all has come.
    pub done: oneshot::Sender<()>,
    /// Keeps its connection from idling; none where it is this worker.
    pub call: Option<Call>,
}

/// Who is expected, to bring a `V`.
#[derive(Debug)]
pub struct Meetings<V>(Arc<Expected<V>>);

#[derive(Debug)]
struct Expected<V> {
    hosts: Mutex<HashMap<Meeting, oneshot::Sender<V>>>,
    changed: Notify,
}

/// A caller that is expected for as long as this lasts.
#[derive(Debug)]
pub struct Expectation<V> {
    visit: oneshot::Receiver<V>,
    meetings: Arc<Expected<V>>,
}

impl<V> Meetings<V> {
    /// Nobody is expected.
    pub fn new() -> Self {
        Self(Arc::new(Expected { hosts: Mutex::default(), changed: Notify::new() }))
    }

    /// Expects a caller. Of two who expect the same one, the later does.
    pub fn expect(&self, meeting: Meeting) -> Expectation<V> {
        let (host, visit) = oneshot::channel();
        self.0.look().insert(meeting, host);
        self.0.changed.notify_waiters();
        Expectation { visit, meetings: self.0.clone() }
    }

    /// Brings `visit` to whoever expects it; returns once somebody has. Waits for that for as long as this is polled.
    pub async fn visit(&self, meeting: &Meeting, mut visit: V) {
        loop {
            let changed = self.0.changed.notified();
            let host = self.0.look().remove(meeting);
            if let Some(host) = host {
                match host.send(visit) {
                    Ok(()) => return,
                    Err(back) => visit = back,
                }
            }
            changed.await;
        }
    }
}

impl<V> Expected<V> {
    fn look(&self) -> MutexGuard<'_, HashMap<Meeting, oneshot::Sender<V>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Expectation<V> {
    /// What the caller brings, once it is there; nothing where somebody else expects it by now.
    pub async fn met(&mut self) -> Option<V> {
        (&mut self.visit).await.ok()
    }
}

impl<V> Drop for Expectation<V> {
    fn drop(&mut self) {
        self.visit.close();
        self.meetings.look().retain(|_, host| !host.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting(attempt: u64, caller: u64) -> Meeting {
        Meeting { run: RunName::parse("a".to_owned()).unwrap(), layer: LayerIndex(2), attempt, caller }
    }

    #[tokio::test]
    async fn whoever_comes_first_waits_for_the_other() {
        let meetings = Meetings::new();
        let mut expectation = meetings.expect(meeting(1, 7));
        meetings.visit(&meeting(1, 7), "early host").await;
        assert_eq!(expectation.met().await, Some("early host"));
        let guest = async { meetings.visit(&meeting(1, 8), "early guest").await };
        let host = async {
            tokio::task::yield_now().await;
            meetings.expect(meeting(1, 8)).met().await
        };
        let ((), met) = tokio::join!(guest, host);
        assert_eq!(met, Some("early guest"));
    }

    #[tokio::test]
    async fn nobody_meets_whom_nobody_expects_any_more() {
        let meetings = Meetings::new();
        drop(meetings.expect(meeting(1, 7)));
        let _other = [meetings.expect(meeting(2, 7)), meetings.expect(meeting(1, 8))];
        let gone = meeting(1, 7);
        tokio::select! {
            biased;
            () = meetings.visit(&gone, ()) => panic!("it is expected no more"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(meetings.0.look().len(), 2);
    }

    #[tokio::test]
    async fn of_two_who_expect_the_same_the_later_does() {
        let meetings = Meetings::new();
        let mut first = meetings.expect(meeting(1, 7));
        let mut second = meetings.expect(meeting(1, 7));
        assert_eq!(first.met().await, None);
        drop(first);
        meetings.visit(&meeting(1, 7), 5).await;
        assert_eq!(second.met().await, Some(5));
    }
}
