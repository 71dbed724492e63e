//! Training convolutions.
//!
//! Samples are lowered to patches tile by tile, so that patches stay in cache: once for U, once more for the weight
//! gradient. relu(z) is not kept between the two halves of a step but computed again from U: it is one multiplication and
//! two additions, far less than writing and reading it.

use std::ops::Range;

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::slice::ParallelSliceMut;

use super::block::Block;
use crate::blas::product;
use crate::layer::{ChannelRange, Conv, LayerState, Tiles};
use crate::matrix::{matrix, matrix_mut};
use crate::optimizer::Update;
use crate::pair::{Pair, PairedRows};
use crate::scratch::buffer;

/// The channel blocks of a convolution.
pub(super) struct ConvLayer {
    conv: Conv,
    blocks: Vec<Block>,
    /// U of every row, of each block: (rows, positions, channels of the block).
    mapped: Vec<Vec<f32>>,
    /// Of each group and block.
    gradients: Vec<Vec<Gradient>>,
}

/// One group's part of a block's gradient.
#[derive(Default)]
struct Gradient {
    /// dL/dU of the tile at hand: (rows, positions, channels).
    mapped: Vec<f32>,
    /// dL/dW without the part that w brings: (channels, fan-in).
    weight: Vec<f32>,
    /// dL/db.
    bias: Vec<f32>,
    /// dL/dw.
    weight_sums: Vec<f32>,
}

/// A pair that a row is part of.
#[derive(Clone, Copy)]
struct Part {
    /// Which pair.
    pair: usize,
    /// The row of the other half.
    other: Option<usize>,
    /// How many of the halves the row is.
    halves: f32,
    /// Whether the row is the first half: each pair has one row that adds up its part of the bias gradient.
    first: bool,
}

impl ConvLayer {
    pub(super) fn new(conv: Conv, blocks: &[ChannelRange], state: &LayerState) -> Self {
        let blocks: Vec<Block> = blocks.iter().map(|&channels| Block::new(channels, state)).collect();
        Self { conv, mapped: blocks.iter().map(|_| Vec::new()).collect(), blocks, gradients: Vec::new() }
    }

    /// Its blocks, in order.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.blocks.iter()
    }

    /// The blocks, and U of every row after [`Self::forward`]: (rows, positions, channels of the block).
    pub(super) fn mapped(&self) -> impl Iterator<Item = (&Block, &[f32])> {
        self.blocks.iter().zip(self.mapped.iter().map(Vec::as_slice))
    }

    /// Writes the partial goodness of every pair that is wanted: (blocks, pairs * positions).
    pub(super) fn forward(
        &mut self,
        input: &PairedRows,
        wanted: impl Fn(usize) -> bool + Sync,
        partial: &mut Array2<f32>,
    ) {
        let mut needed = vec![false; input.rows().nrows()];
        for (_, pair) in input.pairs().iter().enumerate().filter(|(pair, _)| wanted(*pair)) {
            needed[pair.first] = true;
            pair.second.inspect(|&second| needed[second] = true);
        }
        self.map(input.rows(), &needed);
        let positions = self.conv.output().positions();
        let pairs = input.pairs();
        let partial: Vec<_> = partial.outer_iter_mut().collect();
        partial.into_par_iter().zip(&self.blocks).zip(&self.mapped).for_each(|((partial, block), mapped)| {
            let partial = partial.into_slice().expect("contiguous");
            let pairs = partial.par_chunks_exact_mut(positions).zip(pairs).enumerate();
            pairs.filter(|(pair, _)| wanted(*pair)).for_each(|(_, (partial, pair))| {
                let mut shift = buffer(block.channels.len());
                block.shift(pair, input.bias_factor(), &mut shift);
                let row = |row: usize| &mapped[row * positions * block.channels.len()..];
                goodness_of_pair(pair.scale, &shift, row(pair.first), pair.second.map(row), partial);
            });
        });
    }

    /// U of every row that is needed, and of others of the same tiles.
    fn map(&mut self, rows: ArrayView2<'_, f32>, needed: &[bool]) {
        let positions = self.conv.output().positions();
        let tiles = Tiles::new(&self.conv, rows.nrows());
        let mut work: Vec<Vec<&mut [f32]>> = tiles.tiles().map(|_| Vec::new()).collect();
        for (block, mapped) in self.blocks.iter().zip(&mut self.mapped) {
            let sample = positions * block.channels.len();
            mapped.resize(rows.nrows() * sample, 0.0);
            let mut rest = mapped.as_mut_slice();
            for (work, tile) in work.iter_mut().zip(tiles.tiles()) {
                let (part, others) = rest.split_at_mut(tile.len() * sample);
                work.push(part);
                rest = others;
            }
        }
        let tiles: Vec<_> = tiles.tiles().collect();
        let work = work.into_par_iter().zip(tiles);
        work.filter(|(_, tile)| needed[tile.clone()].contains(&true)).for_each(|(outs, tile)| {
            let patches = self.conv.patches_of(rows.slice_axis(Axis(0), tile.into()));
            let patches = matrix(&patches, self.conv.fan_in());
            outs.into_par_iter().zip(&self.blocks).for_each(|(out, block)| {
                let mut out = matrix_mut(out, block.channels.len());
                product(patches, block.parameters.weight.view(), &mut out);
            });
        });
    }

    /// Gradients of the rows that are owned, and the update; `coefficients`: 2/C dL/dg of every pair and position.
    pub(super) fn backward(&mut self, input: &PairedRows, coefficients: &[f32], update: &Update) {
        self.differentiate(input, coefficients, &(0..input.rows().nrows()));
        let Self { blocks, gradients, .. } = self;
        let mut of_blocks: Vec<Vec<&mut Gradient>> = blocks.iter().map(|_| Vec::new()).collect();
        for gradient in gradients.iter_mut().map(|group| group.iter_mut()) {
            of_blocks.iter_mut().zip(gradient).for_each(|(of_block, gradient)| of_block.push(gradient));
        }
        blocks.par_iter_mut().zip(of_blocks).for_each(|(block, gradients)| {
            let mut gradients = gradients.into_iter();
            let first = gradients.next().expect("at least one group");
            let others: Vec<&Gradient> = gradients.map(|gradient| &*gradient).collect();
            for other in &others {
                add(&mut first.bias, &other.bias);
                add(&mut first.weight_sums, &other.weight_sums);
            }
            let Gradient { weight, bias, weight_sums, .. } = first;
            let others: Vec<&[f32]> = others.iter().map(|other| other.weight.as_slice()).collect();
            block.update(update, (weight, &others), bias, weight_sums);
        });
    }

    /// The gradients of the groups of rows within `own`, each: (groups, numbers), for each block of weights, biases and w.
    pub(super) fn gradients(
        &mut self,
        input: &PairedRows,
        coefficients: &[f32],
        own: &Range<usize>,
    ) -> Array2<f32> {
        self.differentiate(input, coefficients, own);
        let numbers =
            self.blocks.iter().map(|block| block.parameters.weight.len() + 2 * block.channels.len());
        let mut all = Array2::zeros((self.gradients.len(), numbers.sum()));
        all.outer_iter_mut().into_par_iter().zip(&self.gradients).for_each(|(mut all, gradients)| {
            let mut rest = all.as_slice_mut().expect("a fresh array is contiguous");
            for Gradient { weight, bias, weight_sums, .. } in gradients {
                for part in [weight, bias, weight_sums] {
                    let (own, others) = rest.split_at_mut(part.len());
                    own.copy_from_slice(part);
                    rest = others;
                }
            }
        });
        all
    }

    /// Updates the parameters with a gradient: numbers as in [`Self::gradients`].
    pub(super) fn update(&mut self, mut gradient: Vec<f32>, update: &Update) {
        let mut rest = gradient.as_mut_slice();
        for block in &mut self.blocks {
            let channels = block.channels.len();
            let (weight, others) = rest.split_at_mut(block.parameters.weight.len());
            let (bias, others) = others.split_at_mut(channels);
            let (weight_sums, others) = others.split_at_mut(channels);
            block.update(update, (weight, &[]), bias, weight_sums);
            rest = others;
        }
    }

    /// Fills in the gradients of the groups of rows within `own`.
    fn differentiate(&mut self, input: &PairedRows, coefficients: &[f32], own: &Range<usize>) {
        let tiles = Tiles::new(&self.conv, input.rows().nrows());
        let within = |tiles: &Vec<Range<usize>>| tiles.first().is_some_and(|tile| own.contains(&tile.start));
        let groups: Vec<_> = tiles.groups().filter(within).collect();
        if self.gradients.len() != groups.len() {
            let empty = || self.blocks.iter().map(|_| Gradient::default()).collect();
            self.gradients = groups.iter().map(|_| empty()).collect();
        }
        let parts = parts(input);
        let Self { conv, blocks, mapped, gradients } = self;
        gradients.par_iter_mut().zip(groups).for_each(|(gradients, tiles)| {
            for (index, tile) in tiles.into_iter().enumerate() {
                let patches = conv.patches_of(input.rows().slice_axis(Axis(0), tile.clone().into()));
                let patches = matrix(&patches, conv.fan_in());
                gradients.par_iter_mut().zip(&*blocks).zip(&*mapped).for_each(
                    |((gradient, block), mapped)| {
                        if index == 0 {
                            gradient.clear(block);
                        }
                        gradient.of_mapped(
                            block,
                            input,
                            mapped,
                            &parts[tile.clone()],
                            tile.start,
                            coefficients,
                        );
                        gradient.of_weight(patches, index == 0);
                    },
                );
            }
        });
    }
}

/// The pairs that each row is part of.
fn parts(input: &PairedRows) -> Vec<Vec<Part>> {
    let mut parts: Vec<Vec<Part>> = vec![Vec::new(); input.rows().nrows()];
    for (index, pair) in input.pairs().iter().enumerate() {
        let Pair { first, second, .. } = *pair;
        let part = |other, halves, first| Part { pair: index, other, halves, first };
        match second {
            Some(second) if second != first => {
                parts[first].push(part(Some(second), 1.0, true));
                parts[second].push(part(Some(first), 1.0, false));
            }
            Some(_) => parts[first].push(part(second, 2.0, true)),
            None => parts[first].push(part(None, 1.0, true)),
        }
    }
    parts
}

impl Block {
    /// What z of a pair is besides its U: bias factor * b - offset * w.
    fn shift(&self, pair: &Pair, bias_factor: f32, shift: &mut [f32]) {
        for ((shift, bias), sum) in shift.iter_mut().zip(&self.parameters.bias).zip(&self.weight_sums) {
            *shift = bias_factor * bias - pair.offset * sum;
        }
    }

    /// Updates the parameters with gradients of the weights, added up in order, of the biases, and of w.
    fn update(
        &mut self,
        update: &Update,
        (weight, others): (&mut [f32], &[&[f32]]),
        bias: &[f32],
        weight_sums: &[f32],
    ) {
        let fan_in = self.parameters.weight.ncols();
        let standard = "parameters are contiguous";
        self.parameters
            .weight
            .as_slice_mut()
            .expect(standard)
            .par_chunks_exact_mut(fan_in)
            .zip(self.first_moments.weight.as_slice_mut().expect(standard).par_chunks_exact_mut(fan_in))
            .zip(self.second_moments.weight.as_slice_mut().expect(standard).par_chunks_exact_mut(fan_in))
            .zip(self.weight_sums.as_slice_mut().expect(standard))
            .zip(weight.par_chunks_exact_mut(fan_in))
            .zip(weight_sums)
            .enumerate()
            .with_min_len(16)
            .for_each(|(channel, (((((values, first), second), sum), gradient), &shift))| {
                for other in others {
                    add(gradient, &other[channel * fan_in..][..fan_in]);
                }
                // dL/dw reaches every weight of its channel alike (the rank-one term).
                *sum = update.apply(values, first, second, gradient, shift);
            });
        self.update_bias(update, bias);
    }
}

impl Gradient {
    fn clear(&mut self, block: &Block) {
        let channels = block.channels.len();
        self.weight.resize(block.parameters.weight.len(), 0.0);
        for sums in [&mut self.bias, &mut self.weight_sums] {
            sums.clear();
            sums.resize(channels, 0.0);
        }
    }

    /// dL/dU of the rows of a tile that begins at row `start`; `mapped`: U of all rows.
    fn of_mapped(
        &mut self,
        block: &Block,
        input: &PairedRows,
        mapped: &[f32],
        parts: &[Vec<Part>],
        start: usize,
        coefficients: &[f32],
    ) {
        let channels = block.channels.len();
        let sample = coefficients.len() / input.pairs().len() * channels;
        let mut shift = buffer(channels);
        self.mapped.resize(parts.len() * sample, 0.0);
        for (row, (parts, out)) in parts.iter().zip(self.mapped.chunks_exact_mut(sample)).enumerate() {
            out.fill(0.0);
            for part in parts {
                let pair = &input.pairs()[part.pair];
                block.shift(pair, input.bias_factor(), &mut shift);
                let mapped = |row: usize| &mapped[row * sample..][..sample];
                let positions = sample / channels;
                let term = PairTerm {
                    scale: pair.scale,
                    shift: &shift,
                    own: mapped(start + row),
                    other: part.other.map(mapped),
                    coefficients: &coefficients[part.pair * positions..][..positions],
                    reach: part.halves * pair.scale,
                };
                if part.first {
                    let factors = [input.bias_factor(), -pair.offset];
                    add_term_and_sums(&term, out, factors, &mut self.bias, &mut self.weight_sums);
                } else {
                    add_term(&term, out);
                }
            }
        }
    }

    /// Adds the tile's weight gradient, or begins anew.
    fn of_weight(&mut self, patches: ArrayView2<'_, f32>, anew: bool) {
        let mapped = matrix(&self.mapped, self.mapped.len() / patches.nrows());
        let mut weight = matrix_mut(&mut self.weight, patches.ncols());
        general_mat_mul(1.0, &mapped.t(), &patches, if anew { 0.0 } else { 1.0 }, &mut weight);
    }
}

/// A pair's part of dL/dU of one of its rows.
struct PairTerm<'a> {
    scale: f32,
    shift: &'a [f32],
    /// U of the row, (positions, channels).
    own: &'a [f32],
    /// U of the pair's other row.
    other: Option<&'a [f32]>,
    /// 2/C dL/dg, (positions).
    coefficients: &'a [f32],
    /// How z depends on the row's U.
    reach: f32,
}

/// Writes the sums over channels of relu(z)^2 of one pair, (positions).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn goodness_of_pair(scale: f32, shift: &[f32], first: &[f32], second: Option<&[f32]>, out: &mut [f32]) {
    let channels = shift.len();
    let first = first.chunks_exact(channels);
    match second {
        Some(second) => {
            for ((out, u), v) in out.iter_mut().zip(first).zip(second.chunks_exact(channels)) {
                *out = squares(shift, u, v, |u, v| scale * (u + v));
            }
        }
        None => {
            for (out, u) in out.iter_mut().zip(first) {
                *out = squares(shift, u, u, |u, _| scale * u);
            }
        }
    }
}

/// The sum of relu(scaled(u, v) + shift)^2.
#[inline(always)]
fn squares(shift: &[f32], u: &[f32], v: &[f32], scaled: impl Fn(f32, f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let add = |sum: &mut f32, shift: f32, u: f32, v: f32| {
        let h = (scaled(u, v) + shift).max(0.0);
        *sum += h * h;
    };
    let (shift, shift_rest) = shift.as_chunks::<LANES>();
    let (u, u_rest) = u.as_chunks::<LANES>();
    let (v, v_rest) = v.as_chunks::<LANES>();
    for ((shift, u), v) in shift.iter().zip(u).zip(v) {
        for lane in 0..LANES {
            add(&mut sums[lane], shift[lane], u[lane], v[lane]);
        }
    }
    for (((sum, &shift), &u), &v) in sums.iter_mut().zip(shift_rest).zip(u_rest).zip(v_rest) {
        add(sum, shift, u, v);
    }
    sums.iter().sum()
}

/// out += coefficient * reach * relu(z)
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_term(term: &PairTerm<'_>, out: &mut [f32]) {
    let channels = term.shift.len();
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let reach = term.coefficients[position] * term.reach;
        let u = &term.own[position * channels..][..channels];
        match term.other {
            Some(other) => {
                let v = &other[position * channels..][..channels];
                for (((out, u), v), shift) in out.iter_mut().zip(u).zip(v).zip(term.shift) {
                    *out += reach * (term.scale * (u + v) + shift).max(0.0);
                }
            }
            None => {
                for ((out, u), shift) in out.iter_mut().zip(u).zip(term.shift) {
                    *out += reach * (term.scale * u + shift).max(0.0);
                }
            }
        }
    }
}

/// The same, and bias += factors[0] * coefficient * relu(z), sums += factors[1] * coefficient * relu(z).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_term_and_sums(
    term: &PairTerm<'_>,
    out: &mut [f32],
    factors: [f32; 2],
    bias: &mut [f32],
    sums: &mut [f32],
) {
    let channels = term.shift.len();
    let (bias, sums) = (&mut bias[..channels], &mut sums[..channels]);
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let coefficient = term.coefficients[position];
        let reach = coefficient * term.reach;
        let factors = factors.map(|factor| factor * coefficient);
        let u = &term.own[position * channels..][..channels];
        match term.other {
            Some(other) => {
                let v = &other[position * channels..][..channels];
                for channel in 0..channels {
                    let h = (term.scale * (u[channel] + v[channel]) + term.shift[channel]).max(0.0);
                    out[channel] += reach * h;
                    bias[channel] += factors[0] * h;
                    sums[channel] += factors[1] * h;
                }
            }
            None => {
                for channel in 0..channels {
                    let h = (term.scale * u[channel] + term.shift[channel]).max(0.0);
                    out[channel] += reach * h;
                    bias[channel] += factors[0] * h;
                    sums[channel] += factors[1] * h;
                }
            }
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
