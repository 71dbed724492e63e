//! Rows through the frozen layers on several workers at once, in order.
//!
//! Jobs go to the workers in turn; results are collected in the order of the jobs. Every queue is bounded, so a
//! slow end holds up the other, and nothing holds more than a few jobs. A worker that is about to end gets no more of
//! them, and is let go once it has answered those that it has.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use proto::refusal::Reason;
use proto::wire;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::back::{Back, Sent};
use crate::cluster::{Worker, WorkerFailure};

/// Rows on their way, and what they are for.
pub struct Job<T> {
    /// What the rows are for.
    pub tag: T,
    /// The rows, cut into messages.
    pub rows: Vec<wire::Rows>,
}

/// Jobs that wait between two stations.
pub const QUEUE: usize = 4;

struct Station {
    worker: Worker,
    /// Held until the last reply: only then may the worker see the end of its requests.
    requests: Option<mpsc::Sender<wire::TransformRequest>>,
    replies: Streaming<wire::Rows>,
}

/// Sends the rows of all `jobs` through the layers that `begin` names, and passes them on to `results`.
///
/// Ends when `jobs` does. A job without rows passes untouched. `bytes_sent` grows with every message, before its result
/// can be seen. Where all workers are about to end it fails, for that reason.
pub async fn through<T: Send + 'static>(
    workers: &[Worker],
    begin: &wire::TransformBegin,
    back: Back,
    jobs: mpsc::Receiver<Job<T>>,
    results: mpsc::Sender<Job<T>>,
    bytes_sent: &AtomicU64,
) -> Result<(), WorkerFailure> {
    let stations = open(workers, begin).await?;
    let requests = stations.iter().map(|station| station.requests.clone()).collect();
    let leavers = leavers(stations.iter().map(|station| &station.worker));
    let (under_way, expected) = mpsc::channel(QUEUE * stations.len());
    let sending = async {
        send(jobs, requests, leavers, under_way, bytes_sent).await;
        Ok(())
    };
    // A failure is told at once: whoever waits for results sees their end, and would take the blame.
    tokio::try_join!(sending, collect(stations, back, expected, results)).map(|_| ())
}

/// Streams to all who are not about to end; at least to one.
async fn open(workers: &[Worker], begin: &wire::TransformBegin) -> Result<Vec<Station>, WorkerFailure> {
    let mut stations = Vec::new();
    for worker in workers.iter().filter(|worker| !worker.connection.has_left()) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let first =
            wire::TransformRequest { request: Some(wire::transform_request::Request::Begin(begin.clone())) };
        sender.try_send(first).expect("the queue is empty");
        let opened = worker.client().transform(ReceiverStream::new(receiver)).await;
        match opened.map_err(|status| failed(worker, &status)) {
            Ok(replies) => stations.push(Station {
                worker: worker.clone(),
                requests: Some(sender),
                replies: replies.into_inner(),
            }),
            Err(failure) if failure.reason == Reason::Closing => {}
            Err(failure) => return Err(failure),
        }
    }
    if stations.is_empty() {
        return Err(WorkerFailure::closing(&workers[0]));
    }
    Ok(stations)
}

fn failed(worker: &Worker, status: &tonic::Status) -> WorkerFailure {
    WorkerFailure::of(worker, status).during("while it transformed samples")
}

/// The places of those who are about to end, as they say so.
fn leavers<'a>(workers: impl Iterator<Item = &'a Worker>) -> JoinSet<usize> {
    let leaving = |(place, worker): (usize, Worker)| async move {
        worker.connection.leaving().await;
        place
    };
    workers.cloned().enumerate().map(leaving).collect()
}

/// What is expected of a station.
enum Expected<T> {
    /// A job's results: its tag, and the messages that it is cut into.
    Results { tag: T, station: usize, messages: Vec<Sent> },
    /// Nothing more: its worker is about to end.
    End { station: usize },
}

/// Ends with the jobs, or once all workers are about to end.
async fn send<T>(
    mut jobs: mpsc::Receiver<Job<T>>,
    mut requests: Vec<Option<mpsc::Sender<wire::TransformRequest>>>,
    mut leavers: JoinSet<usize>,
    expected: mpsc::Sender<Expected<T>>,
    bytes_sent: &AtomicU64,
) {
    let mut turn = 0;
    while requests.iter().any(Option::is_some) {
        let job = tokio::select! {
            biased;
            Some(Ok(station)) = leavers.join_next() => {
                requests[station] = None;
                if expected.send(Expected::End { station }).await.is_err() {
                    return;
                }
                continue;
            }
            job = jobs.recv() => job,
        };
        let Some(job) = job else { return };
        let stations = (0..requests.len()).map(|place| (turn + place) % requests.len());
        let mut there = stations.filter_map(|station| Some((station, requests[station].as_ref()?)));
        let (station, requests) = there.next().expect("somebody is there");
        turn = station + 1;
        let messages = job.rows.iter().map(Sent::from).collect();
        if expected.send(Expected::Results { tag: job.tag, station, messages }).await.is_err() {
            return;
        }
        for rows in job.rows {
            bytes_sent.fetch_add(rows.encoded_len() as u64, Ordering::Relaxed);
            let request =
                wire::TransformRequest { request: Some(wire::transform_request::Request::Rows(rows)) };
            if requests.send(request).await.is_err() {
                return; // The collector hears from the worker why.
            }
        }
    }
}

async fn collect<T>(
    mut stations: Vec<Station>,
    back: Back,
    mut expected: mpsc::Receiver<Expected<T>>,
    results: mpsc::Sender<Job<T>>,
) -> Result<(), WorkerFailure> {
    while let Some(next) = expected.recv().await {
        let (tag, station, messages) = match next {
            Expected::Results { tag, station, messages } => (tag, station, messages),
            Expected::End { station } => {
                stations[station].requests = None;
                if stations.iter().all(|station| station.requests.is_none()) {
                    return Err(WorkerFailure::closing(&stations[station].worker));
                }
                continue;
            }
        };
        let Station { worker, replies, .. } = &mut stations[station];
        let mut rows = Vec::with_capacity(messages.len());
        for sent in messages {
            let reply = replies.message().await.map_err(|status| failed(worker, &status))?;
            let reply = reply.ok_or_else(|| WorkerFailure::gone(worker))?;
            if let Err(expected) = back.check(&sent, &reply) {
                let found = format!("{} rows of {} bytes", reply.rows, reply.payload.len());
                return Err(WorkerFailure::protocol(worker, format!("{found}, expected {expected}")));
            }
            rows.push(reply);
        }
        if results.send(Job { tag, rows }).await.is_err() {
            break;
        }
    }
    Ok(())
}
