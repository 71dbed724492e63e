//! How long a peer may say nothing.
//!
//! HTTP/2 asks after a third of that time and waits for two thirds. That is not the same as bytes that do not come: a coordinator
//! whose batches are all under way has nothing to send for minutes. A connection only notes when its peer was last heard, so that
//! what HTTP/2 reports as broken can be told as silent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// When a peer was last heard, and what kept it from being heard again.
#[derive(Clone, Debug)]
pub struct Heard(Arc<Mutex<Hearing>>);

#[derive(Debug)]
struct Hearing {
    last: Instant,
    trouble: Option<String>,
}

impl Heard {
    /// Just now, for the first time.
    pub fn now() -> Self {
        Self(Arc::new(Mutex::new(Hearing { last: Instant::now(), trouble: None })))
    }

    /// Again.
    pub fn again(&self) {
        *self.hearing() = Hearing { last: Instant::now(), trouble: None };
    }

    /// How long ago.
    pub fn ago(&self) -> Duration {
        self.hearing().last.elapsed()
    }

    /// Nothing can be heard any more, for this reason.
    pub fn lost(&self, trouble: String) {
        self.hearing().trouble = Some(trouble);
    }

    /// Why nothing can be heard any more, if that is known.
    pub fn trouble(&self) -> Option<String> {
        self.hearing().trouble.clone()
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
