//! What a trainer has been asked for and has not answered yet.
//!
//! It bounds how many batches are under way, so that a run that is to stop, or whose worker is to leave, soon has the last
//! report; and it says when a trainer is late.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Work under way is to be over in about this time, ...
const HORIZON: Duration = Duration::from_secs(2);
/// ... but so many batches keep a worker from waiting, ...
const LEAST: usize = 4;
/// ... or of steps that take this long one at work and one that waits, for batches arrive meanwhile, ...
const LONG: Duration = Duration::from_secs(1);
const LEAST_LONG: usize = 2;
/// ... and more than so many gain nothing.
const MOST: usize = 64;

/// What a trainer owes.
#[derive(Debug)]
pub struct UnderWay {
    owed: Mutex<Owed>,
    changed: Notify,
}

#[derive(Debug)]
struct Owed {
    /// Reports on batches that were sent.
    reports: usize,
    /// Other answers: that the layer's state was taken in, and states.
    answers: usize,
    /// When something was last heard, or got through to the trainer, or was first owed.
    moved: Instant,
    /// When the last report came.
    reported: Instant,
    /// Time from report to report, in the mean of the last few.
    pace: Option<Duration>,
}

impl UnderWay {
    /// Nothing is owed yet.
    pub fn new() -> Self {
        let now = Instant::now();
        let owed = Owed { reports: 0, answers: 0, moved: now, reported: now, pace: None };
        Self { owed: Mutex::new(owed), changed: Notify::new() }
    }

    /// Returns once another batch may be sent.
    pub async fn room(&self) {
        loop {
            let changed = self.changed.notified();
            let room = {
                let owed = self.look();
                owed.reports < owed.ahead()
            };
            if room {
                return;
            }
            changed.await;
        }
    }

    /// How many reports on batches are owed.
    pub fn reports(&self) -> u64 {
        self.look().reports as u64
    }

    /// A batch is about to be sent.
    pub fn batch(&self) {
        self.change(|owed| owed.reports += 1);
    }

    /// Something else that is answered is about to be sent.
    pub fn asked(&self) {
        self.change(|owed| owed.answers += 1);
    }

    /// Something got through, in this direction or in that.
    pub fn moved(&self) {
        self.change(|_| ());
    }

    /// A report has come, and all that the step passes on.
    pub fn reported(&self) {
        self.change(|owed| {
            let took = owed.reported.elapsed();
            owed.pace = Some(owed.pace.map_or(took, |pace| (pace * 7 + took) / 8));
            owed.reported = Instant::now();
            owed.reports = owed.reports.saturating_sub(1);
        });
    }

    /// Another answer has come, as a whole.
    pub fn answered(&self) {
        self.change(|owed| owed.answers = owed.answers.saturating_sub(1));
    }

    /// Returns once something has been owed for as long as `limit` and nothing moves.
    pub async fn late(&self, limit: Duration) {
        loop {
            let changed = self.changed.notified();
            let due = {
                let owed = self.look();
                (owed.reports + owed.answers > 0).then(|| owed.moved + limit)
            };
            match due {
                Some(due) if due <= Instant::now() => return,
                // What moves meanwhile is looked at then.
                Some(due) => tokio::time::sleep_until(due).await,
                None => changed.await,
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Owed)) {
        let mut owed = self.look();
        change(&mut owed);
        owed.moved = Instant::now();
        drop(owed);
        self.changed.notify_waiters();
    }

    fn look(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owed {
    /// How many batches may be under way.
    fn ahead(&self) -> usize {
        let Some(pace) = self.pace else { return LEAST };
        let least = if pace < LONG { LEAST } else { LEAST_LONG };
        ((HORIZON.as_secs_f64() / pace.as_secs_f64().max(1e-6)) as usize).clamp(least, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Whether a batch may be sent now.
    async fn room(under_way: &UnderWay) -> bool {
        tokio::time::timeout(Duration::ZERO, under_way.room()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn few_batches_of_slow_steps_are_under_way_and_more_of_fast_ones() {
        for (step, expected) in [(10_000, LEAST_LONG), (600, LEAST), (100, 20), (1, MOST)] {
            let under_way = UnderWay::new();
            for _ in 0..100 {
                under_way.batch();
                tokio::time::sleep(Duration::from_millis(step)).await;
                under_way.reported();
            }
            let mut sent = 0;
            while room(&under_way).await {
                under_way.batch();
                sent += 1;
            }
            assert_eq!(sent, expected, "steps of {step} ms");
            under_way.reported();
            assert!(room(&under_way).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_owes_something_and_says_nothing_is_late() {
        let under_way = UnderWay::new();
        let late = async |within: Duration| tokio::time::timeout(within, under_way.late(LIMIT)).await.is_ok();
        assert!(!late(10 * LIMIT).await, "nothing is owed");
        under_way.asked();
        assert!(!late(LIMIT / 2).await);
        under_way.moved();
        assert!(!late(LIMIT * 3 / 4).await, "something has moved meanwhile");
        assert!(late(LIMIT / 2).await);
        under_way.answered();
        assert!(!late(10 * LIMIT).await);
        under_way.batch();
        let began = Instant::now();
        under_way.late(LIMIT).await;
        assert!(began.elapsed() <= LIMIT + Duration::from_millis(10));
    }
}
