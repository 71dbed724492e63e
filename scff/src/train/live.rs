//! What a layer in training passes on in the midst of a step, for a layer that trains upon it at the same time.

use ndarray::Array2;
use ndarray::parallel::prelude::*;

use super::block::Block;
use super::input::Paired;
use super::layer::{Kind, TrainingLayer};
use crate::frozen::transmit;
use crate::pair::PairedRows;
use crate::samples::Samples;
use crate::scratch::buffer;

impl TrainingLayer {
    /// What the layer passes on for the first `pairs` pairs of `input`, by the weights before the update. Not for a shard,
    /// which has no other channels to take the mean with. To be called between [`Self::begin_step`] and
    /// [`Self::end_step`], whose maps it uses.
    pub fn transmit<'a>(&self, input: impl Into<Paired<'a>>, pairs: usize) -> Samples {
        match (input.into(), &self.kind) {
            (Paired::Rows(input), Kind::Dense(layer)) => {
                self.transmit_rows(input, pairs, layer.mapped().collect()).into()
            }
            (Paired::Rows(input), Kind::Conv(layer)) => {
                self.transmit_rows(input, pairs, layer.mapped().collect()).into()
            }
            (Paired::Sequences(input), Kind::Recurrent(layer)) => layer.passed_on(input, pairs).into(),
            _ => unreachable!("a layer passes on what it has read"),
        }
    }

    /// `blocks`: with U of every row, (rows, positions, channels of the block); returns (pairs, elements).
    fn transmit_rows(&self, input: &PairedRows, pairs: usize, blocks: Vec<(&Block, &[f32])>) -> Array2<f32> {
        let tensors = || blocks.iter().map(|(block, _)| block);
        let weight_sums: Vec<f32> = tensors().flat_map(|block| block.weight_sums.iter().copied()).collect();
        let bias = tensors().flat_map(|block| &block.parameters.bias);
        let bias: Vec<f32> = bias.map(|bias| input.bias_factor() * bias).collect();
        let length = self.spec.map.output().len();
        let mut rows = Array2::zeros((pairs, self.spec.outputs()));
        rows.outer_iter_mut().into_par_iter().zip(input.pairs()).for_each(|(mut out, pair)| {
            let mut halves = buffer(2 * length);
            let (first, second) = halves.split_at_mut(length);
            gather(&blocks, self.spec.map.channels(), pair.first, first);
            let second = pair.second.map(|row| {
                gather(&blocks, self.spec.map.channels(), row, second);
                &*second
            });
            let out = out.as_slice_mut().expect("rows are contiguous");
            transmit(&self.spec, (&weight_sums, &bias), pair, first, second, out);
        });
        rows
    }
}

/// Writes U of one row, (positions, channels), of what each block has of it.
fn gather(blocks: &[(&Block, &[f32])], channels: usize, row: usize, out: &mut [f32]) {
    let positions = out.len() / channels;
    for (block, mapped) in blocks {
        let width = block.channels.len();
        let mapped = mapped[row * positions * width..].chunks_exact(width);
        for (out, mapped) in out.chunks_exact_mut(channels).zip(mapped) {
            out[block.channels.start..block.channels.end].copy_from_slice(mapped);
        }
    }
}
