//! How well a baseline does, on the samples on which a run is measured.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use source::Examples;

use crate::split::Splits;
use crate::summary::ReadoutSummary;

/// Shares of samples that are classified as labelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracies {
    /// Of the training samples.
    pub train_accuracy: f64,
    /// Of the test set; absent where training samples were held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_accuracy: Option<f64>,
    /// Of what the data set's split sets aside for validation, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_accuracy: Option<f64>,
    /// Of the held-out training samples; absent where none were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_out_accuracy: Option<f64>,
}

impl Accuracies {
    /// Measures who says how many samples he classifies as labelled.
    pub fn measure(
        splits: &Splits,
        correct: impl Fn(&Examples) -> anyhow::Result<usize>,
    ) -> anyhow::Result<Self> {
        let share =
            |examples: &Examples| anyhow::Ok(correct(examples)? as f64 / examples.len().max(1) as f64);
        let measured = share(&splits.measure)?;
        Ok(Self {
            train_accuracy: share(&splits.train)?,
            test_accuracy: (!splits.held_out).then_some(measured),
            validation_accuracy: splits.validation.as_deref().map(share).transpose()?,
            held_out_accuracy: splits.held_out.then_some(measured),
        })
    }
}

impl From<&ReadoutSummary> for Accuracies {
    fn from(readout: &ReadoutSummary) -> Self {
        Self {
            train_accuracy: readout.train_accuracy,
            test_accuracy: readout.test_accuracy,
            validation_accuracy: readout.validation_accuracy,
            held_out_accuracy: readout.held_out_accuracy,
        }
    }
}

impl Display for Accuracies {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let parts = [
            ("test", self.test_accuracy),
            ("held-out", self.held_out_accuracy),
            ("validation", self.validation_accuracy),
            ("training", Some(self.train_accuracy)),
        ];
        let said =
            parts.iter().filter_map(|(on, share)| share.map(|share| format!("{:.2} % {on}", 100.0 * share)));
        write!(f, "{} accuracy", said.collect::<Vec<_>>().join(", "))
    }
}
