//! Time: the one place of this crate that looks at a clock. Where things wait for each other, the clock is tokio's.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

/// Runs from its making on.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// It runs.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has run.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same, in seconds.
    pub fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// A moment, on a clock of this machine that nobody sets and that goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        Self(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    /// So much later.
    #[cfg(test)]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }

    /// How much earlier `earlier` is.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time of day: nanoseconds since 1970.
pub fn nanoseconds_since_1970() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// The date and the time of day.
pub fn now() -> OffsetDateTime {
    let nanoseconds = i128::try_from(nanoseconds_since_1970()).unwrap_or(i128::MAX);
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
