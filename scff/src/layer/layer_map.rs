//! A layer's map: what is multiplied with its weights.

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;
use super::birnn::BiRnn;
use super::conv::Conv;
use super::dense::Dense;
use super::map::MapShape;
use super::row_length::RowLength;
use super::tensors::{BIAS, TensorSpec, WEIGHT};

/// A layer's map, from what it reads to z, of which the hidden state is relu(z).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerMap {
    /// Every output reads every input.
    Dense(Dense),
    /// Every output reads a patch of the map, the same weights at all positions.
    Conv(Conv),
    /// Every output reads a frame of a sequence and the state before it, in both directions.
    #[serde(rename = "birnn")]
    BiRnn(BiRnn),
}

impl LayerMap {
    /// The recurrent map, where it is one: then samples are sequences of any number of frames.
    pub fn recurrent(&self) -> Option<&BiRnn> {
        match self {
            Self::BiRnn(birnn) => Some(birnn),
            Self::Dense(_) | Self::Conv(_) => None,
        }
    }

    /// How a convolution is computed; nothing of other maps.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Conv(conv) => Some(conv.algorithm),
            Self::Dense(_) | Self::BiRnn(_) => None,
        }
    }

    /// What it reads of a sample.
    pub fn reads(&self) -> RowLength {
        match self {
            Self::Dense(_) | Self::Conv(_) => RowLength::Fixed(self.inputs()),
            Self::BiRnn(birnn) => RowLength::Sequences { frames: birnn.frames(), features: birnn.features() },
        }
    }

    /// Elements of one input sample; of sequences, of the longest.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.inputs,
            Self::Conv(conv) => conv.input.len(),
            Self::BiRnn(birnn) => birnn.input.len(),
        }
    }

    /// The shape of z: for a dense map one position, for a recurrent one a position for each frame.
    pub fn output(&self) -> MapShape {
        match self {
            Self::Dense(dense) => MapShape { height: 1, width: 1, channels: dense.outputs },
            Self::Conv(conv) => conv.output(),
            Self::BiRnn(birnn) => birnn.output(),
        }
    }

    /// Output channels (for a dense map: units; for a recurrent one: units of both directions).
    pub fn channels(&self) -> usize {
        self.output().channels
    }

    /// Weights of one output channel.
    pub fn fan_in(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.inputs,
            Self::Conv(conv) => conv.fan_in(),
            Self::BiRnn(birnn) => birnn.fan_in(),
        }
    }

    /// Weights and biases together.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }

    /// Its tensors: weights (channels, fan-in) and biases (channels); of a recurrent map, see [`BiRnn`].
    pub fn tensors(&self) -> Vec<TensorSpec> {
        if let Self::BiRnn(birnn) = self {
            return birnn.tensors();
        }
        let (channels, fan_in) = (self.channels(), self.fan_in());
        let of = |name, shape, initial_bound| TensorSpec { name, shape, channels: Axis(0), initial_bound };
        vec![
            of(WEIGHT, vec![channels, fan_in], self.initial_weight_bound()),
            of(BIAS, vec![channels], self.initial_bias_bound()),
        ]
    }

    /// Multiply-adds of one sample's map, by the algorithm of a convolution; of a recurrent layer, of its frames alone, at the
    /// longest.
    pub fn multiply_adds(&self) -> u64 {
        match self {
            Self::Conv(conv) => conv.multiply_adds(),
            Self::Dense(_) => self.output().len() as u64 * self.fan_in() as u64,
            Self::BiRnn(birnn) => self.output().len() as u64 * birnn.features() as u64,
        }
    }

    /// Multiply-adds of one pair, beyond those of its samples: of a recurrent layer's states, at the longest.
    pub fn multiply_adds_of_pair(&self) -> u64 {
        self.recurrent().map_or(0, |birnn| self.output().len() as u64 * birnn.hidden as u64)
    }

    /// Numbers that are made of a row before it is multiplied, and kept as long as the row: Winograd's algorithm transforms it.
    pub fn transformed_inputs(&self) -> usize {
        match self {
            Self::Conv(conv) if conv.algorithm == Algorithm::Winograd => {
                conv.products() * conv.input.channels
            }
            Self::Conv(_) | Self::Dense(_) | Self::BiRnn(_) => 0,
        }
    }

    /// Initial weights are uniform in plus or minus this: PyTorch's default for dense maps, Xavier's bound for
    /// convolutions.
    fn initial_weight_bound(&self) -> f32 {
        match self {
            Self::Conv(conv) => {
                let fan_out = conv.kernel * conv.kernel * conv.channels;
                (6.0 / (conv.fan_in() + fan_out) as f32).sqrt()
            }
            Self::Dense(_) | Self::BiRnn(_) => self.initial_bias_bound(),
        }
    }

    /// The same of biases: PyTorch's default for both.
    fn initial_bias_bound(&self) -> f32 {
        1.0 / (self.fan_in() as f32).sqrt()
    }
}
