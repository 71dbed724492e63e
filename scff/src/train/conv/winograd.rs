//! Winograd's form ([`crate::winograd`]): the batch is transformed once and kept for the gradient; everything else is made
//! and used up for one set of channels after the other, so that it stays in cache.
//!
//! Forward: kernels, products, U, goodness. Backward: dL/dU, its transform, products, and with the gradient of each channel
//! its update. A set is of as many neighbouring blocks as one product can have with the same bits for each
//! ([`merge`]): large products are faster, and who shares a layer wants small blocks.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::elementwise::{ChannelSums, Channels, Pairs};
use super::numbers::{Numbers, assemble};
use super::parts::{Part, parts};
use crate::batch::{Epoch, Step};
use crate::blas::product;
use crate::layer::{ChannelRange, Conv};
use crate::optimizer::Update;
use crate::pair::PairedRows;
use crate::scratch::{Buffer, buffer};
use crate::seed::{NO_LAYER, Purpose, Seed, symmetric};
use crate::sum_tree::sum;
use crate::train::block::{Block, Mapped};
use crate::winograd::{CHANNELS, Chunks, Spectra, Tiling, evenly, kernel_gradient, kernels};

/// Samples whose dL/dU is computed one after the other; what they add to the gradients of b and w is one addend.
const STRETCH: usize = 4;

/// What is kept from one half of a step to the other.
pub(super) struct Winograd {
    tiling: Tiling,
    /// Of every tile of every row: (rows * tiles, frequencies, input channels); until the gradient is there.
    inputs: Option<Spectra>,
    sets: Vec<Set>,
    /// The rows that are multiplied together, for which the blocks were made sets.
    chunks: Vec<Range<usize>>,
}

/// Neighbouring blocks that are multiplied together.
struct Set {
    blocks: Range<usize>,
    channels: ChannelRange,
    /// U of every row: (rows, positions, channels).
    mapped: Buffer,
}

impl Winograd {
    pub(super) fn new(conv: &Conv) -> Self {
        Self { tiling: Tiling::new(conv), inputs: None, sets: Vec::new(), chunks: Vec::new() }
    }

    /// U of every row.
    pub(super) fn mapped(&self) -> impl Iterator<Item = Mapped<'_>> {
        self.sets.iter().map(|set| Mapped { channels: set.channels, numbers: &set.mapped })
    }

    /// See [`super::ConvLayer::forward`].
    pub(super) fn forward(
        &mut self,
        conv: &Conv,
        blocks: &[Block],
        (input, transformed): (&PairedRows, Spectra),
        partial: &mut Array2<f32>,
    ) {
        let chunks: Vec<_> = input.groups().iter().flat_map(|group| chunks(&self.tiling, group)).collect();
        if self.chunks != chunks {
            self.sets = sets(conv, blocks, &heights(&self.tiling, &chunks));
            self.chunks = chunks;
        }
        let positions = conv.output().positions();
        let Self { tiling, inputs, sets, chunks } = self;
        let inputs = inputs.insert(transformed);
        let mut partials = partial.outer_iter_mut();
        let partials: Vec<Vec<_>> =
            sets.iter().map(|set| partials.by_ref().take(set.blocks.len()).collect()).collect();
        sets.par_iter_mut().zip(partials).for_each(|(set, partials)| {
            let blocks = &blocks[set.blocks.clone()];
            set.map((tiling, chunks), inputs, blocks, positions);
            let pairs = Pairs::new(input, Constants::of(blocks).channels());
            for (block, partial) in blocks.iter().zip(partials) {
                let partial = partial.into_slice().expect("contiguous");
                let within = block.channels.within(set.channels);
                partial.par_chunks_exact_mut(positions).enumerate().for_each(|(pair, partial)| {
                    pairs.goodness(pair, (&set.mapped, within.clone()), partial);
                });
            }
        });
    }

    /// See [`super::ConvLayer::backward`].
    pub(super) fn backward(
        &mut self,
        blocks: &mut [Block],
        (input, coefficients): (&PairedRows, &[f32]),
        update: &Update,
    ) {
        let parts = parts(input);
        let Self { tiling, inputs, sets, chunks } = self;
        let inputs = inputs.take().expect("forward comes first");
        let mut rest = blocks;
        let of_sets: Vec<&mut [Block]> =
            sets.iter().map(|set| rest.split_off_mut(..set.blocks.len()).expect("so many blocks")).collect();
        sets.par_iter().zip(of_sets).for_each(|(set, blocks)| {
            let pairs = Pairs::new(input, Constants::of(blocks).channels());
            let (gradient, sums) =
                set.differentiate((tiling, chunks), &inputs, (&pairs, coefficients), &parts);
            for block in blocks {
                let Range { start, end } = block.channels.within(set.channels);
                let fan_in = block.parameters.weight.ncols();
                let items = &gradient.items()[start * gradient.stride()..end * gradient.stride()];
                let rows = items.par_chunks_exact(gradient.stride()).map(|products| {
                    let mut row = buffer(fan_in);
                    kernel_gradient(products, &mut row);
                    row
                });
                block.update(update, rows, &sums.bias[start..end], &sums.weight_sums[start..end]);
            }
        });
    }

    /// See [`super::ConvLayer::gradients`]. Parts are taken one after the other, so that what lies between products and maps
    /// stays in cache.
    pub(super) fn gradients(
        &mut self,
        blocks: &[Block],
        (input, coefficients): (&PairedRows, &[f32]),
        nodes: &[Range<usize>],
    ) -> Array2<f32> {
        let (groups, parts) = (input.groups(), parts(input));
        let Self { tiling, inputs, sets, .. } = self;
        let inputs = inputs.take().expect("forward comes first");
        let first = (nodes.first().map_or(0, |node| node.start), blocks[0].channels.start);
        let of_set = |set: &Set| {
            let blocks = &blocks[set.blocks.clone()];
            let fan_in = blocks[0].parameters.weight.ncols();
            let pairs = Pairs::new(input, Constants::of(blocks).channels());
            let of_part = |part: usize| {
                let chunks: Vec<_> = chunks(tiling, &groups[part - first.0]).collect();
                let (gradient, sums) =
                    set.differentiate((tiling, &chunks), &inputs, (&pairs, coefficients), &parts);
                let mut weight = buffer(set.channels.len() * fan_in);
                let rows = weight.par_chunks_exact_mut(fan_in);
                rows.zip(gradient.items().par_chunks_exact(gradient.stride()))
                    .with_min_len(8)
                    .for_each(|(row, products)| kernel_gradient(products, row));
                Numbers { weight, sums }
            };
            let of_nodes = nodes.iter().map(|node| sum(node.clone(), &of_part, &Numbers::add));
            (set.channels.start - first.1..set.channels.end - first.1, of_nodes.collect())
        };
        assemble(nodes.len(), &sets.par_iter().map(of_set).collect::<Vec<_>>())
    }
}

/// What the tiles of every row read, transformed: all that products need of a batch.
pub(super) fn transformed(conv: &Conv, rows: ArrayView2<'_, f32>) -> Spectra {
    let tiling = Tiling::new(conv);
    tiling.inputs(rows, conv.input.channels, tiling.count())
}

/// Rows of a group that are multiplied together.
fn chunks(tiling: &Tiling, group: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let first = group.start;
    Chunks::new(tiling, group.len()).iter().map(move |chunk| first + chunk.start..first + chunk.end)
}

/// The numbers of tiles that there are in a chunk.
fn heights(tiling: &Tiling, chunks: &[Range<usize>]) -> Vec<usize> {
    let mut heights: Vec<usize> = chunks.iter().map(|rows| rows.len() * tiling.count()).collect();
    heights.sort_unstable();
    heights.dedup();
    heights
}

impl Set {
    /// U of every row.
    fn map(
        &mut self,
        (tiling, chunks): (&Tiling, &[Range<usize>]),
        inputs: &Spectra,
        blocks: &[Block],
        positions: usize,
    ) {
        let weights = blocks.iter().flat_map(|block| block.parameters.weight.outer_iter());
        let weights = weights.map(|row| row.to_slice().expect("weights are contiguous"));
        let kernels = kernels(weights, inputs.channels());
        let width = self.channels.len();
        let sample = positions * width;
        let samples = inputs.count() / tiling.count();
        if self.mapped.len() != samples * sample {
            self.mapped = buffer(samples * sample);
        }
        for chunk in chunks {
            let tiles = chunk.start * tiling.count()..chunk.end * tiling.count();
            let mut products = Spectra::new(tiles.len(), width);
            products.compute(|frequency, out| {
                let inputs = inputs.frequency(frequency);
                product(inputs.slice(s![tiles.clone(), ..]), kernels.frequency(frequency), out);
            });
            let mapped = &mut self.mapped[chunk.start * sample..chunk.end * sample];
            tiling.outputs((&products, tiling.count()), mapped.par_chunks_exact_mut(sample), (0, width));
        }
    }

    /// Of each channel the products that its weights' gradient is the transform of, (channels, frequencies, input channels),
    /// and the gradients of b and w, of the rows of some chunks.
    fn differentiate(
        &self,
        (tiling, chunks): (&Tiling, &[Range<usize>]),
        inputs: &Spectra,
        (pairs, coefficients): (&Pairs<'_>, &[f32]),
        parts: &[Vec<Part>],
    ) -> (Spectra, ChannelSums) {
        let width = self.channels.len();
        let mut gradient = Spectra::new(width, inputs.channels());
        let mut sums = ChannelSums::zeros(width);
        for (index, chunk) in chunks.iter().enumerate() {
            let tiles = chunk.start * tiling.count()..chunk.end * tiling.count();
            let mut transformed = Spectra::new(tiles.len(), width);
            let stride = transformed.stride();
            let sample = tiling.count() * stride;
            let stretches = transformed.items_mut().par_chunks_mut(STRETCH * sample).enumerate();
            let addends: Vec<ChannelSums> = stretches
                .map(|(stretch, out)| {
                    let mut sums = ChannelSums::zeros(width);
                    let mut map = buffer(self.mapped.len() / parts.len());
                    let first = chunk.start + stretch * STRETCH;
                    for (row, out) in (first..).zip(out.chunks_exact_mut(sample)) {
                        let mapped = (&*self.mapped, row);
                        pairs.slopes_of_row(coefficients, mapped, &parts[row], &mut map, &mut sums);
                        tiling.output_gradients(&map, width, out, stride);
                    }
                    sums
                })
                .collect();
            for addend in &addends {
                sums.add(addend);
            }
            let begun = if index == 0 { 0.0 } else { 1.0 };
            gradient.compute(|frequency, out| {
                let inputs = inputs.frequency(frequency);
                let inputs = inputs.slice(s![tiles.clone(), ..]);
                general_mat_mul(1.0, &transformed.frequency(frequency).t(), &inputs, begun, out);
            });
        }
        (gradient, sums)
    }
}

/// What z is besides U, of the channels of some blocks.
struct Constants {
    bias: Vec<f32>,
    weight_sums: Vec<f32>,
}

impl Constants {
    fn of(blocks: &[Block]) -> Self {
        Self {
            bias: blocks.iter().flat_map(|block| block.parameters.bias.iter().copied()).collect(),
            weight_sums: blocks.iter().flat_map(|block| block.weight_sums.iter().copied()).collect(),
        }
    }

    fn channels(&self) -> Channels<'_> {
        Channels { bias: &self.bias, weight_sums: &self.weight_sums }
    }
}

/// Neighbouring blocks of the same width, as many together as products allow.
fn sets(conv: &Conv, blocks: &[Block], heights: &[usize]) -> Vec<Set> {
    let width = blocks.first().map_or(1, |block| block.channels.len());
    let alike = blocks.iter().take_while(|block| block.channels.len() == width).count();
    let counts: Vec<usize> = evenly(alike, CHANNELS / width).map(|set| set.len()).collect();
    let together = counts.iter().all(|&count| {
        count == 1 || heights.iter().all(|&tall| merge(tall, conv.input.channels, width, count))
    });
    let counts = if together { counts } else { vec![1; alike] };
    let others = blocks.len() - alike;
    let mut start = 0;
    let set = |count: usize| {
        let of_set = start..start + count;
        start = of_set.end;
        let channels = ChannelRange {
            start: blocks[of_set.start].channels.start,
            end: blocks[of_set.end - 1].channels.end,
        };
        Set { blocks: of_set, channels, mapped: Buffer::default() }
    };
    counts.into_iter().chain(std::iter::repeat_n(1, others)).map(set).collect()
}

/// Whether products of `tall` tiles and `count` blocks of `width` channels have the bits that those of each block have.
///
/// That depends on the kernel of the BLAS library and on the shape, and on nothing else: so it is tried.
fn merge(tall: usize, inputs: usize, width: usize, count: usize) -> bool {
    let mut random = Seed(0).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let mut numbers = |items: usize, channels: usize| {
        let mut spectra = Spectra::new(items, channels);
        spectra.frequency_mut(0).map_inplace(|number| *number = symmetric(&mut random, 1.0));
        spectra
    };
    let (tiles, kernels) = (numbers(tall, inputs), numbers(count * width, inputs));
    let slopes = numbers(tall, count * width);
    let mut whole = (Spectra::new(tall, count * width), Spectra::new(count * width, inputs));
    product(tiles.frequency(0), kernels.frequency(0), &mut whole.0.frequency_mut(0));
    general_mat_mul(1.0, &slopes.frequency(0).t(), &tiles.frequency(0), 0.0, &mut whole.1.frequency_mut(0));
    (0..count).all(|block| {
        let channels = s![.., block * width..(block + 1) * width];
        let rows = s![block * width..(block + 1) * width, ..];
        let mut part = (Spectra::new(tall, width), Spectra::new(width, inputs));
        let mut of_block = Spectra::new(tall, width);
        of_block.frequency_mut(0).assign(&slopes.frequency(0).slice(channels));
        product(tiles.frequency(0), kernels.frequency(0).slice(rows), &mut part.0.frequency_mut(0));
        let of_block = of_block.frequency(0);
        general_mat_mul(1.0, &of_block.t(), &tiles.frequency(0), 0.0, &mut part.1.frequency_mut(0));
        part.0.frequency(0) == whole.0.frequency(0).slice(channels)
            && part.1.frequency(0) == whole.1.frequency(0).slice(rows)
    })
}
