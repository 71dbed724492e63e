//! U of a frozen convolution's rows by Winograd's algorithm.

use std::fmt;
use std::sync::OnceLock;

use ndarray::{ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;

use crate::layer::{ChannelRange, Conv};
use crate::winograd::{CHANNELS, Spectra, Tiling, evenly, kernels};

/// Tiles of one call when samples are transformed.
const TILES_PER_CALL: usize = 192;

/// A convolution's map, with its kernels from the first rows on.
pub(super) struct WinogradMap {
    conv: Conv,
    tiling: Tiling,
    kernels: OnceLock<Vec<(ChannelRange, Spectra)>>,
}

/// A product of rows and kernels, (rows, channels).
type Product = fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>, &mut ArrayViewMut2<'_, f32>);

impl WinogradMap {
    pub(super) fn new(conv: &Conv) -> Self {
        Self { conv: *conv, tiling: Tiling::new(conv), kernels: OnceLock::new() }
    }

    /// Samples of one call where each begins at a multiple of `period` rows.
    pub(super) fn samples_per_call(&self, period: usize) -> usize {
        (TILES_PER_CALL / self.apart(period)).max(1)
    }

    /// Rows from the tiles of one sample to those of the next.
    fn apart(&self, period: usize) -> usize {
        self.tiling.count().next_multiple_of(period)
    }

    /// U of some samples by one call of `product` for each frequency and set of channels; `weight`: (channels, fan-in),
    /// `mapped`: (samples, positions, channels). Each sample's tiles begin at a multiple of `period` rows.
    pub(super) fn map(
        &self,
        weight: ArrayView2<'_, f32>,
        samples: ArrayView2<'_, f32>,
        (product, period): (Product, usize),
        mapped: &mut [f32],
    ) {
        let apart = self.apart(period);
        let inputs = self.tiling.inputs(samples, self.conv.input.channels, apart);
        let output = self.conv.output();
        for (channels, kernels) in self.kernels(weight) {
            let mut products = Spectra::new(samples.nrows() * apart, channels.len());
            products.compute(|frequency, out| {
                product(inputs.frequency(frequency), kernels.frequency(frequency), out);
            });
            let maps = mapped.par_chunks_exact_mut(output.len());
            self.tiling.outputs((&products, apart), maps, (channels.start, output.channels));
        }
    }

    fn kernels(&self, weight: ArrayView2<'_, f32>) -> &[(ChannelRange, Spectra)] {
        self.kernels.get_or_init(|| {
            let set = |channels: std::ops::Range<usize>| {
                let weight = weight.slice(s![channels.clone(), ..]);
                let rows = weight.outer_iter().map(|row| row.to_slice().expect("weights are contiguous"));
                let kernels = kernels(rows, self.conv.input.channels);
                (ChannelRange { start: channels.start, end: channels.end }, kernels)
            };
            evenly(self.conv.channels, CHANNELS).map(set).collect()
        })
    }
}

/// Kernels follow from the layer's weights.
impl PartialEq for WinogradMap {
    fn eq(&self, other: &Self) -> bool {
        self.conv == other.conv
    }
}

impl fmt::Debug for WinogradMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WinogradMap").field("conv", &self.conv).finish_non_exhaustive()
    }
}
