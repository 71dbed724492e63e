//! Maps: what image layers pass to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The shape of a map. Its numbers stand as (height, width, channels): all channels of a position side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MapShape {
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
    /// Channels, C.
    pub channels: usize,
}

impl MapShape {
    /// How many positions there are: H * W.
    pub fn positions(self) -> usize {
        self.height * self.width
    }

    /// How many numbers there are: H * W * C.
    #[expect(clippy::len_without_is_empty, reason = "no map is empty")]
    pub fn len(self) -> usize {
        self.positions() * self.channels
    }
}

/// `height x width x channels`
impl fmt::Display for MapShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}
