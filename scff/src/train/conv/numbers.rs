//! The gradient of some samples, as numbers that are exchanged.

use std::ops::Range;

use ndarray::Array2;
use rayon::prelude::*;

use super::elementwise::{ChannelSums, add};
use crate::scratch::Buffer;

/// Numbers that are added up together: a task.
const NUMBERS: usize = 1024;

/// The gradient of some channels.
pub(super) struct Numbers {
    /// (channels, fan-in)
    pub(super) weight: Buffer,
    /// Of b and w.
    pub(super) sums: ChannelSums,
}

impl Numbers {
    /// Adds that of other samples.
    #[expect(clippy::needless_pass_by_value, reason = "its memory is free for another")]
    pub(super) fn add(&mut self, other: Self) {
        let parts = self.weight.par_chunks_mut(NUMBERS).zip(other.weight.par_chunks(NUMBERS));
        parts.with_min_len(16).for_each(|(sum, other)| add(sum, other));
        self.sums.add(&other.sums);
    }

    /// Writes it to the numbers of all channels that are exchanged, of which it is the channels `own`: weights, (channels,
    /// fan-in), then biases and w.
    fn write(&self, own: Range<usize>, out: &mut [f32]) {
        let fan_in = self.weight.len() / own.len();
        let channels = out.len() / (fan_in + 2);
        let (weight, of_channels) = out.split_at_mut(channels * fan_in);
        let (bias, weight_sums) = of_channels.split_at_mut(channels);
        weight[own.start * fan_in..own.end * fan_in].copy_from_slice(&self.weight);
        bias[own.clone()].copy_from_slice(&self.sums.bias);
        weight_sums[own].copy_from_slice(&self.sums.weight_sums);
    }
}

/// The numbers of nodes, (nodes, numbers), of the gradients of consecutive channels from 0 on: of each so many as are in its
/// range, one for every node.
pub(super) fn assemble(nodes: usize, gradients: &[(Range<usize>, Vec<Numbers>)]) -> Array2<f32> {
    let numbers = |(_, of_nodes): &(_, Vec<Numbers>)| {
        of_nodes.first().map_or(0, |gradient| gradient.weight.len() + 2 * gradient.sums.bias.len())
    };
    let mut out = Array2::zeros((nodes, gradients.iter().map(numbers).sum()));
    for (channels, of_nodes) in gradients {
        for (gradient, mut out) in of_nodes.iter().zip(out.outer_iter_mut()) {
            gradient.write(channels.clone(), out.as_slice_mut().expect("rows are contiguous"));
        }
    }
    out
}
