//! Linear maps: what is multiplied with a layer's weights.

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::conv::Conv;
use super::dense::Dense;
use super::map::MapShape;
use super::tensors::{BIAS, TensorSpec, WEIGHT};

/// A layer's linear map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearMap {
    /// Every output reads every input.
    Dense(Dense),
    /// Every output reads a patch of the map, the same weights at all positions.
    Conv(Conv),
}

impl LinearMap {
    /// Elements of one input sample.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.inputs,
            Self::Conv(conv) => conv.input.len(),
        }
    }

    /// The shape of z: for a dense map one position.
    pub fn output(&self) -> MapShape {
        match self {
            Self::Dense(dense) => MapShape { height: 1, width: 1, channels: dense.outputs },
            Self::Conv(conv) => conv.output(),
        }
    }

    /// Output channels (for a dense map: units).
    pub fn channels(&self) -> usize {
        self.output().channels
    }

    /// Weights of one output channel.
    pub fn fan_in(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.inputs,
            Self::Conv(conv) => conv.fan_in(),
        }
    }

    /// Weights and biases together.
    pub fn parameters(&self) -> usize {
        self.channels() * (self.fan_in() + 1)
    }

    /// Its tensors: weights (channels, fan-in) and biases (channels).
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let (channels, fan_in) = (self.channels(), self.fan_in());
        let of = |name, shape, initial_bound| TensorSpec { name, shape, channels: Axis(0), initial_bound };
        vec![
            of(WEIGHT, vec![channels, fan_in], self.initial_weight_bound()),
            of(BIAS, vec![channels], self.initial_bias_bound()),
        ]
    }

    /// Multiply-adds of one linear map of one sample.
    pub fn multiply_adds(&self) -> u64 {
        self.output().len() as u64 * self.fan_in() as u64
    }

    /// Initial weights are uniform in plus or minus this: PyTorch's default for dense maps, Xavier's bound for
    /// convolutions.
    fn initial_weight_bound(&self) -> f32 {
        match self {
            Self::Dense(_) => self.initial_bias_bound(),
            Self::Conv(conv) => {
                let fan_out = conv.kernel * conv.kernel * conv.channels;
                (6.0 / (conv.fan_in() + fan_out) as f32).sqrt()
            }
        }
    }

    /// The same of biases: PyTorch's default for both.
    fn initial_bias_bound(&self) -> f32 {
        1.0 / (self.fan_in() as f32).sqrt()
    }
}
