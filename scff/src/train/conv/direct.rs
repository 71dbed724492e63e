//! The direct form: samples are lowered to patches tile by tile, so that patches stay in cache: once for U, once more for the
//! weight gradient.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::elementwise::{ChannelSums, Channels, Pairs, add};
use super::numbers::{Numbers, assemble};
use super::parts::{Part, parts};
use crate::blas::product;
use crate::layer::{Conv, Tiles};
use crate::matrix::{matrix, matrix_mut};
use crate::optimizer::Update;
use crate::pair::PairedRows;
use crate::scratch::buffer;
use crate::sum_tree::sum_in_parallel;
use crate::train::block::{Block, Mapped};

/// What is kept from one half of a step to the other, and memory from one step to the next.
#[derive(Default)]
pub(super) struct Direct {
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
    sums: ChannelSums,
}

/// What dL/dU of a batch is made of.
#[derive(Clone, Copy)]
struct Slopes<'a> {
    input: &'a PairedRows,
    /// Of each block.
    pairs: &'a [Pairs<'a>],
    /// 2/C dL/dg of every pair and position.
    coefficients: &'a [f32],
    /// Of each row.
    parts: &'a [Vec<Part>],
}

impl Direct {
    /// U of every row, of each block.
    pub(super) fn mapped<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = Mapped<'a>> {
        let mapped =
            |(block, mapped): (&Block, &'a Vec<f32>)| Mapped { channels: block.channels, numbers: mapped };
        blocks.iter().zip(&self.mapped).map(mapped)
    }

    /// See [`super::ConvLayer::forward`].
    pub(super) fn forward(
        &mut self,
        conv: &Conv,
        blocks: &[Block],
        input: &PairedRows,
        partial: &mut Array2<f32>,
    ) {
        self.map(conv, blocks, input);
        let positions = conv.output().positions();
        let partial: Vec<_> = partial.outer_iter_mut().collect();
        partial.into_par_iter().zip(blocks).zip(&self.mapped).for_each(|((partial, block), mapped)| {
            let partial = partial.into_slice().expect("contiguous");
            let (pairs, width) = (Pairs::new(input, block.constants()), block.channels.len());
            partial.par_chunks_exact_mut(positions).enumerate().for_each(|(pair, partial)| {
                pairs.goodness(pair, (mapped, 0..width), partial);
            });
        });
    }

    /// U of every row.
    fn map(&mut self, conv: &Conv, blocks: &[Block], input: &PairedRows) {
        let (rows, positions) = (input.rows(), conv.output().positions());
        let tiles: Vec<_> = input.groups().iter().flat_map(|group| tiles(conv, group)).collect();
        let mut work: Vec<Vec<&mut [f32]>> = tiles.iter().map(|_| Vec::new()).collect();
        self.mapped.resize_with(blocks.len(), Vec::new);
        for (block, mapped) in blocks.iter().zip(&mut self.mapped) {
            let sample = positions * block.channels.len();
            mapped.resize(rows.nrows() * sample, 0.0);
            let mut rest = mapped.as_mut_slice();
            for (work, tile) in work.iter_mut().zip(&tiles) {
                let (part, others) = rest.split_at_mut(tile.len() * sample);
                work.push(part);
                rest = others;
            }
        }
        work.into_par_iter().zip(tiles).for_each(|(outs, tile)| {
            let patches = conv.patches_of(rows.slice_axis(Axis(0), tile.into()));
            let patches = matrix(&patches, conv.fan_in());
            outs.into_par_iter().zip(blocks).for_each(|(out, block)| {
                let mut out = matrix_mut(out, block.channels.len());
                product(patches, block.parameters.weight.view(), &mut out);
            });
        });
    }

    /// See [`super::ConvLayer::backward`].
    pub(super) fn backward(
        &mut self,
        conv: &Conv,
        blocks: &mut [Block],
        (input, coefficients): (&PairedRows, &[f32]),
        update: &Update,
    ) {
        self.differentiate(conv, blocks, input, coefficients);
        let mut of_blocks: Vec<Vec<&mut Gradient>> = blocks.iter().map(|_| Vec::new()).collect();
        for gradient in self.gradients.iter_mut().map(|group| group.iter_mut()) {
            of_blocks.iter_mut().zip(gradient).for_each(|(of_block, gradient)| of_block.push(gradient));
        }
        blocks.par_iter_mut().zip(of_blocks).for_each(|(block, gradients)| {
            let mut gradients = gradients.into_iter();
            let Gradient { weight, sums, .. } = gradients.next().expect("at least one group");
            let others: Vec<&Gradient> = gradients.map(|gradient| &*gradient).collect();
            for other in &others {
                sums.add(&other.sums);
            }
            let fan_in = conv.fan_in();
            let rows = weight.par_chunks_exact_mut(fan_in).enumerate().map(|(channel, row)| {
                for other in &others {
                    add(row, &other.weight[channel * fan_in..][..fan_in]);
                }
                &*row
            });
            block.update(update, rows, &sums.bias, &sums.weight_sums);
        });
    }

    /// Fills in the gradients of the groups.
    fn differentiate(&mut self, conv: &Conv, blocks: &[Block], input: &PairedRows, coefficients: &[f32]) {
        let tiles = Tiles::new(conv, input.rows().nrows());
        let groups: Vec<_> = tiles.groups().collect();
        if self.gradients.len() != groups.len() {
            let empty = || blocks.iter().map(|_| Gradient::default()).collect();
            self.gradients = groups.iter().map(|_| empty()).collect();
        }
        let parts = parts(input);
        let pairs = pairs(input, blocks);
        let Self { mapped, gradients } = self;
        gradients.par_iter_mut().zip(groups).for_each(|(gradients, tiles)| {
            let slopes = Slopes { input, pairs: &pairs, coefficients, parts: &parts };
            of_tiles((conv, blocks, mapped), slopes, tiles.into_iter(), gradients);
        });
    }

    /// See [`super::ConvLayer::gradients`].
    pub(super) fn gradients(
        &self,
        conv: &Conv,
        blocks: &[Block],
        (input, coefficients): (&PairedRows, &[f32]),
        nodes: &[Range<usize>],
    ) -> Array2<f32> {
        let (groups, parts) = (input.groups(), parts(input));
        let pairs = pairs(input, blocks);
        let slopes = Slopes { input, pairs: &pairs, coefficients, parts: &parts };
        let first = nodes.first().map_or(0, |node| node.start);
        let channels: usize = blocks.iter().map(|block| block.channels.len()).sum();
        let of_part = |part: usize| {
            let mut gradients: Vec<_> = blocks.iter().map(|_| Gradient::default()).collect();
            let tiles = tiles(conv, &groups[part - first]);
            of_tiles((conv, blocks, &self.mapped), slopes, tiles, &mut gradients);
            let mut numbers =
                Numbers { weight: buffer(channels * conv.fan_in()), sums: ChannelSums::default() };
            let mut rest = &mut numbers.weight[..];
            for Gradient { weight, sums, .. } in gradients {
                rest.split_off_mut(..weight.len()).expect("room for all channels").copy_from_slice(&weight);
                numbers.sums.bias.extend(sums.bias);
                numbers.sums.weight_sums.extend(sums.weight_sums);
            }
            numbers
        };
        let of_nodes = nodes.iter().map(|node| sum_in_parallel(node.clone(), &of_part, &Numbers::add));
        assemble(nodes.len(), &[(0..channels, of_nodes.collect())])
    }
}

/// The pairs of a batch in each block.
fn pairs<'a>(input: &'a PairedRows, blocks: &[Block]) -> Vec<Pairs<'a>> {
    blocks.iter().map(|block| Pairs::new(input, block.constants())).collect()
}

/// Rows of a group that are lowered and multiplied together.
fn tiles(conv: &Conv, group: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let first = group.start;
    Tiles::new(conv, group.len()).tiles().map(move |tile| first + tile.start..first + tile.end)
}

/// Fills in the gradients of some tiles, one after the other, of each block.
fn of_tiles(
    (conv, blocks, mapped): (&Conv, &[Block], &[Vec<f32>]),
    slopes: Slopes<'_>,
    tiles: impl Iterator<Item = Range<usize>>,
    gradients: &mut [Gradient],
) {
    for (index, tile) in tiles.enumerate() {
        let patches = conv.patches_of(slopes.input.rows().slice_axis(Axis(0), tile.clone().into()));
        let patches = matrix(&patches, conv.fan_in());
        let of_blocks = gradients.par_iter_mut().zip(blocks).zip(slopes.pairs).zip(mapped);
        of_blocks.for_each(|(((gradient, block), pairs), mapped)| {
            if index == 0 {
                gradient.clear(block);
            }
            gradient.of_mapped(pairs, slopes, mapped, tile.clone());
            gradient.of_weight(patches, index == 0);
        });
    }
}

impl Block {
    /// What z is besides U.
    pub(super) fn constants(&self) -> Channels<'_> {
        let standard = "parameters are contiguous";
        Channels {
            bias: self.parameters.bias.as_slice().expect(standard),
            weight_sums: self.weight_sums.as_slice().expect(standard),
        }
    }
}

impl Gradient {
    fn clear(&mut self, block: &Block) {
        self.weight.resize(block.parameters.weight.len(), 0.0);
        self.sums = ChannelSums::zeros(block.channels.len());
    }

    /// dL/dU of the rows of a tile.
    fn of_mapped(
        &mut self,
        pairs: &Pairs<'_>,
        Slopes { parts, coefficients, .. }: Slopes<'_>,
        mapped: &[f32],
        tile: Range<usize>,
    ) {
        let sample = mapped.len() / parts.len();
        self.mapped.resize(tile.len() * sample, 0.0);
        for (row, out) in tile.zip(self.mapped.chunks_exact_mut(sample)) {
            pairs.slopes_of_row(coefficients, (mapped, row), &parts[row], out, &mut self.sums);
        }
    }

    /// Adds the tile's weight gradient, or begins anew.
    fn of_weight(&mut self, patches: ArrayView2<'_, f32>, anew: bool) {
        let mapped = matrix(&self.mapped, self.mapped.len() / patches.nrows());
        let mut weight = matrix_mut(&mut self.weight, patches.ncols());
        general_mat_mul(1.0, &mapped.t(), &patches, if anew { 0.0 } else { 1.0 }, &mut weight);
    }
}
