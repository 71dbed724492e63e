//! `baseline.json`: what came out of a baseline. Field names are stable: scripts read them.

use std::fmt::{self, Display, Formatter};

use scff::batch::Epoch;
use scff::readout::halvings;
use serde::{Deserialize, Serialize};

use crate::accuracies::Accuracies;

/// Ways of learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// None: a readout of layers as they begin.
    Random,
    /// Layers and readout together, by the gradient of the readout's loss; of recurrent layers, through time.
    BackPropagation,
    /// The same, from what a run has learnt.
    FineTuning,
    /// Hinton's original algorithm without labels, whose negative samples are hybrids of two.
    ForwardForward,
}

impl Display for Method {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::BackPropagation => "back-propagation",
            Self::FineTuning => "fine-tuning",
            Self::ForwardForward => "forward-forward",
        })
    }
}

/// How a baseline learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Epochs.
    pub epochs: u32,
    /// Samples of a batch.
    pub batch: usize,
    /// Adam's learning rate in the first epoch; it halves as that of a readout does.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Training {
    /// The learning rate in an epoch.
    pub fn rate(&self, epoch: Epoch) -> f64 {
        self.lr / f64::from(1_u32 << halvings(epoch, self.epochs))
    }
}

impl Display for Training {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { epochs, batch, lr, weight_decay } = self;
        write!(f, "of {epochs} epochs, batches of {batch}, learning rate {lr}, weight decay {weight_decay}")
    }
}

/// A whole baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineSummary {
    /// How it has learnt.
    pub method: Method,
    /// The name of the configuration's file.
    pub config: String,
    /// The data set.
    pub dataset: String,
    /// The seed.
    pub seed: u64,
    /// By which numbers it has learnt; absent where it has not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub training: Option<Training>,
    /// How well it does.
    #[serde(flatten)]
    pub accuracies: Accuracies,
    /// Seconds of training and measuring.
    pub seconds: f64,
    /// SHA-256 over the tensors of all layers, in their order.
    pub weights_sha256: String,
    /// The processor.
    pub cpu: String,
}

impl BaselineSummary {
    /// Which one it is, in words.
    pub fn said(&self) -> String {
        let training = self.training.as_ref().map(|training| format!(" {training}")).unwrap_or_default();
        format!("{}{training}", self.method)
    }
}

impl Display for BaselineSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { config, seed, accuracies, seconds, weights_sha256, .. } = self;
        let said = self.said();
        write!(
            f,
            "{config}, seed {seed}, {said}: {accuracies}, {seconds:.1} s\nweights_sha256: {weights_sha256}"
        )
    }
}
