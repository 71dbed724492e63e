//! How the samples of a batch are cut.

use std::ops::Range;

use super::tiling::Tiling;

/// Tiles of a product that are enough: of more, what lies between products and maps leaves the caches.
const TILES: usize = 400;

/// Consecutive samples that are multiplied together, and whose gradients are added up in order. They follow from the layer
/// and the number of samples alone.
pub(crate) struct Chunks {
    samples: usize,
    count: usize,
}

impl Chunks {
    /// Cuts `samples` samples.
    pub(crate) fn new(tiling: &Tiling, samples: usize) -> Self {
        let count = (samples * tiling.count()).div_ceil(TILES).clamp(1, samples.max(1));
        Self { samples, count }
    }

    /// The samples of each.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let Self { samples, count } = *self;
        (0..count).map(move |chunk| chunk * samples / count..(chunk + 1) * samples / count)
    }
}
