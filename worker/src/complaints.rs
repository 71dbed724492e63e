//! What a worker says of peers that it does not serve: each trouble, but not all the time, however many they are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::refusal::printable;
use tokio::time::Instant;

/// At most one line about the same trouble in this time ...
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// ... and so many lines in all.
const TROUBLES: usize = 100;

/// Says what is the matter.
#[derive(Clone, Default)]
pub struct Complaints(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    since: Option<Instant>,
    troubles: HashSet<String>,
}

impl Complaints {
    /// Says it on one line, unless it was said lately.
    pub fn tell(&self, trouble: &str) {
        if let Some(line) = self.line(trouble) {
            tracing::warn!("{line}");
        }
    }

    /// The same of what is no trouble, unless somebody makes it one.
    pub fn mention(&self, what: &str) {
        if let Some(line) = self.line(what) {
            tracing::info!("{line}");
        }
    }

    fn line(&self, trouble: &str) -> Option<String> {
        let trouble = printable(trouble);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| since.elapsed() >= COMPLAIN_EVERY) {
            *told = Told { since: Some(Instant::now()), troubles: HashSet::new() };
        }
        if told.troubles.len() > TROUBLES || !told.troubles.insert(trouble.clone()) {
            return None;
        }
        let seconds = COMPLAIN_EVERY.as_secs();
        Some(match told.troubles.len() {
            ..=TROUBLES => trouble,
            _ => format!("{trouble}; what else there is goes unsaid for {seconds} s"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_is_kept_than_is_said() {
        let complaints = Complaints::default();
        let kept = |complaints: &Complaints| complaints.0.lock().unwrap().troubles.len();
        for trouble in 0..3 * TROUBLES {
            complaints.tell(&format!("trouble {trouble}"));
        }
        assert_eq!(kept(&complaints), TROUBLES + 1);
        tokio::time::sleep(COMPLAIN_EVERY).await;
        complaints.tell("trouble");
        complaints.tell("trouble");
        assert_eq!(kept(&complaints), 1);
    }
}
