//! Sequences that are walked together: the longest first, so that those that have ended drop out of later steps.

use std::cmp::Reverse;
use std::ops::Range;

/// Some sequences in the order of their lengths. What is computed of them stands step by step: rows of those that still
/// go on, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Which sequence stands at each place, the longest first.
    members: Vec<usize>,
    /// Steps of each.
    lengths: Vec<usize>,
    /// The first row of each step, and one past the last row.
    starts: Vec<usize>,
}

impl Packed {
    /// All sequences of these lengths, in packs of `together`; the last may be smaller.
    ///
    /// Which sequence stands where follows from the lengths alone.
    pub(crate) fn all(lengths: &[usize], together: usize) -> Vec<Self> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&sequence| Reverse(lengths[sequence]));
        let pack = |members: &[usize]| {
            Self::new(members.to_vec(), members.iter().map(|&sequence| lengths[sequence]).collect())
        };
        order.chunks(together).map(pack).collect()
    }

    fn new(members: Vec<usize>, lengths: Vec<usize>) -> Self {
        let mut starts = vec![0];
        let mut going = lengths.len();
        for step in 0..lengths.first().copied().unwrap_or(0) {
            while lengths[going - 1] <= step {
                going -= 1;
            }
            starts.push(starts[step] + going);
        }
        Self { members, lengths, starts }
    }

    /// Which sequence stands at each place.
    pub(crate) fn members(&self) -> &[usize] {
        &self.members
    }

    /// Steps of the sequence at a place.
    pub(crate) fn length(&self, place: usize) -> usize {
        self.lengths[place]
    }

    /// Steps of the longest.
    pub(crate) fn steps(&self) -> usize {
        self.starts.len() - 1
    }

    /// Rows of all steps.
    pub(crate) fn count(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// The rows of a step: one for each place that still goes on.
    pub(crate) fn rows(&self, step: usize) -> Range<usize> {
        self.starts[step]..self.starts[step + 1]
    }

    /// Place and step of each row.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.steps()).flat_map(|step| (0..self.rows(step).len()).map(move |place| (place, step)))
    }

    /// The row of a place in a step, if it still goes on.
    pub(crate) fn row(&self, place: usize, step: usize) -> Option<usize> {
        (step < self.lengths[place]).then(|| self.starts[step] + place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_have_ended_drop_out() {
        let packs = Packed::all(&[2, 4, 1, 4, 2], 3);
        let members: Vec<_> = packs.iter().map(Packed::members).collect();
        assert_eq!(members, [&[1, 3, 0][..], &[4, 2]]);
        let rows: Vec<_> = (0..packs[0].steps()).map(|step| packs[0].rows(step)).collect();
        assert_eq!(rows, [0..3, 3..6, 6..8, 8..10]);
        assert_eq!((packs[0].count(), packs[0].length(2)), (10, 2));
        assert_eq!([packs[0].row(1, 3), packs[0].row(2, 1), packs[0].row(2, 2)], [Some(9), Some(5), None]);
        assert_eq!((packs[1].count(), packs[1].steps(), packs[1].rows(1)), (3, 2, 2..3));
    }
}
