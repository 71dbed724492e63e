//! Stopping early: on SIGTERM or SIGINT a run is left so that the same command continues it.
//!
//! The first signal ends the process at once, unless work is being done that would be lost: then that is brought to a
//! checkpoint first. The second ends it in any case.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use proto::logs::say;
use proto::signals::{Signals, leave};
use tokio::sync::watch;

/// The exit status of a run that was asked to end before it was done: try again. (`EX_TEMPFAIL` of sysexits.h.)
pub const CONTINUE_ME: u8 = 75;

/// The run has stopped early, as it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped; the same command continues")]
pub struct Stopped;

/// Whether the process was asked to end.
#[derive(Clone)]
pub struct Stop {
    asked: Arc<watch::Sender<bool>>,
    /// How many pieces of work would be lost if the process ended at once.
    at_work: Arc<Mutex<usize>>,
    /// What is to be done before it does.
    last: Arc<Mutex<Vec<LastWord>>>,
}

/// Something short that is done before the process ends.
type LastWord = Box<dyn FnOnce() + Send>;

/// Work that is brought to a checkpoint before the process ends.
#[derive(Debug)]
pub struct AtWork(Arc<Mutex<usize>>);

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self { asked: Arc::new(watch::Sender::new(false)), at_work: Arc::default(), last: Arc::default() }
    }

    /// Declares work that must be brought to a checkpoint, until the value is dropped. Whoever does it looks after
    /// [`Self::asked`] afterwards.
    pub fn at_work(&self) -> AtWork {
        *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        AtWork(self.at_work.clone())
    }

    /// Whether it has been asked to end.
    pub fn asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Returns once it has been asked to end.
    pub async fn wait(&self) {
        let mut asked = self.asked.subscribe();
        let _ = asked.wait_for(|asked| *asked).await;
    }

    /// Asks for an end; returns whether there is work that must be brought to a checkpoint first.
    pub fn ask(&self) -> bool {
        // No work begins between the look and the word.
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        self.asked.send_replace(true);
        *at_work > 0
    }

    /// Has something be done before the process ends at once; a second signal does not wait for it. It may block.
    pub fn before_leaving(&self, last: impl FnOnce() + Send + 'static) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(last));
    }

    async fn last_words(&self) {
        let last = std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner));
        // One that panics has said so.
        let _ = tokio::task::spawn_blocking(|| last.into_iter().for_each(|last| last())).await;
    }

    /// Ends the process as `signals` say. Returns never.
    pub async fn obey(self, mut signals: Signals) {
        signals.next().await;
        if !self.ask() {
            say("stopped; the same command continues");
            tokio::select! {
                () = self.last_words() => leave(CONTINUE_ME),
                signal = signals.next() => leave(signal.status()),
            }
        }
        say("stopping as soon as a checkpoint is written; a second signal ends at once");
        leave(signals.next().await.status());
    }
}

impl Debug for Stop {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.asked()).finish()
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_is_waited_for() {
        let stop = Stop::new();
        assert!(!stop.asked());
        let work = stop.at_work();
        assert!(stop.ask() && stop.asked());
        drop(work);
        assert!(!stop.ask());
    }
}
