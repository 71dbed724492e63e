//! What a layer in training reads: the pairs of a batch, of rows or of sequences.

use crate::frozen::FrozenLayer;
use crate::layer::LayerSpec;
use crate::pair::{PairActivations, PairedRows};
use crate::pair_order::PairOrder;
use crate::samples::Samples;
use crate::sequence_pair::{PairedSequences, SequenceActivations};

/// The pairs of a batch.
#[derive(Clone, Debug)]
pub enum PairedSamples {
    /// For dense layers and convolutions.
    Rows(PairedRows),
    /// For recurrent layers.
    Sequences(PairedSequences),
}

/// The same, borrowed.
#[derive(Clone, Copy)]
pub enum Paired<'a> {
    /// For dense layers and convolutions.
    Rows(&'a PairedRows),
    /// For recurrent layers.
    Sequences(&'a PairedSequences),
}

impl PairedSamples {
    /// Makes the pairs of a batch of samples for a layer of `spec`: see [`PairedRows::make`]. Those of rows may be fewer, in
    /// another order.
    pub(super) fn make(
        samples: Samples,
        spec: &LayerSpec,
        two_views: bool,
        shifts: &[usize],
        order: Option<PairOrder>,
    ) -> Self {
        match samples {
            Samples::Rows(rows) => Self::Rows(match order {
                Some(order) => PairedRows::make_in_order(rows, &spec.map, two_views, shifts, order),
                None => PairedRows::make(rows, &spec.map, two_views, shifts),
            }),
            Samples::Sequences(sequences) => {
                Self::Sequences(PairedSequences::make(sequences, two_views, shifts))
            }
        }
    }

    /// Takes pairs, `positives` of them positive, for a layer of `spec`: see [`PairedRows::take`].
    pub(super) fn take(pairs: Samples, positives: usize, spec: &LayerSpec) -> Self {
        match pairs {
            Samples::Rows(rows) => {
                Self::Rows(PairedRows::take(PairActivations { rows, positives }, &spec.map))
            }
            Samples::Sequences(sequences) => {
                Self::Sequences(PairedSequences::take(SequenceActivations { sequences, positives }))
            }
        }
    }

    /// The same pairs as a layer below has passed them on, for a layer of `spec` that takes them.
    pub(super) fn passed_on(&self, pairs: Samples, spec: &LayerSpec) -> Self {
        match (self, pairs) {
            (Self::Rows(input), Samples::Rows(rows)) => {
                Self::Rows(PairedRows::take_in_order(rows, &spec.map, input.order().clone()))
            }
            (_, pairs) => Self::take(pairs, self.positives(), spec),
        }
    }

    /// What a frozen layer passes on for the pairs, in their order.
    pub(super) fn through(&self, layer: &FrozenLayer) -> Samples {
        match self {
            Self::Rows(input) => layer.transform_pairs(input).rows.into(),
            Self::Sequences(input) => layer.transform_sequence_pairs(input).sequences.into(),
        }
    }

    /// How many of the pairs are positive.
    pub(super) fn positives(&self) -> usize {
        match self {
            Self::Rows(input) => input.positives(),
            Self::Sequences(input) => input.positives(),
        }
    }

    /// See [`PairedRows::in_order`].
    pub(super) fn in_order(self, order: PairOrder) -> Self {
        match self {
            Self::Rows(input) => Self::Rows(input.in_order(order)),
            Self::Sequences(_) => self,
        }
    }

    /// See [`PairedRows::neighbouring`].
    pub(super) fn neighbouring(self) -> Self {
        match self {
            Self::Rows(input) => Self::Rows(input.neighbouring()),
            Self::Sequences(_) => self,
        }
    }
}

impl<'a> From<&'a PairedSamples> for Paired<'a> {
    fn from(samples: &'a PairedSamples) -> Self {
        match samples {
            PairedSamples::Rows(input) => Self::Rows(input),
            PairedSamples::Sequences(input) => Self::Sequences(input),
        }
    }
}

impl<'a> From<&'a PairedRows> for Paired<'a> {
    fn from(input: &'a PairedRows) -> Self {
        Self::Rows(input)
    }
}

impl<'a> From<&'a PairedSequences> for Paired<'a> {
    fn from(input: &'a PairedSequences) -> Self {
        Self::Sequences(input)
    }
}
