//! Rows through the frozen layers on several workers at once, in order.
//!
//! Job t goes to worker t mod n; results are collected in the order of the jobs. Every queue is bounded, so a
//! slow end holds up the other, and nothing holds more than a few jobs.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

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
    _requests: mpsc::Sender<wire::TransformRequest>,
    replies: Streaming<wire::Rows>,
}

/// Sends the rows of all `jobs` through the layers that `begin` names, and passes them on to `results`.
///
/// Ends when `jobs` does. A job without rows passes untouched. `bytes_sent` grows with every message, before its result
/// can be seen. `row_bytes`: bytes of a row that comes back.
pub async fn through<T: Send + 'static>(
    workers: &[Worker],
    begin: &wire::TransformBegin,
    row_bytes: usize,
    jobs: mpsc::Receiver<Job<T>>,
    results: mpsc::Sender<Job<T>>,
    bytes_sent: &AtomicU64,
) -> Result<(), WorkerFailure> {
    let mut requests = Vec::new();
    let mut stations = Vec::new();
    for worker in workers {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let first =
            wire::TransformRequest { request: Some(wire::transform_request::Request::Begin(begin.clone())) };
        sender.try_send(first).expect("the queue is empty");
        let replies = worker.client().transform(ReceiverStream::new(receiver)).await;
        let replies = replies.map_err(|status| failed(worker, &status))?.into_inner();
        requests.push(sender.clone());
        stations.push(Station { worker: worker.clone(), _requests: sender, replies });
    }
    let (under_way, expected) = mpsc::channel(QUEUE * workers.len());
    let sending = async {
        send(jobs, requests, under_way, bytes_sent).await;
        Ok(())
    };
    // A failure is told at once: whoever waits for results sees their end, and would take the blame.
    tokio::try_join!(sending, collect(stations, row_bytes, expected, results)).map(|_| ())
}

fn failed(worker: &Worker, status: &tonic::Status) -> WorkerFailure {
    WorkerFailure::of(worker, status).during("while it transformed samples")
}

/// A job under way: its tag, which station has it, and how many rows each message has that it is cut into.
struct UnderWay<T> {
    tag: T,
    station: usize,
    messages: Vec<u32>,
}

async fn send<T>(
    mut jobs: mpsc::Receiver<Job<T>>,
    requests: Vec<mpsc::Sender<wire::TransformRequest>>,
    under_way: mpsc::Sender<UnderWay<T>>,
    bytes_sent: &AtomicU64,
) {
    let mut station = 0;
    while let Some(job) = jobs.recv().await {
        let messages = job.rows.iter().map(|rows| rows.rows).collect();
        let expected = UnderWay { tag: job.tag, station, messages };
        if under_way.send(expected).await.is_err() {
            break;
        }
        for rows in job.rows {
            bytes_sent.fetch_add(rows.encoded_len() as u64, Ordering::Relaxed);
            let request =
                wire::TransformRequest { request: Some(wire::transform_request::Request::Rows(rows)) };
            if requests[station].send(request).await.is_err() {
                return; // The collector hears from the worker why.
            }
        }
        station = (station + 1) % requests.len();
    }
}

async fn collect<T>(
    mut stations: Vec<Station>,
    row_bytes: usize,
    mut expected: mpsc::Receiver<UnderWay<T>>,
    results: mpsc::Sender<Job<T>>,
) -> Result<(), WorkerFailure> {
    while let Some(UnderWay { tag, station, messages }) = expected.recv().await {
        let Station { worker, replies, .. } = &mut stations[station];
        let mut rows = Vec::with_capacity(messages.len());
        for count in messages {
            let reply = replies.message().await.map_err(|status| failed(worker, &status))?;
            let reply = reply.ok_or_else(|| WorkerFailure::gone(worker))?;
            let (found, expected) = (reply.payload.len(), count as usize * row_bytes);
            if (reply.rows, found) != (count, expected) || !reply.lengths.is_empty() {
                let found = format!("{} rows of {found} bytes", reply.rows);
                let message = format!("{found}, expected {count} of {expected}");
                return Err(WorkerFailure::protocol(worker, message));
            }
            rows.push(reply);
        }
        if results.send(Job { tag, rows }).await.is_err() {
            break;
        }
    }
    Ok(())
}
