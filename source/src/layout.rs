//! How large samples are, and whether all of them are alike.

use super::shape::Shape;

/// What all samples of a data set have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// The shape of a sample; of sequences, that of the longest: (frames, 1, numbers of a frame).
    pub shape: Shape,
    /// Whether there are shorter ones.
    pub lengths: Lengths,
}

/// How long samples are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lengths {
    /// All are of one shape.
    Alike,
    /// Each is a sequence of its own number of frames, and is kept, sent and computed without any padding.
    Frames {
        /// How many they have on average.
        mean: f64,
    },
}

impl Layout {
    /// How long a sample is on average, as a share of the longest.
    pub fn mean_share(self) -> f64 {
        match self.lengths {
            Lengths::Alike => 1.0,
            Lengths::Frames { mean } => mean / self.shape.height as f64,
        }
    }
}

/// Samples of that shape, all alike.
impl From<Shape> for Layout {
    fn from(shape: Shape) -> Self {
        Self { shape, lengths: Lengths::Alike }
    }
}
