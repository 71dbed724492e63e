//! What every channel block of a layer in training owns.

use ndarray::{Array1, Array2, Axis, concatenate};

use crate::finite::all_finite;
use crate::layer::{ChannelRange, LayerState, Tensors};
use crate::optimizer::{Update, weight_sums};

/// The weights and moments of some channels.
pub(super) struct Block {
    pub(super) channels: ChannelRange,
    pub(super) parameters: Linear,
    pub(super) first_moments: Linear,
    pub(super) second_moments: Linear,
    /// w[c]: the sum of each channel's weights.
    pub(super) weight_sums: Array1<f32>,
}

/// A linear map's tensors, or as many moments, of some channels.
pub(super) struct Linear {
    /// (channels, fan-in)
    pub(super) weight: Array2<f32>,
    /// (channels)
    pub(super) bias: Array1<f32>,
}

/// U of every row in some of a layer's channels.
pub(super) struct Mapped<'a> {
    pub(super) channels: ChannelRange,
    /// (rows, positions, channels)
    pub(super) numbers: &'a [f32],
}

impl Block {
    /// The part of `channels` of a layer's state.
    pub(super) fn new(channels: ChannelRange, state: &LayerState) -> Self {
        let parameters = Linear::of(&state.parameters, channels);
        Self {
            channels,
            weight_sums: weight_sums(parameters.weight.view()),
            parameters,
            first_moments: Linear::of(&state.first_moments, channels),
            second_moments: Linear::of(&state.second_moments, channels),
        }
    }

    /// Whether its parameters are finite, as far as their sums tell: a sum is finite only where all that is added up is.
    pub(super) fn is_finite(&self) -> bool {
        all_finite(&self.weight_sums) && all_finite(&self.parameters.bias)
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

impl Linear {
    fn of(tensors: &Tensors, channels: ChannelRange) -> Self {
        Self {
            weight: tensors.weight().slice_axis(Axis(0), channels.slice()).to_owned(),
            bias: tensors.bias().slice_axis(Axis(0), channels.slice()).to_owned(),
        }
    }

    /// The channels of `parts`, in order.
    pub(super) fn assemble(parts: &[&Self]) -> Tensors {
        let weights: Vec<_> = parts.iter().map(|part| part.weight.view()).collect();
        let biases: Vec<_> = parts.iter().map(|part| part.bias.view()).collect();
        let one = "blocks of one layer";
        Tensors::linear(concatenate(Axis(0), &weights).expect(one), concatenate(Axis(0), &biases).expect(one))
    }
}
