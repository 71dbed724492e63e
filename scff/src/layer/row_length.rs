//! How long rows are: what layers read of samples and pass on.

use std::fmt;

/// Elements of the rows that belong together: of a stream, or of what a layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLength {
    /// All have so many.
    Fixed(usize),
    /// Each is a sequence of whole frames: at least one, at most so many.
    Sequences {
        /// Frames of the longest.
        frames: usize,
        /// Elements of a frame.
        features: usize,
    },
}

impl RowLength {
    /// Elements of the longest.
    pub fn longest(self) -> usize {
        match self {
            Self::Fixed(elements) => elements,
            Self::Sequences { frames, features } => frames * features,
        }
    }
}

impl fmt::Display for RowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(elements) => write!(f, "{elements} elements"),
            Self::Sequences { frames, features } => write!(f, "1 to {frames} frames of {features} elements"),
        }
    }
}
