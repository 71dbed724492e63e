//! What IDX files hold, by the magic numbers that they begin with.

use std::fmt;

/// What an IDX file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// u8 images, (items, height, width).
    Images,
    /// u8 labels, (items).
    Labels,
}

impl Kind {
    /// The magic number: 8 for u8 data, then the number of dimensions.
    pub fn magic(self) -> u32 {
        match self {
            Self::Images => 2051,
            Self::Labels => 2049,
        }
    }

    /// The kind that has this magic number.
    pub fn of(magic: u32) -> Option<Self> {
        [Self::Images, Self::Labels].into_iter().find(|kind| kind.magic() == magic)
    }

    /// How many bytes stand before the data.
    pub fn header_bytes(self) -> usize {
        match self {
            Self::Images => 16,
            Self::Labels => 8,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Images => "images",
            Self::Labels => "labels",
        })
    }
}
