//! Ranges of a layer's output channels.

/// Output channels `start..end` of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRange {
    /// The first channel.
    pub start: usize,
    /// One past the last channel.
    pub end: usize,
}

impl ChannelRange {
    /// How many channels there are.
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether all of `other` lies within.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Where it stands among those of `all`, which contains it.
    pub(crate) fn within(self, all: Self) -> std::ops::Range<usize> {
        self.start - all.start..self.end - all.start
    }

    /// The range as an array slice.
    pub fn slice(self) -> ndarray::Slice {
        ndarray::Slice::from(self.start..self.end)
    }
}
