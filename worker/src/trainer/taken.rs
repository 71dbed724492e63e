//! How long steps take without waiting for anybody.

use std::ops::Range;
use std::time::Duration;

/// The time in which something was computed, for so many steps.
#[derive(Default)]
pub struct Taken {
    steps: u32,
    time: Duration,
    /// When something was computed while a batch is being prepared elsewhere.
    beside: Option<Vec<Range<Duration>>>,
}

impl Taken {
    /// Something was computed.
    pub fn add(&mut self, span: Range<Duration>) {
        self.time += length(&span);
        if let Some(beside) = &mut self.beside {
            beside.push(span);
        }
    }

    /// From now on a batch is being prepared elsewhere.
    pub fn prepare(&mut self) {
        self.beside = Some(Vec::new());
    }

    /// It was; time in which something else was computed too is not counted twice.
    pub fn prepared(&mut self, span: &Range<Duration>) {
        let common =
            |other: &Range<Duration>| length(&(span.start.max(other.start)..span.end.min(other.end)));
        let counted: Duration = self.beside.take().unwrap_or_default().iter().map(common).sum();
        self.time += length(span).saturating_sub(counted);
    }

    /// Another step has ended.
    pub fn step(&mut self) {
        self.steps += 1;
    }

    /// Of a step, in the mean.
    pub fn of_a_step(&self) -> Duration {
        self.time / self.steps.max(1)
    }
}

fn length(span: &Range<Duration>) -> Duration {
    span.end.saturating_sub(span.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Range<Duration> {
        Duration::from_millis(start)..Duration::from_millis(end)
    }

    #[test]
    fn time_in_which_two_things_are_computed_counts_once() {
        let mut taken = Taken::default();
        taken.add(span(0, 10));
        taken.prepare();
        for (start, end) in [(10, 11), (20, 25), (40, 60)] {
            taken.add(span(start, end));
        }
        taken.step();
        // 15 to 45, of which 5 and 5 are counted already.
        taken.prepared(&span(15, 45));
        assert_eq!(taken.of_a_step(), Duration::from_millis(10 + 1 + 5 + 20 + 20));
        taken.add(span(60, 64));
        taken.step();
        assert_eq!(taken.of_a_step(), Duration::from_millis(30));
    }
}
