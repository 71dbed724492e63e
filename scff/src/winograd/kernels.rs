//! Kernels, and which of them are multiplied together.

use std::ops::Range;

use rayon::prelude::*;

use super::spectra::Spectra;
use super::transform;

/// Channels of a product that are enough: of more, what lies between products and maps leaves the caches.
pub(crate) const CHANNELS: usize = 192;

/// Kernels that are transformed one after the other.
const TOGETHER: usize = 8;

/// The kernels of some channels, (fan-in) each, transformed: (channels, frequencies, input channels).
pub(crate) fn kernels<'a>(weights: impl Iterator<Item = &'a [f32]>, inputs: usize) -> Spectra {
    let weights: Vec<&[f32]> = weights.collect();
    let mut kernels = Spectra::new(weights.len(), inputs);
    let stride = kernels.stride();
    let parts = kernels.items_mut().par_chunks_mut(TOGETHER * stride);
    parts.zip(weights.par_chunks(TOGETHER)).for_each(|(out, weights)| {
        transform::kernels(weights, out, stride);
    });
    kernels
}

/// `number` things in as few parts of at most `most` as can be (or of one), which differ by one at most.
pub(crate) fn evenly(number: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = number.div_ceil(most.max(1));
    (0..parts).map(move |part| part * number / parts..(part + 1) * number / parts)
}
