//! How long things may take at an object store: all of it follows from how long a lease lasts.
//!
//! Of a lease of 60 s: it is renewed every 10 s. A request may take 15 s; it is tried again, after growing pauses of at most 5 s,
//! for 20 s, so with all its tries it is over after 40 s. A write begins under a lease that is at most 15 s old: it is over
//! 5 s before anybody else may take the lease over.

use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a lease lasts after it was last renewed.
    pub lease: Duration,
}

impl Patience {
    /// That of a lease of so many seconds.
    pub fn of_lease(seconds: u16) -> Self {
        Self { lease: Duration::from_secs(seconds.into()) }
    }

    /// From one renewal of a lease to the next.
    pub fn renewal(self) -> Duration {
        self.lease / 6
    }

    /// How old a lease may be when a write begins.
    pub fn fresh(self) -> Duration {
        self.lease / 4
    }

    /// One try at a request.
    pub fn request(self) -> Duration {
        self.lease / 4
    }

    /// A request with all its tries.
    pub fn tries(self) -> Duration {
        self.retrying() + self.longest_pause() + self.request()
    }

    /// From one look at a lease of somebody else to the next.
    pub fn look(self) -> Duration {
        self.lease / 12
    }

    /// How requests are tried again.
    pub fn retries(self) -> RetryConfig {
        let backoff = BackoffConfig { max_backoff: self.longest_pause(), ..BackoffConfig::default() };
        RetryConfig { backoff, max_retries: usize::MAX, retry_timeout: self.retrying() }
    }

    fn retrying(self) -> Duration {
        self.lease / 3
    }

    fn longest_pause(self) -> Duration {
        self.lease / 12
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::of_lease(60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_over_before_anybody_may_take_the_lease_over() {
        for seconds in [6, 7, 60, 3600] {
            let patience = Patience::of_lease(seconds);
            let longest = patience.fresh() + patience.tries();
            assert!(longest + patience.look() <= patience.lease, "{longest:?} of {seconds} s");
            assert!(patience.renewal() + patience.look() <= patience.fresh(), "{seconds} s");
        }
    }
}
