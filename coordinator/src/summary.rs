//! `summary.json`: what came out of a run. Field names are stable: scripts read them.

use scff::layer::Algorithm;
use serde::{Deserialize, Serialize};

use crate::accuracies::Accuracies;
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
    /// What the readout reached; absent where the configuration has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub readout: Option<ReadoutSummary>,
    /// What can be said without labels, where there is no readout.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub without_labels: Option<WithoutLabels>,
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
    /// How many samples it classifies as labelled.
    #[serde(flatten)]
    pub accuracies: Accuracies,
    /// Effective rank of the features of (at most) 1,000 samples: exp of the entropy of their singular values. Absent where
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effective_rank: Option<f64>,
    /// Seconds for features, training and measuring.
    pub seconds: f64,
}

/// What can be said of layers without labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WithoutLabels {
    /// Samples whose features were looked at.
    pub samples: usize,
    /// Of what they are: "training", "held-out" or "test" samples.
    pub of: String,
    /// Nearest neighbours of each that were compared.
    pub neighbours: usize,
    /// From the input up.
    pub layers: Vec<LayerWithoutLabels>,
    /// Seconds for features and measures.
    pub seconds: f64,
}

/// The same of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerWithoutLabels {
    /// The layer's name.
    pub name: String,
    /// Features of a sample, as a readout would read them.
    pub features: usize,
    /// Mean goodness of positive pairs in the last report of its training.
    pub goodness_pos: f64,
    /// The same of negative pairs.
    pub goodness_neg: f64,
    /// Effective rank of the covariance of its features: exp of the entropy of their normalised eigenvalues. Absent where there
    /// is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effective_rank: Option<f64>,
    /// Mean share of a sample's nearest neighbours in the layer below (of the first layer: in the standardised input) that are
    /// among its nearest neighbours here.
    pub neighbour_agreement: f64,
}

/// What a readout of a few labels reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FewLabelsSummary {
    /// Samples with a label.
    pub labels: usize,
    /// What classes are called, in the order of the readout.
    pub classes: Vec<String>,
    /// Classes that have a label; others are never predicted.
    pub classes_with_labels: usize,
    /// Classes that have a single one, which cross-validation did not hold out.
    pub classes_with_one_label: usize,
    /// Features of a sample.
    pub features: usize,
    /// Strength of the penalty on weights.
    pub strength: f64,
    /// Parts that cross-validation held out in turn to choose it; absent where no class has two labels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub folds: Option<usize>,
    /// Share of the labelled samples classified as labelled when they were held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cross_validated_accuracy: Option<f64>,
    /// Share of the labelled samples classified as labelled.
    pub train_accuracy: f64,
    /// Share of the test set; absent where it has no labels, and where training samples were held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_accuracy: Option<f64>,
    /// Share of the held-out training samples; absent where none were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_out_accuracy: Option<f64>,
    /// Seconds for features, learning and measuring.
    pub seconds: f64,
}
