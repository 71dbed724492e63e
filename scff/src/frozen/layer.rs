//! A frozen layer, and how dense ones and convolutions transform rows.

use std::sync::Arc;

use multiversion::multiversion;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::winograd::WinogradMap;
use crate::blas::{product, product_row_by_row, row_period};
use crate::layer::{
    Algorithm, BIAS_HH, BIAS_IH, Conv, LayerMap, LayerSpec, ShapeError, Tensors, Tiles, Transmit,
};
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
        let together = self.samples_per_call();
        result
            .axis_chunks_iter_mut(Axis(0), together)
            .into_par_iter()
            .zip(samples.axis_chunks_iter(Axis(0), together))
            .for_each(|(mut result, samples)| {
                let mut rows = Array2::zeros((together, samples.ncols()));
                rows.slice_mut(s![..samples.nrows(), ..]).assign(&samples);
                let input = PairedRows::alone(rows, &self.spec.map, self.spec.makes_pairs());
                let (mapped, stride) = self.map_alike(input.rows());
                for (pair, mut out) in input.pairs().iter().zip(result.outer_iter_mut()) {
                    let mapped = &mapped[pair.first * stride..][..self.spec.map.output().len()];
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

    /// U of some samples, each with the same bits wherever it stands; and how many numbers lie from one sample's to the
    /// next's.
    fn map_alike(&self, rows: ArrayView2<'_, f32>) -> (Vec<f32>, usize) {
        let weight = self.parameters.weight();
        let channels = weight.nrows();
        let LayerMap::Conv(conv) = self.spec.map else {
            let mut mapped = vec![0.0; rows.nrows() * channels];
            product_row_by_row(rows, weight, &mut matrix_mut(&mut mapped, channels));
            return (mapped, channels);
        };
        // Every sample begins where BLAS begins anew.
        let period = row_period().unwrap_or(1);
        let alike = if row_period().is_some() { product } else { product_row_by_row };
        if let Some(winograd) = &self.winograd {
            let mut mapped = vec![0.0; rows.nrows() * conv.output().len()];
            winograd.map(weight, rows, (alike, period), &mut mapped);
            return (mapped, conv.output().len());
        }
        let stride = conv.output().positions().next_multiple_of(period);
        let mut patches = vec![0.0; rows.nrows() * stride * conv.fan_in()];
        for (row, patches) in rows.outer_iter().zip(patches.chunks_exact_mut(stride * conv.fan_in())) {
            let patches = &mut patches[..conv.output().positions() * conv.fan_in()];
            conv.patches(row.to_slice().expect("rows are contiguous"), patches);
        }
        let mut mapped = vec![0.0; rows.nrows() * stride * channels];
        let patches = matrix(&patches, conv.fan_in());
        alike(patches, weight, &mut matrix_mut(&mut mapped, channels));
        (mapped, stride * channels)
    }

    /// What the layer passes on for the pairs of a batch.
    pub fn transform_pairs(&self, input: &PairedRows) -> PairActivations {
        let mut mapped = buffer(input.rows().nrows() * self.spec.map.output().len());
        match &self.spec.map {
            LayerMap::Dense(_) => {
                self.map_blocks(input.rows(), &mut matrix_mut(&mut mapped, self.spec.map.channels()));
            }
            LayerMap::Conv(conv) => match &self.winograd {
                Some(winograd) => {
                    winograd.map_batch(self.parameters.weight(), input.rows(), product, &mut mapped);
                }
                None => self.map_tiles(conv, input.rows(), &mut mapped),
            },
            LayerMap::BiRnn(_) => panic!("a recurrent layer reads sequences"),
        }
        let mut rows = Array2::zeros((input.pairs().len(), self.spec.outputs()));
        let row = |row: usize| &mapped[row * self.spec.map.output().len()..][..self.spec.map.output().len()];
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

    /// U of convolved rows, (rows, positions, channels), tile by tile.
    fn map_tiles(&self, conv: &Conv, rows: ArrayView2<'_, f32>, mapped: &mut [f32]) {
        let sample = conv.output().len();
        let tiles = Tiles::new(conv, rows.nrows());
        let mut work = Vec::new();
        let mut rest = mapped;
        for tile in tiles.tiles() {
            let (part, others) = rest.split_at_mut(tile.len() * sample);
            work.push((part, tile));
            rest = others;
        }
        work.into_par_iter().for_each(|(out, tile)| {
            let patches = conv.patches_of(rows.slice_axis(Axis(0), tile.into()));
            let patches = matrix(&patches, conv.fan_in());
            product(patches, self.parameters.weight(), &mut matrix_mut(out, conv.channels));
        });
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
