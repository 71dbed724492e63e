//! How well samples are classified: those of training, and those on which a run is measured.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

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
    /// The accuracy that was measured, and on what.
    pub fn measured(&self) -> (f64, &'static str) {
        match (self.test_accuracy, self.held_out_accuracy) {
            (Some(test), _) => (test, "test"),
            (None, Some(held_out)) => (held_out, "held-out"),
            (None, None) => (self.train_accuracy, "training"),
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
