//! SIGTERM and SIGINT: how people, containers and schedulers ask a process to end.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::timeout;

/// How long a signal that has come is on its way through the runtime, at most.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as from Ctrl-C.
    Interrupt,
    /// SIGTERM, as from `kill`, `docker stop` or a scheduler.
    Terminate,
}

impl Signal {
    /// The exit status of a process that was ended by it, as shells have it: 128 and its number.
    pub fn status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The signals as they come.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// From here on they do nothing by themselves; and they come to a process that would not get them otherwise, as the
    /// first one of a container. Needs a runtime.
    pub fn take() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Whether one has come, of which this has not told yet. Those that come later end the process at once, as they would have
    /// without [`Self::take`]: so none is lost where the process is about to become another program.
    pub async fn give_back(mut self) -> bool {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: the default is a disposition like any other, and no handler is called any more.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        timeout(ON_ITS_WAY, self.next()).await.is_ok()
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// Ends the process here and now, whatever its threads are at. What `main` and libraries do at an end is not done: OpenBLAS
/// would give back memory that other threads compute with.
pub fn leave(status: u8) -> ! {
    // SAFETY: `_exit` may be called at any time, and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}
