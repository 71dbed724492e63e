//! What a configuration file says, before anything is made of it.
//!
//! Unknown keys and wrong types are refused here, with file, key and what is allowed; impossible combinations
//! are refused by [`crate::plan`].

mod data;
mod shards;
mod layer;

mod error;
mod overrides;
mod algorithm;
mod read;

pub use data::{DataConfig, SplitKind};
pub use error::ConfigError;
pub use layer::{LayerConfig, LayerKind, Padding, PoolConfig};
pub use read::{load, parse};
pub use shards::Shards;

use scff::seed::Seed;
use serde::{Deserialize, Serialize};

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// All random choices follow from it.
    pub seed: Seed,
    /// Precision in which activations travel, are kept and are read out.
    #[serde(default)]
    pub wire: WireFormat,
    /// The data set and its views.
    pub data: DataConfig,
    /// What all layers have in common.
    pub training: TrainingConfig,
    /// The layers, from the input up.
    pub layers: Vec<LayerConfig>,
    /// The linear classifier that measures the frozen features; a run without it needs no labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readout: Option<ReadoutConfig>,
}

/// Precision on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireFormat {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: half the bytes, activations rounded to 11 bits.
    F16,
}

/// `[training]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// In which order layers train.
    #[serde(default)]
    pub schedule: TrainingSchedule,
    /// Samples of a batch.
    pub batch: u32,
    /// Channels of a block: the unit in which layers are computed and sharded. Part of what fixes the bits. A layer may
    /// have its own.
    #[serde(default = "default_block")]
    pub block: u32,
    /// Steps between two lines of metrics.
    #[serde(default = "default_report_every")]
    pub report_every: u64,
    /// Steps between two checkpoints; a multiple of `report_every`.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: u64,
}

/// In which order layers train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingSchedule {
    /// Each layer trains and is frozen before the next.
    #[default]
    Greedy,
    /// Every layer steps on every batch, on the outputs of the layer below as it is then, until its own epochs are over.
    Joint,
}

/// `[readout]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadoutConfig {
    /// Adam's learning rate in the first epoch; it halves at 20, 35, 50, 60, 70, 80 and 90 % of the epochs.
    pub lr: f64,
    /// Samples of a batch.
    pub batch: u32,
    /// Epochs.
    pub epochs: u32,
    /// Probability that a feature is dropped in a training step.
    pub dropout: f32,
}

fn default_block() -> u32 {
    200
}

fn default_report_every() -> u64 {
    100
}

fn default_checkpoint_every() -> u64 {
    1000
}

impl Config {
    /// The configuration as TOML: what a run directory keeps.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a parsed configuration can be written")
    }
}
