//! A layer that no longer learns: it transforms samples, and pairs for the layers of algorithm 1 above it.

use std::sync::Arc;

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::blas::product_row_by_row;
use crate::layer::{LayerSpec, ShapeError, Tensors, Transmit};
use crate::normalize::standardize_rows;
use crate::pair::{Pair, PairActivations, PairedRows, outputs};

/// Samples of one product when samples are transformed: products are always this tall (the last one is padded
/// with zeros), so that a sample's activation does not depend on what was transformed with it
/// (`tests/invariance.rs` checks it under every kernel of the processor at hand).
pub const ROWS_PER_CALL: usize = 96;

/// A frozen layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenLayer {
    spec: LayerSpec,
    parameters: Tensors,
    /// w[c]: the sum of each channel's weights.
    weight_sums: Array1<f32>,
    /// The bias, as often as the layer adds it.
    bias: Array1<f32>,
}

impl FrozenLayer {
    /// A layer of these parameters, which must fit `spec`.
    pub fn new(spec: LayerSpec, parameters: Tensors) -> Result<Self, ShapeError> {
        parameters.check("parameters", &spec.map)?;
        let bias_factor = if spec.makes_pairs() { 2.0 } else { 1.0 };
        let bias = parameters.bias.mapv(|b| b * bias_factor);
        Ok(Self { weight_sums: parameters.weight.sum_axis(Axis(1)), bias, spec, parameters })
    }

    /// What is fixed about the layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// Weights and biases.
    pub fn parameters(&self) -> &Tensors {
        &self.parameters
    }

    /// What the layer passes on for single samples: (samples, elements in) to (samples, elements out).
    ///
    /// A layer that makes pairs sees a sample as the pair (i, i).
    pub fn transform(&self, samples: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut result = Array2::zeros((samples.nrows(), self.spec.map.outputs()));
        result
            .axis_chunks_iter_mut(Axis(0), ROWS_PER_CALL)
            .into_par_iter()
            .zip(samples.axis_chunks_iter(Axis(0), ROWS_PER_CALL))
            .for_each(|(mut result, samples)| {
                let mut rows = Array2::zeros((ROWS_PER_CALL, samples.ncols()));
                rows.slice_mut(s![..samples.nrows(), ..]).assign(&samples);
                let input = PairedRows::alone(rows, self.spec.makes_pairs());
                let mapped = product_row_by_row(input.rows(), self.parameters.weight.view());
                for (pair, mut out) in input.pairs().iter().zip(result.outer_iter_mut()) {
                    self.transmit_pair(pair, mapped.view(), out.as_slice_mut().expect("contiguous"));
                }
            });
        result
    }

    /// What the layer passes on for the pairs of a batch.
    pub fn transform_pairs(&self, input: &PairedRows) -> PairActivations {
        let channels = self.spec.map.channels();
        let mut mapped = Array2::zeros((input.rows().nrows(), channels));
        mapped
            .axis_chunks_iter_mut(Axis(1), self.spec.block)
            .into_par_iter()
            .zip(self.parameters.weight.axis_chunks_iter(Axis(0), self.spec.block))
            .for_each(|(mut mapped, weight)| {
                general_mat_mul(1.0, &input.rows(), &weight.t(), 0.0, &mut mapped);
            });
        let (positive, negative) = input.pairs().split_at(input.positives());
        let transmit = |pairs: &[Pair]| {
            let mut result = Array2::zeros((pairs.len(), channels));
            result.outer_iter_mut().into_par_iter().zip(pairs).for_each(|(mut out, pair)| {
                self.transmit_pair(pair, mapped.view(), out.as_slice_mut().expect("contiguous"));
            });
            result
        };
        let (positive, negative) = rayon::join(|| transmit(positive), || transmit(negative));
        PairActivations { positive, negative }
    }

    /// `mapped`: U of all rows, (rows, channels).
    fn transmit_pair(&self, pair: &Pair, mapped: ArrayView2<'_, f32>, out: &mut [f32]) {
        let row =
            |index: usize| mapped.index_axis_move(Axis(0), index).to_slice().expect("rows are contiguous");
        let constants =
            (self.weight_sums.as_slice().expect("contiguous"), self.bias.as_slice().expect("contiguous"));
        transmit(self.spec.transmit, pair, row(pair.first), pair.second.map(row), constants, out);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn transmit(
    kind: Transmit,
    pair: &Pair,
    first: &[f32],
    second: Option<&[f32]>,
    constants: (&[f32], &[f32]),
    out: &mut [f32],
) {
    outputs(pair, first, second, constants, out);
    let mean = match kind {
        Transmit::Triangle => sum(out) / out.len() as f32,
        Transmit::Relu => 0.0,
    };
    for value in out.iter_mut() {
        *value = (*value - mean).max(0.0);
    }
}

#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
    lanes.iter().sum()
}

/// Samples after the first `layers.len()` layers: (samples, elements in) to (samples, elements out).
pub fn transform(layers: &[Arc<FrozenLayer>], samples: ArrayView2<'_, f32>) -> Array2<f32> {
    layers.iter().fold(samples.to_owned(), |rows, layer| layer.transform(rows.view()))
}

/// The readout's features of samples: the outputs of the layers for which `taps` holds true, each standardised
/// per sample and layer, side by side. Without any tapped layer: the standardised samples themselves.
pub fn features(layers: &[Arc<FrozenLayer>], taps: &[bool], samples: ArrayView2<'_, f32>) -> Array2<f32> {
    assert_eq!(layers.len(), taps.len(), "one tap for each layer");
    let mut rows = samples.to_owned();
    let mut parts = Vec::new();
    for (layer, &tapped) in layers.iter().zip(taps) {
        rows = layer.transform(rows.view());
        if tapped {
            parts.push(rows.clone());
        }
    }
    if parts.is_empty() {
        parts.push(samples.to_owned());
    }
    let width = parts.iter().map(Array2::ncols).sum();
    let mut features = Array2::zeros((samples.nrows(), width));
    let mut start = 0;
    for mut part in parts {
        standardize_rows(&mut part);
        features.slice_mut(s![.., start..start + part.ncols()]).assign(&part);
        start += part.ncols();
    }
    features
}
