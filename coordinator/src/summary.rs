//! `summary.json`: what came out of a run. Field names are stable: scripts read them.

use scff::layer::Algorithm;
use serde::{Deserialize, Serialize};

use crate::totals::{Measures, Spent};

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The data set.
    pub dataset: String,
    /// The run's seed.
    pub seed: u64,
    /// Workers that took part in the last stage.
    pub workers: usize,
    /// SHA-256 over all trained tensors, in layer order: two runs are equal when it is.
    pub weights_sha256: String,
    /// Seconds of training and readout, over all sittings.
    pub seconds: f64,
    /// Each layer's training.
    pub layers: Vec<LayerSummary>,
    /// What the readout reached.
    pub readout: ReadoutSummary,
    /// Library, version and kernel of the workers' BLAS.
    pub blas: String,
    /// The processor of the first worker.
    pub cpu: String,
    /// The most memory that coordinator and workers have had resident, each at its own peak, added up.
    pub peak_rss_bytes: u64,
}

/// One layer's training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// The layer's name.
    pub name: String,
    /// How a convolution was computed; absent of other layers, and in files of builds that knew one way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Epochs trained.
    pub epochs: u32,
    /// Steps taken.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Samples a second, over the whole stage.
    pub samples_per_second: f64,
    /// Mean loss and goodness in the last report.
    #[serde(flatten)]
    pub last: Measures,
    /// What the steps cost besides computing.
    #[serde(flatten)]
    pub spent: Spent,
    /// Bytes that the coordinator sent to workers.
    pub bytes_sent: u64,
    /// SHA-256 of weight and bias.
    pub weights_sha256: String,
}

/// What the readout reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadoutSummary {
    /// Features of a sample.
    pub features: usize,
    /// Share of the training samples classified as labelled.
    pub train_accuracy: f64,
    /// Share of the test set; absent where training samples were held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_accuracy: Option<f64>,
    /// Share of what the data set's split sets aside for validation; absent where it sets nothing aside, and where training
    /// samples were held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_accuracy: Option<f64>,
    /// Share of the held-out training samples; absent where none were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_out_accuracy: Option<f64>,
    /// Effective rank of the features of (at most) 1,000 samples: exp of the entropy of their singular values. Absent where
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effective_rank: Option<f64>,
    /// Seconds for features, training and measuring.
    pub seconds: f64,
}

impl ReadoutSummary {
    /// The accuracy that was measured, and on what.
    pub fn measured(&self) -> (f64, &'static str) {
        match (self.test_accuracy, self.held_out_accuracy) {
            (Some(test), _) => (test, "test"),
            (None, Some(held_out)) => (held_out, "held-out"),
            (None, None) => (self.train_accuracy, "training"),
        }
    }
}
