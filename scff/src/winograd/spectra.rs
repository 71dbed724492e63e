//! What is transformed: of each tile or kernel, a number for every frequency and channel.

use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeBuilder, s};
use rayon::prelude::*;

use super::size::FREQUENCIES;
use crate::matrix::matrix_mut;
use crate::scratch::{Buffer, buffer};

/// Numbers between two items, so that they do not all fall on the same places of a cache.
const GAP: usize = 16;

/// (items, frequencies, channels): so a transform reads and writes one run of channels after the other, and a frequency
/// is a matrix of rows that lie apart.
pub(crate) struct Spectra {
    numbers: Buffer,
    channels: usize,
}

impl Spectra {
    /// Of so many items, whatever numbers they are.
    pub(crate) fn new(items: usize, channels: usize) -> Self {
        let stride = FREQUENCIES * channels + GAP;
        Self { numbers: buffer(items * stride), channels }
    }

    pub(crate) fn count(&self) -> usize {
        self.numbers.len() / self.stride()
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Numbers from one item to the next.
    pub(crate) fn stride(&self) -> usize {
        FREQUENCIES * self.channels + GAP
    }

    /// All items, each of (frequencies, channels) and a gap.
    pub(crate) fn items(&self) -> &[f32] {
        &self.numbers
    }

    /// The same, to be written.
    pub(crate) fn items_mut(&mut self) -> &mut [f32] {
        &mut self.numbers
    }

    /// One frequency of all items: (items, channels).
    pub(crate) fn frequency(&self, frequency: usize) -> ArrayView2<'_, f32> {
        let (stride, channels) = (self.stride(), self.channels);
        let shape = (self.count(), channels).strides((stride, 1));
        ArrayView2::from_shape(shape, &self.numbers[frequency * channels..]).expect("within the items")
    }

    /// The same, to be written.
    pub(crate) fn frequency_mut(&mut self, frequency: usize) -> ArrayViewMut2<'_, f32> {
        let (start, stride) = (frequency * self.channels, self.stride());
        let numbers = matrix_mut(&mut self.numbers, stride);
        numbers.slice_move(s![.., start..start + self.channels])
    }

    /// Computes each frequency, (items, channels), by `compute`, on all threads.
    pub(crate) fn compute(&mut self, compute: impl Fn(usize, &mut ArrayViewMut2<'_, f32>) + Sync) {
        let (stride, channels) = (self.stride(), self.channels);
        let mut numbers = matrix_mut(&mut self.numbers, stride);
        let mut frequencies = numbers.slice_mut(s![.., ..FREQUENCIES * channels]);
        let frequencies = frequencies.axis_chunks_iter_mut(Axis(1), channels).into_par_iter();
        frequencies.enumerate().for_each(|(frequency, mut matrix)| compute(frequency, &mut matrix));
    }
}
