//! Those who share a layer or a readout, as their streams to each other see it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use proto::wire;
use scff::batch::LayerIndex;

use crate::run::RunName;

/// What workers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// A layer in training.
    Layer,
    /// A readout.
    Readout,
}

impl Display for Shared {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layer => "layer",
            Self::Readout => "readout",
        })
    }
}

/// Workers that share something, one of which is this one.
#[derive(Clone, Debug)]
pub struct Party {
    /// What they share.
    pub shared: Shared,
    /// The run.
    pub run: RunName,
    /// Which layer; of a readout, how many are below it.
    pub layer: LayerIndex,
    /// The attempt at it.
    pub attempt: u64,
    /// All of them.
    pub group: Vec<wire::Shard>,
    /// Which of them this worker is.
    pub place: usize,
    /// With whom it exchanges anything, by their places.
    pub peers: Vec<usize>,
    /// How long it waits for another's call.
    pub patience: Duration,
}
