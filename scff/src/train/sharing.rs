//! What workers that share a layer divide among them.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::layer::{LayerMap, LayerSpec, Tiles};

/// What workers that share a layer divide among them.
///
/// It fixes the order in which numbers are added, so it is part of what fixes the bits; how many workers there are is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// The layer's channels, by blocks: what they exchange is goodness.
    #[default]
    Channels,
    /// The samples of each batch: each has all channels, and what they exchange are gradients. For convolutions of few
    /// weights and large maps that make their own pairs.
    Samples,
    /// Both, the samples of each batch and the layer's channels: they exchange goodness with those who have the same samples,
    /// then gradients with those who have the same channels. For convolutions that take pairs, so that the layers below,
    /// which run on pairs, are shared too.
    Grid,
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channels => "channels",
            Self::Samples => "samples",
            Self::Grid => "grid",
        })
    }
}

/// Parts of a batch in a grid. More would let more workers share the samples, but each part has products of its own, which
/// are slower the lower they are, and a gradient that is added up: sixteen are hardly seen in the step of one worker.
pub(super) const SAMPLE_PARTS: usize = 16;

impl Sharing {
    /// Whether `spec` can be shared so.
    pub fn suits(self, spec: &LayerSpec) -> bool {
        match self {
            Self::Channels => true,
            Self::Samples => {
                matches!(spec.map, LayerMap::Conv(conv) if conv.algorithm.is_direct()) && spec.makes_pairs()
            }
            Self::Grid => matches!(spec.map, LayerMap::Conv(_)) && !spec.makes_pairs(),
        }
    }

    /// Whether `spec` can be shared so where it learns from samples in one view or two.
    pub fn is_possible(self, spec: &LayerSpec, two_views: bool) -> bool {
        self.suits(spec) && (self != Self::Samples || !two_views)
    }

    /// Channels that cannot be divided any further, in order; one part where channels are not shared.
    pub fn channel_parts(self, spec: &LayerSpec) -> Vec<Range<usize>> {
        let parts = match self {
            Self::Channels | Self::Grid => spec.blocks(),
            Self::Samples => vec![spec.channels()],
        };
        parts.into_iter().map(|part| part.start..part.end).collect()
    }

    /// Samples of a batch of so many that cannot be divided any further, in order; one part where samples are not shared. In
    /// which order they stand the pairs say ([`PairOrder`](crate::pair_order::PairOrder)).
    pub fn sample_parts(self, spec: &LayerSpec, batch: usize) -> Vec<Range<usize>> {
        match (self, &spec.map) {
            (Self::Samples, LayerMap::Conv(conv)) => Tiles::new(conv, batch)
                .groups()
                .filter_map(|tiles| Some(tiles.first()?.start..tiles.last()?.end))
                .collect(),
            (Self::Grid, _) => {
                let parts = SAMPLE_PARTS.min(batch);
                (0..parts).map(|part| part * batch / parts..(part + 1) * batch / parts).collect()
            }
            _ => std::iter::once(0..batch).collect(),
        }
    }

    /// Numbers that are added up in each round of a step, of a layer with so many pairs in a batch.
    pub fn exchanged(self, spec: &LayerSpec, pairs: usize) -> Exchanged {
        let goodness = pairs * spec.map.output().positions();
        // A weight's gradient, and for each channel those of b and w.
        let gradient = spec.map.channels() * (spec.map.fan_in() + 2);
        match self {
            Self::Channels => Exchanged { goodness, gradient: 0 },
            Self::Samples => Exchanged { goodness: 0, gradient },
            Self::Grid => Exchanged { goodness, gradient },
        }
    }
}

/// Numbers of each round of a step, of one who owns all; 0 where there is no such round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// Of sums of squares, over channels.
    pub goodness: usize,
    /// Of a gradient, over samples.
    pub gradient: usize,
}

impl Exchanged {
    /// Numbers of both.
    pub fn total(self) -> usize {
        self.goodness + self.gradient
    }
}

/// What a worker owns of a layer: whole channel parts and whole sample parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Channels.
    pub channels: Range<usize>,
    /// Samples of each batch.
    pub samples: Range<usize>,
}
