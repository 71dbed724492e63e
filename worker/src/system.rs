//! What a worker takes from the operating system besides memory and sockets: time, and threads.

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time and threads, so that a test or a simulation can bring its own.
#[derive(Clone, Copy, Debug)]
pub struct System {
    /// How long it has been since some moment in the past.
    pub now: fn() -> Duration,
    /// Starts a thread of this name.
    pub spawn: fn(String, Work) -> io::Result<()>,
}

/// What a thread does.
pub type Work = Box<dyn FnOnce() + Send>;

impl System {
    /// Those of the machine.
    pub fn of_the_machine() -> Self {
        Self { now, spawn }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn now() -> Duration {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    BEGINNING.get_or_init(Instant::now).elapsed()
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn spawn(name: String, work: Work) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}
