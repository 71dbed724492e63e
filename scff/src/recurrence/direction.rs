//! The two directions in which a sequence is walked.

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the first frame to the last.
    Forward,
    /// From the last frame to the first.
    Backward,
}

/// Both, in the order of their channels.
pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

impl Direction {
    /// The frame at which a walk along `length` frames is after so many steps.
    pub(crate) fn frame(self, step: usize, length: usize) -> usize {
        match self {
            Self::Forward => step,
            Self::Backward => length - 1 - step,
        }
    }
}
