//! How often what fails is tried again, and after which pauses.

use std::time::Duration;

/// No pause is longer.
const LONGEST: Duration = Duration::from_mins(1);

/// How often what fails is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries in a row that may come no further before a run gives up.
    pub tries: u32,
    /// The first pause; from one to the next it doubles, up to a minute.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { tries: 5, pause: Duration::from_secs(1) }
    }
}

impl Retries {
    /// The pause after so many failures in a row: none after the first.
    pub fn pause(&self, failures: u32) -> Duration {
        if failures < 2 {
            return Duration::ZERO;
        }
        self.pause.saturating_mul(2u32.saturating_pow(failures - 2)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute() {
        let retries = Retries::default();
        let pauses = [0, 1, 2, 3, 4, 5, 9, 99].map(|failures| retries.pause(failures).as_secs());
        assert_eq!(pauses, [0, 0, 1, 2, 4, 8, 60, 60]);
    }
}
