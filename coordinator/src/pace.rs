//! How long those who share a layer compute in a step, and who of them keeps the others waiting.

use proto::address::Address;

/// A worker is slow that computes for so many times as long as any other.
const SLOW: f64 = 1.5;

/// How long a worker computes in each step of a layer that it shares, in the mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Where it listens.
    pub worker: Address,
    /// In seconds.
    pub seconds: f64,
}

/// A worker that the others of its group wait for.
#[derive(Clone, Debug, PartialEq)]
pub struct Slow {
    /// How long it computes.
    pub pace: Pace,
    /// How long any other does, at most, in seconds.
    pub others: f64,
}

impl Slow {
    /// The slow one of a group, if there is one.
    pub fn of(mut paces: Vec<Pace>) -> Option<Self> {
        paces.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let others = paces.get(1)?.seconds;
        let pace = paces.swap_remove(0);
        (pace.seconds > SLOW * others).then_some(Self { pace, others })
    }

    /// How long the others wait for it in each step, in seconds.
    pub fn held_up(&self) -> f64 {
        self.pace.seconds - self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paces(seconds: &[f64]) -> Vec<Pace> {
        let pace = |(place, &seconds)| Pace { worker: Address::given(&format!("a:{place}")), seconds };
        seconds.iter().enumerate().map(pace).collect()
    }

    #[test]
    fn one_that_takes_much_longer_than_any_other_is_slow() {
        let slow = Slow::of(paces(&[0.1, 0.5, 0.2])).unwrap();
        assert_eq!((slow.pace.worker, slow.others), (Address::given("a:1"), 0.2));
        assert_eq!(Slow::of(paces(&[0.1, 0.5, 0.4])), None);
        assert_eq!(Slow::of(paces(&[0.5])), None);
        assert_eq!(Slow::of(Vec::new()), None);
    }
}
