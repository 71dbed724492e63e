//! Ways to say how unlike other samples a sample is.

use clap::ValueEnum;
use std::fmt;

/// What is compared with what is usual in the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// The features' distance from their mean, each principal direction in units of its deviation.
    Mahalanobis,
    /// The features' mean distance from the five nearest of training samples.
    Neighbours,
    /// The goodness of (x, x) in each layer: how many deviations it lies from its mean.
    Goodness,
    /// The same of the goodness of (x, y) for eight random training samples y.
    Partners,
}

impl Method {
    /// Whether it compares features, which workers compute.
    pub fn is_of_features(self) -> bool {
        matches!(self, Self::Mahalanobis | Self::Neighbours)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mahalanobis => "mahalanobis",
            Self::Neighbours => "neighbours",
            Self::Goodness => "goodness",
            Self::Partners => "partners",
        })
    }
}
