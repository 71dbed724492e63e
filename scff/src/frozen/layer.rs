//! A frozen layer, and how dense ones and convolutions transform rows.

use std::sync::Arc;

use multiversion::multiversion;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::slice::ParallelSliceMut;

use super::winograd::WinogradMap;
use crate::blas::{product, product_row_by_row, row_period};
use crate::layer::{Algorithm, BIAS_HH, BIAS_IH, LayerMap, LayerSpec, ShapeError, Tensors, Transmit};
use crate::matrix::{matrix, matrix_mut};
use crate::optimizer::weight_sums;
use crate::pair::{Pair, PairActivations, PairedRows, outputs};
use crate::scratch::buffer;

/// Rows of one product when samples are transformed: products are always about this tall (the last one is padded
/// with zeros), so that a sample's activation does not depend on what was transformed with it
/// (`tests/invariance.rs` checks it under every kernel of the processor at hand).
pub const ROWS_PER_CALL: usize = 96;
/// The same of convolutions, whose rows are the patches of several samples.
const PATCHES_PER_CALL: usize = 512;

/// A frozen layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenLayer {
    spec: LayerSpec,
    parameters: Tensors,
    /// w[c]: the sum of each channel's weights. A recurrent layer has none, for it does not standardise what it reads.
    weight_sums: Array1<f32>,
    /// The bias, as often as the layer adds it; of a recurrent layer, both biases added up.
    pub(super) bias: Array1<f32>,
    /// How it maps rows, where that is by Winograd's algorithm.
    winograd: Option<Arc<WinogradMap>>,
}

impl FrozenLayer {
    /// A layer of these parameters, which must fit `spec`.
    pub fn new(spec: LayerSpec, parameters: Tensors) -> Result<Self, ShapeError> {
        parameters.check("parameters", &spec.map.tensors())?;
        let (weight_sums, bias) = match &spec.map {
            LayerMap::Dense(_) | LayerMap::Conv(_) => {
                let bias_factor = if spec.makes_pairs() { 2.0 } else { 1.0 };
                (weight_sums(parameters.weight()), parameters.bias().mapv(|b| b * bias_factor))
            }
            LayerMap::BiRnn(_) => {
                let [with_frames, with_states] = [BIAS_IH, BIAS_HH].map(|name| parameters.vector(name));
                (Array1::default(0), &with_frames + &with_states)
            }
        };
        let winograd = match &spec.map {
            LayerMap::Conv(conv) if conv.algorithm == Algorithm::Winograd => Some(WinogradMap::new(conv)),
            _ => None,
        };
        Ok(Self { spec, parameters, weight_sums, bias, winograd: winograd.map(Arc::new) })
    }

    /// What is fixed about the layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// What it has learnt.
    pub fn parameters(&self) -> &Tensors {
        &self.parameters
    }

    /// What the layer passes on for single samples: (samples, elements in) to (samples, elements out).
    ///
    /// A layer that makes pairs sees a sample as the pair (i, i). Not of a recurrent layer, which reads sequences.
    pub fn transform(&self, samples: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut result = Array2::zeros((samples.nrows(), self.spec.outputs()));
        let (together, length) = (self.samples_per_call(), self.spec.map.output().len());
        result
            .axis_chunks_iter_mut(Axis(0), together)
            .into_par_iter()
            .zip(samples.axis_chunks_iter(Axis(0), together))
            .for_each(|(mut result, samples)| {
                let input = PairedRows::alone(samples.to_owned(), &self.spec.map, self.spec.makes_pairs());
                let mut mapped = buffer(samples.nrows() * length);
                self.map_call(input.rows(), &mut mapped);
                for (pair, mut out) in input.pairs().iter().zip(result.outer_iter_mut()) {
                    let mapped = &mapped[pair.first * length..][..length];
                    let second = pair.second.map(|_| mapped);
                    let out = out.as_slice_mut().expect("contiguous");
                    transmit(&self.spec, self.constants(), pair, mapped, second, out);
                }
            });
        result
    }

    fn samples_per_call(&self) -> usize {
        if let Some(winograd) = &self.winograd {
            return winograd.samples_per_call(row_period().unwrap_or(1));
        }
        match self.spec.map {
            LayerMap::Conv(conv) => (PATCHES_PER_CALL / conv.output().positions()).max(1),
            LayerMap::Dense(_) | LayerMap::BiRnn(_) => ROWS_PER_CALL,
        }
    }

    /// U of at most as many samples as there are in a call, (samples, positions, channels), each with the same bits wherever it
    /// stands and whatever else is there.
    fn map_call(&self, samples: ArrayView2<'_, f32>, mapped: &mut [f32]) {
        let together = self.samples_per_call();
        if samples.nrows() == together {
            return self.map_alike(samples, mapped);
        }
        let mut rows = Array2::zeros((together, samples.ncols()));
        rows.slice_mut(s![..samples.nrows(), ..]).assign(&samples);
        let mut all = buffer(together * self.spec.map.output().len());
        self.map_alike(rows.view(), &mut all);
        mapped.copy_from_slice(&all[..mapped.len()]);
    }

    /// The same of exactly as many.
    fn map_alike(&self, rows: ArrayView2<'_, f32>, mapped: &mut [f32]) {
        let weight = self.parameters.weight();
        let channels = weight.nrows();
        let LayerMap::Conv(conv) = self.spec.map else {
            return product_row_by_row(rows, weight, &mut matrix_mut(mapped, channels));
        };
        // Every sample begins where BLAS begins anew.
        let period = row_period().unwrap_or(1);
        let alike = if row_period().is_some() { product } else { product_row_by_row };
        if let Some(winograd) = &self.winograd {
            return winograd.map(weight, rows, (alike, period), mapped);
        }
        let positions = conv.output().positions();
        let stride = if rows.nrows() > 1 { positions.next_multiple_of(period) } else { positions };
        let mut patches = buffer(rows.nrows() * stride * conv.fan_in());
        for (row, patches) in rows.outer_iter().zip(patches.chunks_exact_mut(stride * conv.fan_in())) {
            let (patches, rest) = patches.split_at_mut(positions * conv.fan_in());
            conv.patches(row.to_slice().expect("rows are contiguous"), patches);
            rest.fill(0.0);
        }
        let patches = matrix(&patches, conv.fan_in());
        if stride == positions {
            return alike(patches, weight, &mut matrix_mut(mapped, channels));
        }
        let mut apart = buffer(patches.nrows() * channels);
        alike(patches, weight, &mut matrix_mut(&mut apart, channels));
        let samples =
            apart.chunks_exact(stride * channels).zip(mapped.chunks_exact_mut(positions * channels));
        samples.for_each(|(apart, mapped)| mapped.copy_from_slice(&apart[..mapped.len()]));
    }

    /// What the layer passes on for pairs of a batch, in their order: of a convolution, for each with the same bits whichever
    /// others there are, so that those who share a batch come to what one alone does.
    pub fn transform_pairs(&self, input: &PairedRows) -> PairActivations {
        let length = self.spec.map.output().len();
        let mut mapped = buffer(input.rows().nrows() * length);
        match &self.spec.map {
            LayerMap::Dense(_) => {
                self.map_blocks(input.rows(), &mut matrix_mut(&mut mapped, self.spec.map.channels()));
            }
            LayerMap::Conv(_) => {
                let together = self.samples_per_call();
                let calls = input.rows();
                let calls = calls.axis_chunks_iter(Axis(0), together).into_par_iter();
                calls.zip(mapped.par_chunks_mut(together * length)).for_each(|(rows, mapped)| {
                    self.map_call(rows, mapped);
                });
            }
            LayerMap::BiRnn(_) => panic!("a recurrent layer reads sequences"),
        }
        let mut rows = Array2::zeros((input.pairs().len(), self.spec.outputs()));
        let row = |row: usize| &mapped[row * length..][..length];
        rows.outer_iter_mut().into_par_iter().zip(input.pairs()).for_each(|(mut out, pair)| {
            let out = out.as_slice_mut().expect("contiguous");
            transmit(&self.spec, self.constants(), pair, row(pair.first), pair.second.map(row), out);
        });
        PairActivations { rows, positives: input.positives() }
    }

    /// U of dense rows, (rows, channels), block by block.
    fn map_blocks(&self, rows: ArrayView2<'_, f32>, mapped: &mut ArrayViewMut2<'_, f32>) {
        let weight = self.parameters.weight();
        mapped
            .axis_chunks_iter_mut(Axis(1), self.spec.block)
            .into_par_iter()
            .zip(weight.axis_chunks_iter(Axis(0), self.spec.block))
            .for_each(|(mut mapped, weight)| product(rows, weight, &mut mapped));
    }

    fn constants(&self) -> Constants<'_> {
        (self.weight_sums.as_slice().expect("contiguous"), self.bias.as_slice().expect("contiguous"))
    }
}

/// w, and the bias as often as it is added: (channels) each.
pub(crate) type Constants<'a> = (&'a [f32], &'a [f32]);

/// What a layer passes on for one pair; `first`, `second`: U of its rows, (positions, channels).
pub(crate) fn transmit(
    spec: &LayerSpec,
    constants: Constants<'_>,
    pair: &Pair,
    first: &[f32],
    second: Option<&[f32]>,
    out: &mut [f32],
) {
    let activate = |out: &mut [f32]| activations(spec.transmit, pair, first, second, constants, out);
    match spec.pool {
        None => activate(out),
        Some(pool) => {
            let shape = spec.map.output();
            let mut map = buffer(shape.len());
            activate(&mut map);
            pool.apply(shape, &map, out);
        }
    }
}

/// What is passed on at every position, before pooling: (positions, channels).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn activations(
    kind: Transmit,
    pair: &Pair,
    first: &[f32],
    second: Option<&[f32]>,
    constants: Constants<'_>,
    out: &mut [f32],
) {
    let channels = constants.0.len();
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let at = position * channels..(position + 1) * channels;
        let second = second.map(|second| &second[at.clone()]);
        let first = &first[at];
        outputs(pair, first, second, constants, out);
        let mean = match kind {
            Transmit::Triangle => sum(out) / channels as f32,
            Transmit::Relu | Transmit::Standardized => 0.0,
        };
        for value in out.iter_mut() {
            *value = (*value - mean).max(0.0);
        }
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
