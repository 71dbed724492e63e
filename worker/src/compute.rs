//! The worker's own pool of threads, where everything is computed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::busy::{Busy, Computations};
use crate::refusal::Refusal;

/// The pool.
pub struct Compute {
    pool: ThreadPool,
    /// How long one piece of work may take.
    limit: Duration,
    computations: Computations,
}

impl Compute {
    /// A pool of `threads` threads. Work that takes longer than `limit` is given up by those who wait for it.
    pub fn new(threads: usize, limit: Duration) -> Result<Self, ThreadPoolBuildError> {
        let pool =
            ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("compute-{i}")).build()?;
        Ok(Self { pool, limit, computations: Computations::default() })
    }

    /// How many threads the pool has.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Something that computes now and then, for no longer than `limit`.
    pub fn busy(&self, limit: Duration) -> Arc<Busy> {
        self.computations.begin(limit)
    }

    /// For how long something has been computed that was to end sooner.
    pub fn stuck(&self) -> Option<Duration> {
        self.computations.stuck()
    }

    /// For how long the longest of what is being computed has been.
    pub fn longest(&self) -> Option<Duration> {
        self.computations.longest()
    }

    /// Runs `work` on the pool and waits for it: never call this from async code. Panics pass through.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Starts `work` on the pool. A panic of it becomes an error.
    pub fn start<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Pending<R> {
        self.start_within(self.limit, work)
    }

    /// The same of work that may take so long.
    pub fn start_within<R: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Pending<R> {
        let (answer, result) = oneshot::channel();
        let busy = self.busy(limit);
        self.pool.spawn(move || {
            // Nobody is waiting any more where sending fails.
            let _ = answer.send(busy.during(|| catch(work)));
        });
        Pending { result, limit }
    }

    /// Starts `work` on every thread of the pool at once. A panic of any of them becomes an error.
    pub fn start_on_all_threads<R: Send + 'static>(
        &self,
        work: impl Fn() -> R + Send + Sync + 'static,
    ) -> Pending<Vec<R>> {
        self.start(move || rayon::broadcast(|_| work()))
    }
}

/// Work that is under way on the pool.
pub struct Pending<R> {
    result: oneshot::Receiver<Result<R, Refusal>>,
    limit: Duration,
}

impl<R> Pending<R> {
    /// Work that was done before it began.
    pub fn ready(result: R) -> Self {
        let (answer, done) = oneshot::channel();
        let _ = answer.send(Ok(result));
        Self { result: done, limit: Duration::MAX }
    }

    /// Waits for its result, but not for ever.
    pub async fn wait(self) -> Result<R, Refusal> {
        let result = tokio::time::timeout(self.limit, self.result).await;
        let result = result.map_err(|_| Refusal::Stuck { taken: self.limit })?;
        result.unwrap_or_else(|_| Err(dropped()))
    }

    /// The same for a thread, which waits for as long as it takes.
    pub fn wait_on_thread(self) -> Result<R, Refusal> {
        self.result.blocking_recv().unwrap_or_else(|_| Err(dropped()))
    }
}

fn dropped() -> Refusal {
    Refusal::Panicked("the work was dropped".to_owned())
}

/// Does `work`; a panic of it becomes an error.
pub fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Refusal> {
    // What a panic may have left half done is dropped with the stream that it ends.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Refusal::Panicked(message(payload.as_ref())))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_goes_on() {
        let compute = Compute::new(1, Duration::from_mins(1)).unwrap();
        let refusal = compute.start(|| -> () { panic!("boom {}", 1) }).wait().await.unwrap_err();
        assert_eq!(refusal.to_string(), "the computation failed: boom 1");
        assert_eq!(tonic::Status::from(refusal).code(), tonic::Code::Internal);
        assert!(catch(|| compute.install(|| -> () { panic!("boom") })).is_err());
        assert_eq!(compute.start(|| 7).wait().await.unwrap(), 7);
    }

    #[tokio::test]
    async fn all_threads_work_at_once() {
        let compute = Compute::new(3, Duration::from_mins(1)).unwrap();
        let all = Arc::new(std::sync::Barrier::new(3));
        let meet = move || {
            all.wait();
            rayon::current_thread_index()
        };
        let indices = compute.start_on_all_threads(meet).wait().await.unwrap();
        assert_eq!(indices, [Some(0), Some(1), Some(2)]);
        assert!(compute.start_on_all_threads(|| -> () { panic!("boom") }).wait().await.is_err());
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_waited_for_no_longer_than_it_may_take() {
        let compute = Compute::new(1, Duration::from_millis(20)).unwrap();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let refusal = compute.start(move || wait.recv()).wait().await.unwrap_err();
        assert!(matches!(refusal, Refusal::Stuck { .. }), "{refusal}");
        // The thread may have begun after whoever waits.
        let seen = async {
            while compute.stuck().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen).await.expect("it is seen to be stuck");
        end.send(()).unwrap();
    }
}
