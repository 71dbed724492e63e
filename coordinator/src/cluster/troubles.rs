//! Addresses whose workers have failed: each is left out for a while, the longer the more often it has, as long as there are others.
//! One that is started again by whoever watches it may fail again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::address::Address;
use proto::refusal::Reason;
use tokio::time::Instant;

use crate::retries::Retries;

/// The workers of a run that have failed.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    retries: Retries,
    workers: Arc<Mutex<HashMap<Address, Trouble>>>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    failures: u32,
    until: Instant,
}

impl Troubles {
    /// None yet.
    pub fn new(retries: Retries) -> Self {
        Self { retries, workers: Arc::default() }
    }

    /// Takes note of a failure, where it says something about the worker.
    pub fn note(&self, address: &Address, reason: &Reason) {
        if !matches!(reason, Reason::Silent | Reason::Stuck | Reason::Broken | Reason::Panicked) {
            return;
        }
        let mut workers = self.look();
        let failures = workers.get(address).map_or(0, |trouble| trouble.failures) + 1;
        let until = Instant::now() + self.retries.pause(failures + 1);
        workers.insert(address.clone(), Trouble { failures, until });
    }

    /// For how much longer a worker is left out.
    pub fn left(&self, address: &Address) -> Option<Duration> {
        let left = self.look().get(address)?.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Lets all in again, for there is nobody else; returns whether anybody was left out.
    pub fn forgive(&self) -> bool {
        let now = Instant::now();
        let mut forgiven = false;
        for trouble in self.look().values_mut().filter(|trouble| trouble.until > now) {
            trouble.until = now;
            forgiven = true;
        }
        forgiven
    }

    fn look(&self) -> MutexGuard<'_, HashMap<Address, Trouble>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_again_is_left_out_for_longer_and_comes_back_where_nobody_else_is() {
        let troubles = Troubles::new(Retries { tries: 5, pause: Duration::from_secs(3) });
        let (worker, other) = (&Address::given("a:1"), &Address::given("b:1"));
        troubles.note(worker, &Reason::Closing);
        assert_eq!(troubles.left(worker), None, "that it leaves says nothing about it");
        for seconds in [3, 6, 12] {
            troubles.note(worker, &Reason::Silent);
            assert_eq!(troubles.left(worker), Some(Duration::from_secs(seconds)));
            assert_eq!(troubles.left(other), None);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert_eq!(troubles.left(worker), None);
        }
        troubles.note(worker, &Reason::Broken);
        assert!(troubles.forgive() && !troubles.forgive());
        assert_eq!(troubles.left(worker), None);
    }
}
