//! What a layer is: its linear map, the pairs it sees, what it transmits, and how its channels are cut.

use ndarray::{Array1, Array2, Axis, concatenate};
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::batch::Step;
use crate::finite::all_finite;
use crate::seed::symmetric;

mod conv;
mod dense;
mod map;
mod pool;

pub use conv::Conv;
pub use dense::Dense;
pub use map::MapShape;
pub use pool::{Pool, PoolKind};

/// Where a layer's pairs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairSource {
    /// The layer makes pairs of single samples (every first layer; algorithm 2 further up).
    Makes,
    /// The layer takes the pairs of the layer below (algorithm 1).
    Takes,
}

/// What is passed on of the linear map's output z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transmit {
    /// relu(z - mean of z over the units).
    Triangle,
    /// relu(z).
    Relu,
}

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

    /// Multiply-adds of one linear map of one sample.
    pub fn multiply_adds(&self) -> u64 {
        self.output().len() as u64 * self.fan_in() as u64
    }

    /// Initial weights are uniform in plus or minus this: PyTorch's default for dense maps, Xavier's bound for
    /// convolutions.
    fn initial_bound(&self) -> f32 {
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

/// All that is fixed about a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// The layer's name in logs and summaries, such as `dense1`.
    pub name: String,
    /// Its linear map.
    pub map: LinearMap,
    /// Where its pairs come from.
    pub pairs: PairSource,
    /// What it passes on.
    pub transmit: Transmit,
    /// How that is pooled before it is passed on.
    pub pool: Option<Pool>,
    /// How the passed-on map is pooled once more before the readout reads it.
    pub readout_pool: Option<Pool>,
    /// Channels of one block: the unit in which products are cut, goodness is summed and layers are sharded.
    pub block: usize,
}

impl LayerSpec {
    /// All of its channels.
    pub fn channels(&self) -> ChannelRange {
        ChannelRange { start: 0, end: self.map.channels() }
    }

    /// The layer's channel blocks, in order. The last one is smaller where the block size does not divide.
    pub fn blocks(&self) -> Vec<ChannelRange> {
        let channels = self.map.channels();
        (0..channels)
            .step_by(self.block)
            .map(|start| ChannelRange { start, end: (start + self.block).min(channels) })
            .collect()
    }

    /// The shape of what the layer passes on for a sample.
    pub fn output(&self) -> MapShape {
        pooled(self.pool, self.map.output())
    }

    /// Elements that the layer passes on for a sample.
    pub fn outputs(&self) -> usize {
        self.output().len()
    }

    /// Elements that the readout reads of a sample.
    pub fn features(&self) -> usize {
        pooled(self.readout_pool, self.output()).len()
    }

    /// Whether the layer makes its own pairs.
    pub fn makes_pairs(&self) -> bool {
        self.pairs == PairSource::Makes
    }
}

fn pooled(pool: Option<Pool>, shape: MapShape) -> MapShape {
    pool.map_or(shape, |pool| pool.output(shape))
}

/// Output channels `start..end` of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRange {
    /// The first channel.
    pub start: usize,
    /// One past the last channel.
    pub end: usize,
}

impl ChannelRange {
    /// How many channels there are.
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether all of `other` lies within.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The range as an array slice.
    pub fn slice(self) -> ndarray::Slice {
        ndarray::Slice::from(self.start..self.end)
    }
}

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

/// Everything that a layer in training carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerState {
    /// Steps taken so far.
    pub step: Step,
    /// Weights and biases.
    pub parameters: Tensors,
    /// AdamW's first moments.
    pub first_moments: Tensors,
    /// AdamW's second moments.
    pub second_moments: Tensors,
}

impl LayerState {
    /// Errors unless all tensors have the shape of `map`'s parameters.
    pub fn check(&self, map: &LinearMap) -> Result<(), ShapeError> {
        self.parameters.check("parameters", map)?;
        self.first_moments.check("first moments", map)?;
        self.second_moments.check("second moments", map)
    }

    /// Whether all parameters and moments are finite.
    pub fn is_finite(&self) -> bool {
        [&self.parameters, &self.first_moments, &self.second_moments].into_iter().all(Tensors::is_finite)
    }

    /// The layer's state, of those of its shards in channel order.
    ///
    /// # Panics
    ///
    /// Where there is none, or they are of different layers or steps.
    pub fn assemble(shards: &[Self]) -> Self {
        let step = shards.first().expect("a shard").step;
        assert!(shards.iter().all(|shard| shard.step == step), "shards of one step");
        let part = |of: fn(&Self) -> &Tensors| Tensors::assemble(&shards.iter().map(of).collect::<Vec<_>>());
        Self {
            step,
            parameters: part(|shard| &shard.parameters),
            first_moments: part(|shard| &shard.first_moments),
            second_moments: part(|shard| &shard.second_moments),
        }
    }

    /// The state before the first step: weights and biases uniform (dense layers in +-1/sqrt(fan-in), convolutions
    /// within Xavier's bound, biases in +-1/sqrt(fan-in)), moments zero.
    pub fn initial(map: &LinearMap, random: &mut impl Rng) -> Self {
        let mut parameters = Tensors::zeros(map);
        parameters.weight.map_inplace(|value| *value = symmetric(random, map.initial_bound()));
        parameters.bias.map_inplace(|value| *value = symmetric(random, map.initial_bias_bound()));
        Self {
            step: Step(0),
            parameters,
            first_moments: Tensors::zeros(map),
            second_moments: Tensors::zeros(map),
        }
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
