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
    tiles: usize,
}

impl Chunks {
    /// Cuts `samples` samples.
    pub(crate) fn new(tiling: &Tiling, samples: usize) -> Self {
        let count = (samples * tiling.count()).div_ceil(TILES).clamp(1, samples.max(1));
        Self { samples, count, tiles: tiling.count() }
    }

    /// The samples of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        let Self { samples, count, .. } = *self;
        (0..count).map(move |chunk| chunk * samples / count..(chunk + 1) * samples / count)
    }

    /// The numbers of tiles that there are in a chunk.
    pub(crate) fn heights(&self) -> Vec<usize> {
        let mut heights: Vec<usize> = self.iter().map(|samples| samples.len() * self.tiles).collect();
        heights.sort_unstable();
        heights.dedup();
        heights
    }
}
