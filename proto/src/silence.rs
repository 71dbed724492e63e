//! How long a peer may say nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long nothing may be heard from a peer: it is asked whether it is there, and given up where it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence(Duration);

impl Silence {
    /// So many seconds.
    pub const fn seconds(seconds: u16) -> Self {
        Self(Duration::from_secs(seconds as u64))
    }

    /// The whole of it.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// A peer that has said nothing for so long is asked ...
    pub fn ask_after(self) -> Duration {
        self.0 / 3
    }

    /// ... and has so long to answer.
    pub fn answer_within(self) -> Duration {
        2 * self.ask_after()
    }
}

impl Default for Silence {
    fn default() -> Self {
        Self::seconds(30)
    }
}

/// When a peer was last heard.
#[derive(Clone, Debug)]
pub struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    /// Just now, for the first time.
    pub fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Again.
    pub fn again(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago.
    pub fn ago(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}
