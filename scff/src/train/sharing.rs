//! What workers that share a layer divide among them, and what they exchange in each step.

use std::ops::Range;

use ndarray::{Array2, aview1};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::finite::all_finite;
use crate::goodness::{Loss, PartialGoodness};
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
}

impl Sharing {
    /// Whether `spec` can be shared so.
    pub fn suits(self, spec: &LayerSpec) -> bool {
        match self {
            Self::Channels => true,
            Self::Samples => {
                matches!(spec.map, LayerMap::Conv(conv) if conv.algorithm.is_direct()) && spec.makes_pairs()
            }
        }
    }

    /// Whether `spec` can be shared so where it learns from samples in one view or two.
    pub fn is_possible(self, spec: &LayerSpec, two_views: bool) -> bool {
        self.suits(spec) && (self == Self::Channels || !two_views)
    }

    /// What cannot be divided any further, in order: channel blocks, or samples whose gradients are added up first, of a batch
    /// of so many.
    pub fn parts(self, spec: &LayerSpec, samples: usize) -> Vec<Range<usize>> {
        match (self, &spec.map) {
            (Self::Samples, LayerMap::Conv(conv)) => Tiles::new(conv, samples)
                .groups()
                .filter_map(|tiles| Some(tiles.first()?.start..tiles.last()?.end))
                .collect(),
            _ => spec.blocks().into_iter().map(|block| block.start..block.end).collect(),
        }
    }

    /// Numbers that a worker hands to the next in each step, of a layer with so many pairs in a batch.
    pub fn exchanged(self, spec: &LayerSpec, pairs: usize) -> usize {
        match self {
            Self::Channels => pairs * spec.map.output().positions(),
            // A weight's gradient, and for each channel those of b and w.
            Self::Samples => spec.map.channels() * (spec.map.fan_in() + 2),
        }
    }
}

/// Numbers of a gradient that are added up together: a task.
const NUMBERS: usize = 1024;

/// What one worker adds to what a step needs of all that share the layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// Goodness of its channel blocks.
    Goodness(PartialGoodness),
    /// Gradients of its samples.
    Gradient(PartialGradient),
}

/// Gradients of some samples of a batch, not added up yet.
#[derive(Clone, Debug, PartialEq)]
pub struct PartialGradient {
    /// (parts, numbers of a gradient).
    pub(super) gradients: Array2<f32>,
    /// Of each pair whose first half is one of the samples, in the order of the samples.
    pub(super) losses: Vec<Loss>,
}

/// Sums over all that share a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Goodness, (pairs * positions), or a gradient.
    pub numbers: Vec<f32>,
    /// Of the pairs, where samples are shared; goodness says it otherwise.
    pub loss: Loss,
}

impl Sums {
    /// Whether all of it is finite. Where it is not, no update can be made of it.
    pub fn is_finite(&self) -> bool {
        all_finite(&aview1(&self.numbers)) && self.loss.is_finite()
    }
}

impl Partial {
    /// Zeros, to add to.
    pub fn zeros(&self) -> Sums {
        let numbers = match self {
            Self::Goodness(goodness) => goodness.0.ncols(),
            Self::Gradient(gradient) => gradient.gradients.ncols(),
        };
        Sums { numbers: vec![0.0; numbers], loss: Loss::default() }
    }

    /// Adds it to the sums of those with lower channels or samples, in order: so they have the same bits however the layer is
    /// shared.
    pub fn add_to(&self, sums: &mut Sums) {
        match self {
            Self::Goodness(goodness) => goodness.add_to(&mut sums.numbers),
            Self::Gradient(PartialGradient { gradients, losses }) => {
                sums.numbers.par_chunks_mut(NUMBERS).enumerate().for_each(|(chunk, sums)| {
                    let numbers = chunk * NUMBERS..chunk * NUMBERS + sums.len();
                    for gradient in gradients.outer_iter() {
                        let gradient = gradient.to_slice().expect("rows are contiguous");
                        for (sum, value) in sums.iter_mut().zip(&gradient[numbers.clone()]) {
                            *sum += value;
                        }
                    }
                });
                for loss in losses {
                    sums.loss += *loss;
                }
            }
        }
    }

    /// The sums where nobody shares the layer.
    pub fn total(&self) -> Sums {
        let mut sums = self.zeros();
        self.add_to(&mut sums);
        sums
    }
}
