//! What of a layer cannot be divided any further.

use std::ops::Range;

use scff::layer::LayerSpec;
use scff::train::Sharing;

use crate::grid::Grid;

/// Parts of a layer, each in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Channels.
    pub channels: Vec<Range<usize>>,
    /// Samples of each batch.
    pub samples: Vec<Range<usize>>,
}

impl Parts {
    /// Those of a layer that is shared so, in batches of so many samples.
    pub fn of(sharing: Sharing, spec: &LayerSpec, batch: usize) -> Self {
        Self { channels: sharing.channel_parts(spec), samples: sharing.sample_parts(spec, batch) }
    }

    /// The grid in which everybody has one.
    pub fn finest(&self) -> Grid {
        Grid { rows: self.samples.len(), columns: self.channels.len() }
    }
}
