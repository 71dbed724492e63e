//! Those who share a readout, and what is heard of them.

use std::time::Duration;

use proto::refusal::Reason;
use proto::wire;
use proto::wire::readout_reply::Reply;
use proto::wire::readout_request::Request;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::said::{Due, Said};
use crate::cluster::{Worker, WorkerFailure};

/// Requests that wait for a worker.
const AHEAD: usize = 4;
/// How long what one says of another waits for what that one's own connection says.
const MOMENT: Duration = Duration::from_millis(400);

/// What is heard: a reply, or the end of all replies.
type Heard = Result<Option<Reply>, WorkerFailure>;

/// Streams to all of them. They end with this value.
pub struct Sharers {
    workers: Vec<Worker>,
    requests: Vec<mpsc::Sender<wire::ReadoutRequest>>,
    /// By the places of who says it. There is no bound to it, for whoever sends does not listen meanwhile; what each may say has one.
    heard: mpsc::UnboundedReceiver<(usize, Heard)>,
    leavers: JoinSet<Worker>,
    /// Ends the streams.
    _listeners: JoinSet<()>,
    /// What they are doing, in words.
    pub doing: &'static str,
}

impl Sharers {
    /// Opens a stream to each, which begins with what `begin` makes of its place, and of which as much is to come as `due` says.
    pub async fn open(
        workers: &[Worker],
        begin: impl Fn(usize) -> wire::ReadoutBegin,
        due: impl Fn(usize) -> Due,
    ) -> Result<Self, WorkerFailure> {
        let (hear, heard) = mpsc::unbounded_channel();
        let (mut requests, mut listeners) = (Vec::new(), JoinSet::new());
        for (place, worker) in workers.iter().enumerate() {
            let (sender, outgoing) = mpsc::channel(AHEAD);
            let first = wire::ReadoutRequest { request: Some(Request::Begin(begin(place))) };
            sender.try_send(first).expect("the queue is empty");
            let mut client = worker.client();
            let opened = client.read_out(ReceiverStream::new(outgoing));
            let opened = timeout(worker.connection.silence().duration(), opened).await;
            let replies = opened.map_err(|_| WorkerFailure::late(worker))?;
            let mut replies = replies.map_err(|status| WorkerFailure::of(worker, &status))?.into_inner();
            let (worker, hear, mut said) = (worker.clone(), hear.clone(), Said::nothing(due(place)));
            listeners.spawn(async move {
                loop {
                    let heard = match replies.message().await {
                        Ok(Some(wire::ReadoutReply { reply: Some(reply) })) => match said.note(&reply) {
                            Ok(()) => Ok(Some(reply)),
                            Err(found) => Err(WorkerFailure::protocol(&worker, found)),
                        },
                        Ok(Some(_)) => Err(WorkerFailure::protocol(&worker, "a reply that says nothing")),
                        Ok(None) => Ok(None),
                        Err(status) => Err(WorkerFailure::of(&worker, &status)),
                    };
                    let more = matches!(heard, Ok(Some(_)));
                    if hear.send((place, heard)).is_err() || !more {
                        return;
                    }
                }
            });
            requests.push(sender);
        }
        let leaving = |worker: Worker| async move {
            worker.connection.leaving().await;
            worker
        };
        let leavers = workers.iter().cloned().map(leaving).collect();
        let doing = "while it computed features";
        Ok(Self { workers: workers.to_vec(), requests, heard, leavers, _listeners: listeners, doing })
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// The one at a place.
    pub fn worker(&self, place: usize) -> &Worker {
        &self.workers[place]
    }

    /// Sends a request to one of them. Where its stream has ended, it is heard why.
    pub async fn send(&self, place: usize, request: Request) {
        let _ = self.requests[place].send(wire::ReadoutRequest { request: Some(request) }).await;
    }

    /// Sends a last request to all of them.
    pub async fn send_last(&mut self, request: &Request) {
        for place in 0..self.len() {
            self.send(place, request.clone()).await;
        }
        self.requests.clear();
    }

    /// What somebody says next, or has said already; nothing once all have ended.
    pub async fn next(&mut self) -> Result<Option<(usize, Option<Reply>)>, WorkerFailure> {
        let heard = tokio::select! {
            biased;
            heard = self.heard.recv() => heard,
            Some(Ok(leaver)) = self.leavers.join_next() => return Err(WorkerFailure::closing(&leaver)),
        };
        self.judge(heard).await
    }

    /// The same where something has been said already.
    pub async fn said(&mut self) -> Result<Option<(usize, Option<Reply>)>, WorkerFailure> {
        match self.heard.try_recv() {
            Ok(heard) => self.judge(Some(heard)).await,
            Err(_) => Ok(None),
        }
    }

    async fn judge(
        &mut self,
        heard: Option<(usize, Heard)>,
    ) -> Result<Option<(usize, Option<Reply>)>, WorkerFailure> {
        match heard {
            None => Ok(None),
            Some((place, Ok(reply))) => Ok(Some((place, reply))),
            Some((place, Err(failure))) => {
                let doing = self.doing;
                let known = if self.is_certain(place, &failure) { None } else { self.known_better().await };
                Err(known.unwrap_or(failure).during(doing))
            }
        }
    }

    /// Whether a failure is that of who says so.
    fn is_certain(&self, place: usize, failure: &WorkerFailure) -> bool {
        failure.id == self.workers[place].id && failure.reason != Reason::Deserted
    }

    /// What somebody who has failed says of itself, or its connection does, within a moment.
    async fn known_better(&mut self) -> Option<WorkerFailure> {
        let certain = async {
            while let Some((place, heard)) = self.heard.recv().await {
                if let Err(failure) = heard
                    && failure.id == self.workers[place].id
                    && failure.reason != Reason::Deserted
                {
                    return Some(failure);
                }
            }
            None
        };
        timeout(MOMENT, certain).await.ok().flatten()
    }
}
