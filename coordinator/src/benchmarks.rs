//! How fast workers compute, measured all at once: those that share a machine are as fast as they are beside each other. In which grids
//! workers stand is chosen for the slowest of them.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use proto::{WireError, wire};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::{Worker, WorkerFailure};
use crate::estimate::Benchmark;
use crate::worker_id::WorkerId;

/// How long a worker may take, which measures for a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// A worker is said to have changed that does so many times as much as before, or as little.
const OTHERWISE: f64 = 1.25;

/// What a run's workers do. They are measured whenever one of them is new, so that choices stay as they are until a worker comes.
#[derive(Debug, Default)]
pub struct Benchmarks(HashMap<WorkerId, Option<Benchmark>>);

impl Benchmarks {
    /// Measures all workers, unless they all were measured before; returns those of whom something new is known. One that cannot be measured
    /// does what it did, or as much as the others: whoever is gone is found out by what follows.
    pub async fn measure(&mut self, workers: &[Worker]) -> Vec<WorkerId> {
        if workers.iter().all(|worker| self.0.contains_key(&worker.id)) {
            return Vec::new();
        }
        let mut measuring = JoinSet::new();
        for worker in workers {
            let worker = worker.clone();
            measuring.spawn(async move { (worker.id, measured(&worker).await) });
        }
        let mut news = Vec::new();
        while let Some(measured) = measuring.join_next().await {
            let (id, measured) = measured.expect("no task panics or is aborted");
            match measured {
                Ok(found) => news.extend(self.note(id, found).then_some(id)),
                Err(reason) => {
                    tracing::warn!("{reason}; it is taken to be as fast as before, or as the others");
                    self.0.entry(id).or_default();
                }
            }
        }
        news
    }

    /// Notes what was found of a worker; returns whether that is something else than what was known.
    fn note(&mut self, id: WorkerId, found: Benchmark) -> bool {
        let before = self.0.insert(id, Some(found)).flatten();
        before.is_none_or(|before| {
            let times = found.operations / before.operations;
            times.max(times.recip()) >= OTHERWISE
        })
    }

    /// What is known of a worker.
    pub fn of(&self, worker: WorkerId) -> Option<Benchmark> {
        self.0.get(&worker).copied().flatten()
    }

    /// What the slowest of some workers does, as far as they were measured.
    pub fn slowest(&self, workers: impl IntoIterator<Item = WorkerId>) -> Benchmark {
        let all = workers.into_iter().filter_map(|worker| self.of(worker));
        let slowest = all.min_by(|one, other| one.operations.total_cmp(&other.operations));
        slowest.unwrap_or(Benchmark::USUAL)
    }
}

async fn measured(worker: &Worker) -> Result<Benchmark, String> {
    let mut client = worker.client();
    let answered = timeout(PATIENCE, client.benchmark(wire::BenchmarkRequest {})).await;
    let answered = answered
        .map_err(|_| format!("{worker}: it did not say within {} s how fast it is", PATIENCE.as_secs()))?;
    let reply = answered.map_err(|status| WorkerFailure::of(worker, &status).to_string())?.into_inner();
    parse(worker.description.threads, reply).map_err(|error| format!("{worker}: {error}"))
}

fn parse(threads: u32, reply: wire::BenchmarkReply) -> Result<Benchmark, WireError> {
    let operations = reply.operations_per_second;
    if !(operations.is_finite() && operations > 0.0) {
        return Err(WireError::new("operations_per_second", operations, "a positive number"));
    }
    Ok(Benchmark { threads: threads.max(1) as usize, operations })
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        write!(f, "{:.1} GF/s on {} {threads}", 1e-9 * self.operations, self.threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn benchmark(threads: usize, gigaflops: f64) -> Benchmark {
        Benchmark { threads, operations: 1e9 * gigaflops }
    }

    #[test]
    fn the_slowest_counts_as_far_as_is_known() {
        let known = [(1, Some(benchmark(8, 900.0))), (2, Some(benchmark(1, 12.5))), (3, None)];
        let benchmarks = Benchmarks(known.into_iter().map(|(id, found)| (WorkerId(id), found)).collect());
        let slowest = |ids: &[u64]| benchmarks.slowest(ids.iter().copied().map(WorkerId));
        assert_eq!(slowest(&[1]), benchmark(8, 900.0));
        assert_eq!(slowest(&[1, 2, 3]), benchmark(1, 12.5));
        assert_eq!(slowest(&[1, 3, 4]), benchmark(8, 900.0));
        assert_eq!((slowest(&[3]), slowest(&[])), (Benchmark::USUAL, Benchmark::USUAL));
    }

    #[test]
    fn who_does_about_what_it_did_is_no_news() {
        let mut benchmarks = Benchmarks::default();
        let mut news = |gigaflops| benchmarks.note(WorkerId(1), benchmark(1, gigaflops));
        assert!([100.0, 50.0, 200.0].into_iter().all(&mut news));
        assert!(![190.0, 210.0, 180.0].into_iter().any(&mut news));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let parsed = |operations_per_second| parse(0, wire::BenchmarkReply { operations_per_second });
        assert_eq!(parsed(1.5e11).unwrap().to_string(), "150.0 GF/s on 1 thread");
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = parsed(wrong).unwrap_err().to_string();
            assert_eq!(error, format!("operations_per_second: found {wrong}, expected a positive number"));
        }
    }
}
