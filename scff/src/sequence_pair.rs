//! Pairs of sequences: what a recurrent layer sees of a batch.
//!
//! The input of a pair (i, j) at frame t is e_t = x_i + x_j, as both halves share the weights W_ih; so W_ih e_t = U_i + U_j
//! with U = W_ih x, and **one** map per sample serves the positive and all negative pairs that it is part of. Sequences are
//! not standardised again: their frames are. A pair has as many frames as the shorter of its halves, for where only one is
//! left there is nothing to compare.

use crate::pair::halves;
use crate::pair_order::PairOrder;
use crate::sequences::Sequences;

/// One pair: e = x of `first` + x of `second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencePair {
    /// The sequence of the first half.
    pub first: usize,
    /// That of the second; `None` where a sequence is that of a whole pair (algorithm 1).
    pub second: Option<usize>,
}

/// Sequences, and the pairs that are read from them: positives first, then negatives.
#[derive(Clone, Debug)]
pub struct PairedSequences {
    sequences: Sequences,
    pairs: Vec<SequencePair>,
    positives: usize,
}

impl PairedSequences {
    /// Makes the pairs of a batch, as [`PairedRows::make`](crate::pair::PairedRows::make) does of rows.
    pub fn make(sequences: Sequences, two_views: bool, shifts: &[usize]) -> Self {
        let batch = if two_views { sequences.count() / 2 } else { sequences.count() };
        assert!(!two_views || sequences.count() == 2 * batch, "two views come in equal numbers");
        let order = PairOrder::whole(batch, shifts.len());
        let pairs = halves(&order, two_views, shifts);
        let pairs = pairs.map(|(first, second)| SequencePair { first, second: Some(second) }).collect();
        Self { sequences, pairs, positives: batch }
    }

    /// Takes the pairs that the layer below passed on (algorithm 1): each sequence is one of a pair.
    pub fn take(activations: SequenceActivations) -> Self {
        let SequenceActivations { sequences, positives } = activations;
        let pairs = (0..sequences.count()).map(|first| SequencePair { first, second: None }).collect();
        Self { sequences, pairs, positives }
    }

    /// The same samples seen alone, as a frozen layer sees them: pairs (i, i) for a layer that makes pairs, sequences for
    /// one that takes them.
    pub fn alone(sequences: Sequences, makes_pairs: bool) -> Self {
        if makes_pairs {
            return Self::make(sequences, false, &[]);
        }
        let positives = sequences.count();
        Self::take(SequenceActivations { sequences, positives })
    }

    /// The sequences that pairs are read from.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// All pairs, positives first.
    pub fn pairs(&self) -> &[SequencePair] {
        &self.pairs
    }

    /// How many of the pairs are positive.
    pub fn positives(&self) -> usize {
        self.positives
    }

    /// How many frames each pair has.
    pub fn lengths(&self) -> Vec<usize> {
        let length = |pair: &SequencePair| {
            let length = self.sequences.length(pair.first);
            pair.second.map_or(length, |second| length.min(self.sequences.length(second)))
        };
        self.pairs.iter().map(length).collect()
    }
}

/// What a layer passes on for the pairs of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceActivations {
    /// One for each pair, positive pairs first.
    pub sequences: Sequences,
    /// How many of the pairs are positive.
    pub positives: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_the_frames_that_both_halves_have() {
        let paired = PairedSequences::make(Sequences::zeros(2, [3, 5, 1]), false, &[1]);
        let pair = |first, second| SequencePair { first, second: Some(second) };
        assert_eq!(paired.pairs(), [pair(0, 0), pair(1, 1), pair(2, 2), pair(0, 1), pair(1, 2), pair(2, 0)]);
        assert_eq!((paired.positives(), paired.lengths()), (3, vec![3, 5, 1, 3, 1, 1]));
        let views = PairedSequences::make(Sequences::zeros(2, [3, 5, 4, 2]), true, &[1]);
        assert_eq!(views.pairs(), [pair(0, 2), pair(1, 3), pair(0, 3), pair(1, 2)]);
        assert_eq!(views.lengths(), [3, 2, 2, 4]);
    }
}
