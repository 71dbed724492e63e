//! In which order the pairs of a batch stand, and which of them are there.

use std::ops::Range;

/// The pairs of some of a batch's samples. A pair belongs to the sample of its first half.
///
/// Samples stand in groups: those of a group are together, first its positive pairs, then its negative pairs of one shift
/// after the other. Usually a batch is one group; where samples are shared, a group is a part that cannot be divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairOrder {
    /// Samples of the whole batch.
    batch: usize,
    /// Negative pairs of each sample.
    negatives: usize,
    /// Samples of each group.
    groups: Vec<Vec<usize>>,
}

impl PairOrder {
    /// All pairs of a batch, in one group.
    pub fn whole(batch: usize, negatives: usize) -> Self {
        Self { batch, negatives, groups: vec![(0..batch).collect()] }
    }

    /// The pairs of groups of samples. Groups are cut where `parts` says from the samples as they are followed by the one with
    /// which they make their first negative pair, as far as that goes: so whoever has one after the other needs few others.
    pub fn neighbouring(batch: usize, shifts: &[usize], parts: &[Range<usize>]) -> Self {
        let samples = neighbours(batch, shifts.first().copied());
        let groups = parts.iter().map(|part| samples[part.clone()].to_vec()).collect();
        Self { batch, negatives: shifts.len(), groups }
    }

    /// How many pairs there are here.
    pub fn count(&self) -> usize {
        self.samples() * (1 + self.negatives)
    }

    /// How many of them are positive: as many as samples.
    pub fn samples(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Positive and negative pairs of the whole batch.
    pub fn of_batch(&self) -> (usize, usize) {
        (self.batch, self.batch * self.negatives)
    }

    /// Whether each pair is positive.
    pub fn positive(&self) -> impl Iterator<Item = bool> {
        self.pairs().map(|(_, turn)| turn == 0)
    }

    /// Whether all pairs of the batch are here, positives first.
    pub fn is_whole(&self) -> bool {
        self.groups.len() == 1 && self.samples() == self.batch
    }

    /// The pairs of each group.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let mut end = 0;
        self.groups.iter().map(move |samples| {
            let start = end;
            end += samples.len() * (1 + self.negatives);
            start..end
        })
    }

    /// The sample of each pair, and which of its pairs it is: 0 for the positive one, then those of each shift.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let turns = 0..=self.negatives;
        self.groups.iter().flat_map(move |samples| {
            let of_turn = move |turn| samples.iter().map(move |&sample| (sample, turn));
            turns.clone().flat_map(of_turn)
        })
    }

    /// Of each pair, which it is of the batch's: those are counted positives first, then of one shift after the other, in the order of samples.
    pub fn in_batch(&self) -> impl Iterator<Item = usize> {
        self.pairs().map(|(sample, turn)| turn * self.batch + sample)
    }

    /// The pairs, positives first, then those of one shift after the other, in the order of samples.
    pub fn positives_first(&self) -> Vec<usize> {
        let mut pairs: Vec<_> = self.in_batch().zip(0..).collect();
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, pair)| pair).collect()
    }
}

/// The samples of a batch, each followed by the one that is `shift` after it, round and round.
fn neighbours(batch: usize, shift: Option<usize>) -> Vec<usize> {
    let mut seen = vec![false; batch];
    let mut order = Vec::with_capacity(batch);
    for start in 0..batch {
        let mut sample = start;
        while !std::mem::replace(&mut seen[sample], true) {
            order.push(sample);
            sample = (sample + shift.unwrap_or(0)) % batch;
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of parts that has one")]
    fn pairs_of_a_group_stand_together_positives_first() {
        let whole = PairOrder::whole(3, 1);
        assert_eq!(whole.pairs().collect::<Vec<_>>(), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
        assert_eq!((whole.is_whole(), whole.positives_first()), (true, (0..6).collect()));
        // 0 2 4 1 3
        let order = PairOrder::neighbouring(5, &[2], &[0..2, 2..5]);
        let of_group = |order: &PairOrder, group: usize| {
            let pairs: Vec<_> = order.pairs().collect();
            pairs[order.groups().nth(group).unwrap()].to_vec()
        };
        assert_eq!(of_group(&order, 0), [(0, 0), (2, 0), (0, 1), (2, 1)]);
        assert_eq!(of_group(&order, 1), [(4, 0), (1, 0), (3, 0), (4, 1), (1, 1), (3, 1)]);
        assert_eq!(order.in_batch().collect::<Vec<_>>(), [0, 2, 5, 7, 4, 1, 3, 9, 6, 8]);
        assert_eq!(order.positives_first(), [0, 5, 1, 6, 4, 2, 8, 3, 9, 7]);
        let part = PairOrder::neighbouring(5, &[2], &[2..5]);
        assert_eq!(of_group(&part, 0), of_group(&order, 1));
        assert_eq!((part.count(), part.samples(), part.of_batch(), part.is_whole()), (6, 3, (5, 5), false));
    }

    #[test]
    fn neighbours_are_all_samples_whatever_the_shift() {
        // With 10 samples, a shift of 4 leads round twice.
        assert_eq!(neighbours(10, Some(4)), [0, 4, 8, 2, 6, 1, 5, 9, 3, 7]);
        assert_eq!(neighbours(3, None), [0, 1, 2]);
    }
}
