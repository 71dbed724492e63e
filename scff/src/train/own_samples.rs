//! Which samples of each batch a worker owns, and in which order it takes their pairs.

use std::ops::Range;

use super::sharing::Sharing;
use crate::layer::LayerSpec;
use crate::pair_order::PairOrder;

/// The samples that a worker owns of each batch.
#[derive(Clone, Debug)]
pub(super) struct OwnSamples {
    sharing: Sharing,
    /// All of a batch (`None`), unless it is a shard that owns some of them.
    own: Option<Range<usize>>,
}

impl OwnSamples {
    pub(super) fn new(sharing: Sharing, own: Option<Range<usize>>) -> Self {
        Self { sharing, own }
    }

    /// What those divide who share the layer.
    pub(super) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Which they are of a batch of so many.
    pub(super) fn of(&self, batch: usize) -> Range<usize> {
        self.own.clone().unwrap_or(0..batch)
    }

    /// The parts of a batch of so many samples, and which of them are owned.
    pub(super) fn parts(&self, spec: &LayerSpec, batch: usize) -> (Vec<Range<usize>>, Range<usize>) {
        let parts = self.sharing.sample_parts(spec, batch);
        let samples = self.of(batch);
        let place = |sample| parts.partition_point(|part| part.start < sample);
        let own = place(samples.start)..place(samples.end);
        let owned = parts[own.clone()].first().zip(parts[own.clone()].last());
        assert_eq!(
            owned.map(|(first, last)| first.start..last.end),
            Some(samples),
            "a shard owns whole parts"
        );
        (parts, own)
    }

    /// The order in which the layer's pairs must stand, of a batch of so many samples; none where it takes them positives first.
    pub(super) fn order(&self, spec: &LayerSpec, batch: usize, shifts: &[usize]) -> Option<PairOrder> {
        let order = || {
            let (parts, own) = self.parts(spec, batch);
            PairOrder::neighbouring(batch, shifts, &parts[own])
        };
        (self.sharing == Sharing::Grid).then(order)
    }
}
