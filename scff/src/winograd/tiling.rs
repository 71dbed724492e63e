//! How a map is cut into tiles.

use std::hint::black_box;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::size::OUTPUTS;
use super::spectra::Spectra;
use super::tile::Tile;
use super::transform::{inputs, output_gradients, outputs};
use crate::layer::{Conv, MapShape};

/// Numbers of a line of the caches.
const LINE: usize = 16;

/// The tiles of a convolution's map. Those at its far edges may reach beyond: there they read zeros and write nothing.
pub(crate) struct Tiling {
    tiles: Vec<Tile>,
    /// How many of them stand side by side.
    across: usize,
}

impl Tiling {
    /// The tiles of `conv`, whose kernel is 3x3.
    pub(crate) fn new(conv: &Conv) -> Self {
        let MapShape { height, width, .. } = conv.output();
        let corners = |side: usize| (0..side).step_by(OUTPUTS);
        let tiles = corners(height).flat_map(|row| corners(width).map(move |column| (row, column)));
        let across = corners(width).count();
        Self { tiles: tiles.map(|corner| Tile::new(conv, corner)).collect(), across }
    }

    /// Tiles of a sample.
    pub(crate) fn count(&self) -> usize {
        self.tiles.len()
    }

    /// What the tiles read of each row, (rows, positions * channels), transformed: an item for every tile. Each row's first is
    /// `apart` items after that of the row before; what lies between are zeros.
    pub(crate) fn inputs(&self, rows: ArrayView2<'_, f32>, channels: usize, apart: usize) -> Spectra {
        let mut spectra = Spectra::new(rows.nrows() * apart, channels);
        let (stride, count) = (spectra.stride(), self.count());
        let items = spectra.items_mut().par_chunks_exact_mut(apart * stride);
        items.zip(rows.outer_iter().into_par_iter()).for_each(|(out, row)| {
            let row = row.to_slice().expect("rows are contiguous");
            let (out, rest) = out.split_at_mut(count * stride);
            let together = self.tiles.chunks(self.across).zip(out.chunks_exact_mut(self.across * stride));
            for (tiles, out) in together {
                fetch(tiles, row, channels);
                inputs(tiles, row, channels, out, stride);
            }
            rest.fill(0.0);
        });
        spectra
    }

    /// The maps, (positions, `width`) each, of products that lie so far apart as those of [`Self::inputs`]: writes all of
    /// their channels, from `first` on.
    pub(crate) fn outputs<'a>(
        &self,
        (products, apart): (&Spectra, usize),
        maps: impl IndexedParallelIterator<Item = &'a mut [f32]>,
        (first, width): (usize, usize),
    ) {
        let (stride, channels) = (products.stride(), products.channels());
        products.items().par_chunks_exact(apart * stride).zip(maps).for_each(|(products, map)| {
            outputs(&self.tiles, (products, stride, channels), map, (first, width));
        });
    }

    /// The gradient of a sample's outputs, (positions, channels), transformed: (tiles, `stride`).
    pub(crate) fn output_gradients(&self, map: &[f32], channels: usize, out: &mut [f32], stride: usize) {
        output_gradients(&self.tiles, map, channels, out, stride);
    }
}

/// Reads what tiles read of a map, (positions, channels), from end to end, which processors see coming: the tiles read runs that lie apart,
/// and would wait for memory at each.
fn fetch(tiles: &[Tile], map: &[f32], channels: usize) {
    let reads = || tiles.iter().flat_map(|tile| tile.reads).flatten();
    let (first, last) = (reads().min().unwrap_or(0), reads().max().unwrap_or(0));
    let numbers = &map[first * channels..(last + 1) * channels];
    black_box(numbers.iter().step_by(LINE).fold(0, |bits, number| bits ^ number.to_bits()));
}
