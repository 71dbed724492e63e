//! The tensors of one direction.

use ndarray::{Array1, Array2, Axis, concatenate};

use crate::finite::all_finite;
use crate::layer::{BIAS_HH, BIAS_IH, ChannelRange, TensorSpec, Tensors, WEIGHT_HH, WEIGHT_IH};

/// The weights and biases of a direction's units, or as many moments.
pub(super) struct Weights {
    /// W_ih, (units, features).
    pub(super) frames: Array2<f32>,
    /// W_hh, (units, units).
    pub(super) states: Array2<f32>,
    /// b_ih, (units).
    frame_bias: Array1<f32>,
    /// b_hh, (units).
    state_bias: Array1<f32>,
}

/// Some units' part of each tensor.
pub(super) type Part<'a> = [&'a mut [f32]; 4];

impl Weights {
    /// Those of some units of the tensors of a layer.
    pub(super) fn of(tensors: &Tensors, units: ChannelRange) -> Self {
        let matrix = |name| tensors.matrix(name).slice_axis(Axis(0), units.slice()).to_owned();
        let vector = |name| tensors.vector(name).slice_axis(Axis(0), units.slice()).to_owned();
        Self {
            frames: matrix(WEIGHT_IH),
            states: matrix(WEIGHT_HH),
            frame_bias: vector(BIAS_IH),
            state_bias: vector(BIAS_HH),
        }
    }

    /// The tensors of both directions, or of one.
    pub(super) fn assemble(parts: &[&Self], specs: &[TensorSpec]) -> Tensors {
        let matrices = |of: fn(&Self) -> &Array2<f32>| {
            let views: Vec<_> = parts.iter().map(|part| of(part).view()).collect();
            concatenate(Axis(0), &views).expect("directions of one layer").into_dyn()
        };
        let vectors = |of: fn(&Self) -> &Array1<f32>| {
            let views: Vec<_> = parts.iter().map(|part| of(part).view()).collect();
            concatenate(Axis(0), &views).expect("directions of one layer").into_dyn()
        };
        let values = [
            matrices(|part| &part.frames),
            matrices(|part| &part.states),
            vectors(|part| &part.frame_bias),
            vectors(|part| &part.state_bias),
        ];
        specs.iter().zip(values).map(|(spec, values)| spec.of(values)).collect()
    }

    /// Both biases added up: nothing else is needed of them.
    pub(super) fn bias(&self) -> Array1<f32> {
        &self.frame_bias + &self.state_bias
    }

    pub(super) fn is_finite(&self) -> bool {
        all_finite(&self.frames)
            && all_finite(&self.states)
            && all_finite(&self.frame_bias)
            && all_finite(&self.state_bias)
    }

    /// The parts of each so many units, in order.
    pub(super) fn parts(&mut self, together: usize) -> impl Iterator<Item = Part<'_>> {
        let (features, units) = (self.frames.ncols(), self.states.ncols());
        let own = "parameters are contiguous";
        let frames = self.frames.as_slice_mut().expect(own).chunks_mut(together * features);
        let states = self.states.as_slice_mut().expect(own).chunks_mut(together * units);
        let frame_bias = self.frame_bias.as_slice_mut().expect(own).chunks_mut(together);
        let state_bias = self.state_bias.as_slice_mut().expect(own).chunks_mut(together);
        let biases = frame_bias.zip(state_bias);
        frames
            .zip(states)
            .zip(biases)
            .map(|((frames, states), (frame, state))| [frames, states, frame, state])
    }
}
