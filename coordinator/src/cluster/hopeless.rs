//! Addresses where nobody listens who could take part: looks at them become rarer.

/// Looks at a hopeless address that are left out in a row: one in about a minute is left.
const MOST_SKIPPED: u32 = 63;

/// An address where somebody listens who cannot take part.
#[derive(Debug, Default)]
pub struct Hopeless {
    /// Looks that are left out before the next.
    left: u32,
    /// Looks that were left out before the last.
    skipped: u32,
}

impl Hopeless {
    /// Whether to leave a look out.
    pub fn skip(&mut self) -> bool {
        let skip = self.left > 0;
        self.left = self.left.saturating_sub(1);
        skip
    }

    /// The last look was in vain.
    pub fn again(&mut self) {
        self.skipped = (2 * self.skipped + 1).min(MOST_SKIPPED);
        self.left = self.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_up_to_one_in_a_minute() {
        let mut hopeless = Hopeless::default();
        assert!(!hopeless.skip() && !hopeless.skip(), "it was never in vain");
        let mut looks = Vec::new();
        for second in 0..300 {
            if !hopeless.skip() {
                hopeless.again();
                looks.push(second);
            }
        }
        assert_eq!(looks, [0, 2, 6, 14, 30, 62, 126, 190, 254]);
    }
}
