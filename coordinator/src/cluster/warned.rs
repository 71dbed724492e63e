//! What has been said of workers that are left out, so that it is not said again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use proto::refusal::printable;

/// Reasons that are kept, and so said: a worker may say something else each time.
const REASONS: usize = 1000;

/// What has been said.
#[derive(Clone, Debug, Default)]
pub struct Warned(Arc<Mutex<HashSet<String>>>);

impl Warned {
    /// Warns of a worker that is left out, unless that was said before.
    pub fn once(&self, reason: &str) {
        let reason = printable(reason);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < REASONS && said.insert(reason.clone()) {
            let last = if said.len() == REASONS { "; no more is said of such workers" } else { "" };
            tracing::warn!("{reason}; going on without it{last}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_is_said_of_workers_little_is_kept() {
        let warned = Warned::default();
        let kept = || warned.0.lock().unwrap().iter().map(String::len).collect::<Vec<_>>();
        for _ in 0..2 {
            warned.once("a:1 speaks protocol version 7");
            assert_eq!(kept().len(), 1);
        }
        for story in 0..2 * REASONS {
            warned.once(&format!("{story} {}", "\x1b[2J".repeat(10_000)));
        }
        assert_eq!(kept().len(), REASONS);
        assert!(kept().iter().all(|length| *length <= 2000));
    }
}
