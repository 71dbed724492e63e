//! Waiting for workers: not for ever, with growing pauses, and not in silence.

use std::time::Duration;

use tokio::time::Instant;

use crate::run_dir::RunDirError;

/// Before the second look; from look to look it doubles ...
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A line says that there is waiting after this time ...
const FIRST_LINE: Duration = Duration::from_millis(500);
/// ... and again after twice the time from line to line, up to this.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitedFor {
    /// For whom, in words.
    pub whom: String,
    /// Why nobody is there, as far as that is known by now.
    pub reasons: Vec<String>,
    /// How much longer, at most.
    pub left: Duration,
}

/// Who is told.
pub type Tell<'a> = &'a (dyn Fn(WaitedFor) -> Result<(), RunDirError> + Sync);

/// A wait for a first worker.
pub struct Waiting {
    /// For whom, in words.
    whom: String,
    began: Instant,
    patience: Duration,
    pause: Duration,
    next_line: Instant,
    between_lines: Duration,
    /// Why it is not over.
    reasons: Vec<String>,
}

impl Waiting {
    /// Begins to wait, for so long at most.
    pub fn begin(whom: String, patience: Duration) -> Self {
        let began = Instant::now();
        Self {
            whom,
            began,
            patience,
            pause: FIRST_PAUSE,
            next_line: began + FIRST_LINE,
            between_lines: 10 * FIRST_LINE,
            reasons: Vec::new(),
        }
    }

    /// Does `work`, and says meanwhile what is waited for.
    pub async fn meanwhile<T>(
        &mut self,
        tell: Tell<'_>,
        work: impl Future<Output = T>,
    ) -> Result<T, RunDirError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep_until(self.next_line) => self.say(tell)?,
            }
        }
    }

    fn say(&mut self, tell: Tell<'_>) -> Result<(), RunDirError> {
        self.next_line = Instant::now() + self.between_lines;
        self.between_lines = (2 * self.between_lines).min(LONGEST_SILENCE);
        let left = self.patience.saturating_sub(self.began.elapsed());
        tell(WaitedFor { whom: self.whom.clone(), reasons: self.reasons.clone(), left })
    }

    /// Takes note of why nobody is there, and pauses for a while; `false` where the time is up.
    pub async fn go_on(&mut self, tell: Tell<'_>, reasons: Vec<String>) -> Result<bool, RunDirError> {
        self.reasons = reasons;
        let left = self.patience.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        let pause = self.pause.min(left);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        self.meanwhile(tell, tokio::time::sleep(pause)).await?;
        Ok(true)
    }

    /// What was waited for last, in words.
    pub fn reasons(&self) -> String {
        if self.reasons.is_empty() { "no address was found".to_owned() } else { self.reasons.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What was told when.
    #[derive(Default)]
    struct Ear(Mutex<Vec<(Instant, Vec<String>)>>);

    impl Ear {
        fn listening(&self) -> impl Fn(WaitedFor) -> Result<(), RunDirError> + Sync {
            |WaitedFor { reasons, .. }| {
                self.0.lock().unwrap().push((Instant::now(), reasons));
                Ok(())
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_comes_within_a_second_and_then_now_and_then() {
        let (ear, began) = (Ear::default(), Instant::now());
        let mut waiting = Waiting::begin("a:1".into(), Duration::from_mins(5));
        let work = tokio::time::sleep(Duration::from_mins(5));
        waiting.meanwhile(&ear.listening(), work).await.unwrap();
        let lines = ear.0.into_inner().unwrap();
        assert!(lines[0].0 - began < Duration::from_secs(1));
        assert!((3..20).contains(&lines.len()), "{}", lines.len());
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_long_as_it_was_told_with_growing_pauses() {
        let (ear, began, mut looks) = (Ear::default(), Instant::now(), 1);
        let mut waiting = Waiting::begin("a:1".into(), Duration::from_mins(2));
        while waiting.go_on(&ear.listening(), vec!["busy".into()]).await.unwrap() {
            looks += 1;
        }
        assert_eq!(began.elapsed().as_secs(), 120);
        assert!((20..40).contains(&looks), "{looks}");
        assert_eq!(ear.0.into_inner().unwrap().last().unwrap().1, ["busy"]);
        assert_eq!(waiting.reasons(), "busy");
    }
}
