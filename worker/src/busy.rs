//! What computes, and since when: whoever waits for a computation that does not end is told so.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// All that computes in this process.
#[derive(Clone, Debug, Default)]
pub struct Computations(Arc<Mutex<Vec<Weak<Busy>>>>);

/// Something that computes now and then, each time for so long at most.
#[derive(Debug)]
pub struct Busy {
    limit: Duration,
    since: Mutex<Option<Instant>>,
}

/// A computation that goes on.
struct Now<'a>(&'a Busy);

impl Computations {
    /// Something that computes nothing yet.
    pub fn begin(&self, limit: Duration) -> Arc<Busy> {
        let busy = Arc::new(Busy { limit, since: Mutex::default() });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&busy));
        busy
    }

    /// For how long something has been computed that was to end sooner.
    pub fn stuck(&self) -> Option<Duration> {
        self.max(Busy::overdue)
    }

    /// For how long the longest of what is being computed has been.
    pub fn longest(&self) -> Option<Duration> {
        self.max(Busy::elapsed)
    }

    fn max(&self, taken: impl Fn(&Busy) -> Option<Duration>) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|busy| taken(&*busy.upgrade()?)).max()
    }
}

impl Busy {
    /// Computes.
    pub fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        *self.since() = Some(Instant::now());
        let _now = Now(self);
        work()
    }

    /// Waits for others in the midst of a computation, for as long as it takes: what follows is another one.
    pub fn waiting<R>(&self, wait: impl FnOnce() -> R) -> R {
        *self.since() = None;
        let result = wait();
        *self.since() = Some(Instant::now());
        result
    }

    /// Returns once a computation takes longer than it may, and how long it has taken by then.
    pub async fn stuck(&self) -> Duration {
        loop {
            if let Some(seconds) = self.overdue() {
                return seconds;
            }
            let since = self.since().unwrap_or_else(Instant::now);
            tokio::time::sleep_until(since + self.limit).await;
        }
    }

    fn overdue(&self) -> Option<Duration> {
        self.elapsed().filter(|elapsed| *elapsed >= self.limit)
    }

    fn elapsed(&self) -> Option<Duration> {
        self.since().map(|since| since.elapsed())
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Now<'_> {
    fn drop(&mut self) {
        *self.0.since() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn what_does_not_end_is_noticed_and_no_longer_once_it_has() {
        let computations = Computations::default();
        let busy = computations.begin(LIMIT);
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let computing = tokio::task::spawn_blocking({
            let busy = busy.clone();
            move || busy.during(|| wait.recv())
        });
        assert!(busy.stuck().await >= LIMIT);
        assert!(computations.stuck().unwrap() >= LIMIT && computations.longest().unwrap() >= LIMIT);
        end.send(()).unwrap();
        computing.await.unwrap().unwrap();
        assert_eq!((busy.overdue(), computations.stuck(), computations.longest()), (None, None, None));
    }

    #[test]
    fn a_panic_ends_a_computation() {
        let busy = Computations::default().begin(Duration::ZERO);
        let panicked = std::panic::AssertUnwindSafe(|| busy.during(|| panic!("boom")));
        assert!(std::panic::catch_unwind(panicked).is_err());
        assert_eq!(busy.overdue(), None);
    }
}
