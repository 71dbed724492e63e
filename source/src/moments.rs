//! The mean and the deviation of each channel, over many samples.

use serde::{Deserialize, Serialize};

/// What a number of a channel becomes: (number - mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// The mean over all samples and positions.
    pub mean: f64,
    /// The deviation; 1 where there is none, for a number that is always the same has nothing to say.
    pub deviation: f64,
}

impl Moments {
    /// Of `count` numbers with this mean and this sum of squared distances from it.
    pub fn new(mean: f64, squares: f64, count: f64) -> Self {
        let deviation = libm::sqrt(squares / count);
        Self { mean, deviation: if deviation == 0.0 { 1.0 } else { deviation } }
    }

    /// The number that `value` becomes; the mean in place of what is missing, which is not a number.
    pub fn fill(self, value: f32) -> f32 {
        if value.is_nan() { 0.0 } else { self.apply(value) }
    }

    /// The number that `value` becomes.
    pub fn apply(self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) / self.deviation) as f32
    }
}
