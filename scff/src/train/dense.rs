//! Training dense layers: each channel block is computed by one thread, products and all.

use std::cell::RefCell;

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::block::{Block, Mapped};
use crate::layer::{ChannelRange, LayerState};
use crate::optimizer::Update;
use crate::pair::{Pair, PairedRows};

/// The channel blocks of a dense layer.
pub(super) struct DenseLayer {
    blocks: Vec<DenseBlock>,
}

impl DenseLayer {
    pub(super) fn new(blocks: &[ChannelRange], state: &LayerState) -> Self {
        Self { blocks: blocks.iter().map(|&channels| DenseBlock::new(channels, state)).collect() }
    }

    /// Its blocks, in order.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.blocks.iter().map(|block| &block.own)
    }

    /// U of every row after [`Self::forward`], of each block.
    pub(super) fn mapped(&self) -> Vec<Mapped<'_>> {
        let blocks = self.blocks.iter();
        blocks
            .map(|DenseBlock { own, mapped, .. }| Mapped {
                channels: own.channels,
                numbers: mapped.as_slice().expect("contiguous"),
            })
            .collect()
    }

    /// Writes the partial goodness of every pair: (blocks, pairs).
    pub(super) fn forward(&mut self, input: &PairedRows, partial: &mut Array2<f32>) {
        self.blocks
            .par_iter_mut()
            .zip(partial.axis_iter_mut(Axis(0)).into_par_iter())
            .for_each(|(block, mut partial)| block.forward(input, partial.as_slice_mut().expect("a row")));
    }

    /// `coefficients`: 2/C dL/dg of every pair.
    pub(super) fn backward(&mut self, input: &PairedRows, coefficients: &[f32], update: &Update) {
        self.blocks.par_iter_mut().for_each(|block| block.backward(input, coefficients, update));
    }
}

/// The part of a layer that one thread computes at a time.
struct DenseBlock {
    own: Block,
    /// U of every row, then dL/dU: (rows, channels).
    mapped: Array2<f32>,
    /// relu(z) of every pair: (pairs, channels).
    hidden: Array2<f32>,
}

thread_local! {
    /// The weight gradient of the block at hand. Blocks of a layer share it, so that it stays in cache.
    static GRADIENT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl DenseBlock {
    fn new(channels: ChannelRange, state: &LayerState) -> Self {
        Self {
            own: Block::new(channels, state),
            mapped: Array2::zeros((0, 0)),
            hidden: Array2::zeros((0, 0)),
        }
    }

    fn forward(&mut self, input: &PairedRows, partial: &mut [f32]) {
        let (rows, pairs, channels) = (input.rows(), input.pairs(), self.own.channels.len());
        resize(&mut self.mapped, rows.nrows(), channels);
        resize(&mut self.hidden, pairs.len(), channels);
        general_mat_mul(1.0, &rows, &self.own.parameters.weight.t(), 0.0, &mut self.mapped);
        let bias = self.own.parameters.bias.mapv(|b| b * input.bias_factor());
        let constants =
            (self.own.weight_sums.as_slice().expect("contiguous"), bias.as_slice().expect("contiguous"));
        let mapped = self.mapped.as_slice().expect("contiguous");
        let hidden = self.hidden.as_slice_mut().expect("contiguous");
        for ((pair, hidden), partial) in pairs.iter().zip(hidden.chunks_exact_mut(channels)).zip(partial) {
            let first = &mapped[pair.first * channels..][..channels];
            let second = pair.second.map(|row| &mapped[row * channels..][..channels]);
            *partial = hidden_of_pair(pair, first, second, constants, hidden);
        }
    }

    fn backward(&mut self, input: &PairedRows, coefficients: &[f32], update: &Update) {
        let channels = self.own.channels.len();
        let mut bias_gradient = vec![0.0_f32; channels];
        let mut sum_gradient = vec![0.0_f32; channels];
        let mapped = self.mapped.as_slice_mut().expect("contiguous");
        let hidden = self.hidden.as_slice().expect("contiguous");
        mapped.fill(0.0);
        for ((pair, hidden), coefficient) in
            input.pairs().iter().zip(hidden.chunks_exact(channels)).zip(coefficients)
        {
            let reach = coefficient * pair.scale;
            for row in [Some(pair.first), pair.second].into_iter().flatten() {
                add_scaled(&mut mapped[row * channels..][..channels], reach, hidden);
            }
            add_scaled(&mut bias_gradient, input.bias_factor() * coefficient, hidden);
            if pair.offset != 0.0 {
                add_scaled(&mut sum_gradient, -coefficient * pair.offset, hidden);
            }
        }
        let weights = self.own.parameters.weight.dim();
        GRADIENT.with_borrow_mut(|gradient| {
            gradient.resize(gradient.len().max(weights.0 * weights.1), 0.0);
            let mut gradient = ArrayViewMut2::from_shape(weights, &mut gradient[..weights.0 * weights.1])
                .expect("as many elements as weights");
            general_mat_mul(1.0, &self.mapped.t(), &input.rows(), 0.0, &mut gradient);
            self.update(update, gradient.view(), &bias_gradient, &sum_gradient);
        });
    }

    /// `sum_gradient` is dL/dw: it reaches every weight of its channel alike (the rank-one term).
    fn update(
        &mut self,
        update: &Update,
        gradient: ArrayView2<'_, f32>,
        bias_gradient: &[f32],
        sum_gradient: &[f32],
    ) {
        for (channel, (gradient, &shift)) in gradient.outer_iter().zip(sum_gradient).enumerate() {
            self.own.weight_sums[channel] = update.apply(
                row(&mut self.own.parameters.weight, channel),
                row(&mut self.own.first_moments.weight, channel),
                row(&mut self.own.second_moments.weight, channel),
                gradient.as_slice().expect("contiguous"),
                shift,
            );
        }
        self.own.update_bias(update, bias_gradient);
    }
}

fn row(array: &mut Array2<f32>, index: usize) -> &mut [f32] {
    array.slice_mut(s![index, ..]).into_slice().expect("rows are contiguous")
}

fn resize(buffer: &mut Array2<f32>, rows: usize, columns: usize) {
    if buffer.dim() != (rows, columns) {
        *buffer = Array2::zeros((rows, columns));
    }
}

/// Writes relu(z) of a pair to `hidden` and returns its sum of squares. `constants`: w and the (doubled) bias.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn hidden_of_pair(
    pair: &Pair,
    first: &[f32],
    second: Option<&[f32]>,
    constants: (&[f32], &[f32]),
    hidden: &mut [f32],
) -> f32 {
    crate::pair::outputs(pair, first, second, constants, hidden);
    let mut lanes = [0.0_f32; 16];
    let mut chunks = hidden.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = value.max(0.0);
            *lane += *value * *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(chunks.into_remainder()) {
        *value = value.max(0.0);
        *lane += *value * *value;
    }
    lanes.iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}
