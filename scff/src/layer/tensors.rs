//! A layer's tensors.

use ndarray::{Array1, Array2, Axis, concatenate};

use super::channels::ChannelRange;
use super::linear::LinearMap;
use crate::finite::all_finite;

/// One trained tensor, or one of its optimiser's moments: weights (channels, fan-in) and biases (channels).
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors {
    /// Of the weights, (channels, fan-in).
    pub weight: Array2<f32>,
    /// Of the biases, (channels).
    pub bias: Array1<f32>,
}

impl Tensors {
    /// All zero, in the shape of `map`'s parameters.
    pub fn zeros(map: &LinearMap) -> Self {
        Self { weight: Array2::zeros((map.channels(), map.fan_in())), bias: Array1::zeros(map.channels()) }
    }

    /// The part of some channels.
    #[must_use]
    pub fn slice(&self, channels: ChannelRange) -> Self {
        Self {
            weight: self.weight.slice_axis(Axis(0), channels.slice()).to_owned(),
            bias: self.bias.slice_axis(Axis(0), channels.slice()).to_owned(),
        }
    }

    /// The channels of `parts`, in order.
    ///
    /// # Panics
    ///
    /// Where parts have different fan-ins.
    pub fn assemble(parts: &[&Self]) -> Self {
        let weights: Vec<_> = parts.iter().map(|part| part.weight.view()).collect();
        let biases: Vec<_> = parts.iter().map(|part| part.bias.view()).collect();
        Self {
            weight: concatenate(Axis(0), &weights).expect("parts of one layer"),
            bias: concatenate(Axis(0), &biases).expect("parts of one layer"),
        }
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        all_finite(&self.weight) && all_finite(&self.bias)
    }

    /// Errors unless the tensors have the shape of `map`'s parameters.
    pub fn check(&self, what: &'static str, map: &LinearMap) -> Result<(), ShapeError> {
        let expected = (map.channels(), map.fan_in());
        if self.weight.dim() != expected || self.bias.len() != expected.0 {
            return Err(ShapeError { what, found: (self.weight.dim(), self.bias.len()), expected });
        }
        Ok(())
    }
}

/// Tensors that do not fit the layer they are meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: found a weight of {:?} and a bias of {}, expected {expected:?} and {}", found.0, found.1, expected.0)]
pub struct ShapeError {
    /// Which tensors.
    pub what: &'static str,
    /// Their shapes: of the weight, of the bias.
    pub found: ((usize, usize), usize),
    /// What the layer has: (channels, fan-in).
    pub expected: (usize, usize),
}
