//! A linear classifier in double precision.

use ndarray::{Array1, Array2};

/// Logits = x V + b, with V of (inputs, classes).
#[derive(Clone, Debug)]
pub struct Classifier {
    /// V.
    pub weight: Array2<f64>,
    /// b.
    pub bias: Array1<f64>,
}

impl Classifier {
    /// One that prefers no class.
    pub fn zeros(inputs: usize, classes: usize) -> Self {
        Self { weight: Array2::zeros((inputs, classes)), bias: Array1::zeros(classes) }
    }

    /// (samples, inputs) to (samples, classes).
    pub fn logits(&self, inputs: &Array2<f64>) -> Array2<f64> {
        inputs.dot(&self.weight) + &self.bias
    }
}
