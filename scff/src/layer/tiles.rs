//! How the samples of a convolution are cut, whoever computes them.

use std::ops::Range;

use super::conv::Conv;

/// Rows of patches that suit a product: their patches stay in cache, and weights are packed seldom enough.
const PATCHES: usize = 512;
/// Numbers of weight gradient that all groups together may take, unless two take more.
const GRADIENTS: usize = 8 << 20;

/// Consecutive samples are lowered and multiplied together: a tile. Consecutive tiles add up to one partial weight
/// gradient: a group. Partial gradients are summed in the order of groups.
///
/// Both follow from the layer and the number of samples alone, and there is an even number of each wherever there are
/// two samples, since most machines have an even number of cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tiles {
    samples: usize,
    count: usize,
    groups: usize,
}

impl Tiles {
    /// Cuts `samples` samples of a layer.
    pub(crate) fn new(conv: &Conv, samples: usize) -> Self {
        let patches = samples * conv.output().positions();
        let even = |count: usize| (2 * count.div_ceil(2)).clamp(1, samples.max(1));
        let tiles = even(patches.div_ceil(PATCHES));
        let gradient = conv.channels * conv.fan_in();
        let groups = even(GRADIENTS / gradient.max(1)).min(tiles);
        Self { samples, count: tiles, groups }
    }

    /// The samples of each tile.
    pub(crate) fn tiles(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        parts(self.samples, self.count)
    }

    /// The samples of the tiles of each group.
    pub(crate) fn groups(&self) -> impl ExactSizeIterator<Item = Vec<Range<usize>>> {
        parts(self.count, self.groups).map(|tiles| self.tiles().skip(tiles.start).take(tiles.len()).collect())
    }
}

/// `length` things cut into parts that differ by one at most.
fn parts(length: usize, parts: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..parts).map(move |part| part * length / parts..(part + 1) * length / parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::algorithm::Algorithm;
    use crate::layer::map::MapShape;

    fn tiles(side: usize, channels: (usize, usize), kernel: usize, samples: usize) -> Tiles {
        let input = MapShape { height: side, width: side, channels: channels.0 };
        Tiles::new(
            &Conv { input, channels: channels.1, kernel, padding: kernel / 2, algorithm: Algorithm::Direct },
            samples,
        )
    }

    #[test]
    fn every_sample_is_in_one_tile_and_every_tile_in_one_group() {
        for samples in [1, 2, 3, 7, 100, 200] {
            let tiles = tiles(8, (384, 1536), 3, samples);
            let covered: Vec<usize> = tiles.tiles().flatten().collect();
            assert_eq!(covered, (0..samples).collect::<Vec<_>>());
            let grouped: Vec<_> = tiles.groups().flatten().collect();
            assert_eq!(grouped, tiles.tiles().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_layers_of_the_papers_network_are_cut_evenly() {
        let count = |tiles: Tiles| (tiles.count, tiles.groups);
        assert_eq!(count(tiles(32, (3, 96), 5, 100)), (100, 100));
        assert_eq!(count(tiles(16, (96, 384), 3, 200)), (100, 26));
        assert_eq!(count(tiles(8, (384, 1536), 3, 100)), (14, 2));
    }
}
