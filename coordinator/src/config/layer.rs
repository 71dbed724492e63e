//! `[[layers]]`: what a layer is, how it trains, and what it passes on.

use scff::layer::{Algorithm, PairSource, PoolKind, SequencePadding, Summary, Transmit};
use scff::train::Sharing;
use serde::{Deserialize, Serialize};

use super::shards::Shards;

/// `[[layers]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// The layer's name in logs and summaries.
    pub name: String,
    /// Kind of map.
    pub kind: LayerKind,
    /// Output units; of a convolution, output channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u32>,
    /// Hidden units of each direction of a bidirectional recurrent layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<u32>,
    /// Side of a convolution's square kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u32>,
    /// Reflect padding of a convolution [default: 0]; or what a recurrent layer makes of sequences of different lengths:
    /// "masked", where only frames count that are there, or "counts", where a batch is padded with frames of zeros, as in
    /// the paper's code [default: "masked"].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Padding>,
    /// How a convolution is computed: "direct", as patches times weights, or by "winograd", with a quarter of the multiplications,
    /// where the kernel is 3x3. Part of what fixes the bits [default: "winograd" of such convolutions that read a convolution of at
    /// least 64 channels and have as many, unless samples are shared; in the file of a run "direct", which nothing else was once].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// What the readout reads of the states of a recurrent layer: its "last" ones, their "mean" over all frames, or their
    /// means over "thirds" of them [default: "last"].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Channels of a block [default: that of `[training]`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u32>,
    /// `makes`: pairs are made of single samples (every first layer; algorithm 2). `takes`: the pairs of the
    /// layer below (algorithm 1).
    pub pairs: PairSource,
    /// How many workers share the layer at most: a number, a grid of workers such as "2x3", for two rows that divide the samples of
    /// each batch and three columns that divide channels, or "auto" for as many as there are
    /// [default: what --shards says].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<Shards>,
    /// What workers that share the layer divide: its "channels", the "samples" of each batch, or both ("grid"). Part of what
    /// fixes the bits, with one worker too [default: "grid" for convolutions that take pairs, "samples" for those that make
    /// pairs and whose gradient is smaller than their goodness].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// What is passed on.
    pub transmit: Transmit,
    /// Negative pairs per sample and step.
    #[serde(default = "one")]
    pub negatives: u32,
    /// Whether the readout reads this layer.
    #[serde(default = "yes")]
    pub readout: bool,
    /// Epochs.
    pub epochs: u32,
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The learning rate is multiplied by this ...
    pub gamma: f64,
    /// ... every so many batches.
    pub period: u64,
    /// Positive pairs are pushed above this goodness.
    pub theta_pos: f32,
    /// Negative pairs are pushed below this goodness.
    pub theta_neg: f32,
    /// Weight of the penalty on the norm of positive goodness.
    pub lambda: f32,
    /// Pooling of what a convolution passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolConfig>,
    /// Pooling once more before the readout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readout_pool: Option<PoolConfig>,
}

/// `pool = { kind = "max", size = 4, stride = 2, padding = 1 }`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Maxima or averages.
    pub kind: PoolKind,
    /// Side of the square window.
    pub size: u32,
    /// From one window to the next [default: the size].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u32>,
    /// Cells around the map.
    #[serde(default)]
    pub padding: u32,
}

/// A convolution's padding, or a recurrent layer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Positions around a map.
    Positions(u32),
    /// What counts of a batch of sequences.
    Sequences(SequencePadding),
}

impl Serialize for Padding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Positions(number) => serializer.serialize_u32(*number),
            Self::Sequences(padding) => padding.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Padding {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, IntoDeserializer};
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) => {
                SequencePadding::deserialize(word.into_deserializer()).map(Self::Sequences)
            }
            other => u32::deserialize(other).map(Self::Positions).map_err(Error::custom),
        }
    }
}

/// Kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// Every unit reads every input.
    Dense,
    /// Every channel reads patches of an image or of the map below, the same weights everywhere.
    Conv,
    /// A bidirectional recurrent layer, which reads sequences frame by frame.
    #[serde(rename = "birnn")]
    BiRnn,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}
