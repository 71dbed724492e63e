//! What a layer that trains on what another passes on is fed with.

use crate::samples::Samples;

/// What a step passes on to a layer above that trains at the same time, by the weights before the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOn {
    /// Nothing: nobody trains upon this layer.
    Nothing,
    /// The outputs of the positive pairs: a layer that makes pairs takes them for samples (algorithm 2).
    Positives,
    /// The outputs of all pairs, positives first (algorithm 1).
    Pairs,
}

impl PassOn {
    /// Of how many pairs, where so many are positive of so many in all.
    pub(super) fn count(self, positives: usize, all: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Positives => positives,
            Self::Pairs => all,
        }
    }
}

/// What a step passes on.
#[derive(Clone, Debug, PartialEq)]
pub struct PassedOn {
    /// Which pairs of the batch it is of: those are counted positives first, then of one shift after the other, in the order of samples.
    /// Of a shard that owns some of the samples, those of its own, in ascending order; otherwise all.
    pub pairs: Vec<usize>,
    /// The layer's outputs for each of them.
    pub outputs: Samples,
}
