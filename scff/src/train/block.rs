//! What every channel block of a layer in training owns.

use ndarray::Array1;

use crate::layer::{ChannelRange, LayerState, Tensors};
use crate::optimizer::{Update, weight_sums};

/// The weights and moments of some channels.
pub(super) struct Block {
    pub(super) channels: ChannelRange,
    pub(super) parameters: Tensors,
    pub(super) first_moments: Tensors,
    pub(super) second_moments: Tensors,
    /// w[c]: the sum of each channel's weights.
    pub(super) weight_sums: Array1<f32>,
}

impl Block {
    /// The part of `channels` of a layer's state.
    pub(super) fn new(channels: ChannelRange, state: &LayerState) -> Self {
        let parameters = state.parameters.slice(channels);
        Self {
            channels,
            weight_sums: weight_sums(&parameters.weight),
            parameters,
            first_moments: state.first_moments.slice(channels),
            second_moments: state.second_moments.slice(channels),
        }
    }

    /// Parameters, first and second moments.
    pub(super) fn tensors(&self) -> (ChannelRange, [&Tensors; 3]) {
        (self.channels, [&self.parameters, &self.first_moments, &self.second_moments])
    }

    /// Updates the biases.
    pub(super) fn update_bias(&mut self, update: &Update, gradient: &[f32]) {
        update.apply(
            self.parameters.bias.as_slice_mut().expect("contiguous"),
            self.first_moments.bias.as_slice_mut().expect("contiguous"),
            self.second_moments.bias.as_slice_mut().expect("contiguous"),
            gradient,
            0.0,
        );
    }
}
