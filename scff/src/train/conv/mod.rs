//! Training convolutions.
//!
//! U of every row is kept between the two halves of a step, relu(z) is not but computed again from it: it is one
//! multiplication and two additions, far less than writing and reading it. [`direct`] and [`winograd`] are the two ways to U
//! and to the weight gradient; goodness and dL/dU are elementwise and the same for both ([`elementwise`]).

mod parts;
mod update;

mod direct;
mod winograd;

mod elementwise;

use std::ops::Range;

use ndarray::Array2;
use rayon::prelude::*;

use self::direct::Direct;
use self::winograd::Winograd;
use super::block::{Block, Mapped};
use crate::layer::{Algorithm, ChannelRange, Conv, LayerState};
use crate::optimizer::Update;
use crate::pair::PairedRows;

/// The channel blocks of a convolution.
pub(super) struct ConvLayer {
    conv: Conv,
    blocks: Vec<Block>,
    form: Form,
}

/// How U and the weight gradient are computed, and what is kept for that.
enum Form {
    Direct(Direct),
    Winograd(Winograd),
}

impl ConvLayer {
    pub(super) fn new(conv: Conv, blocks: &[ChannelRange], state: &LayerState) -> Self {
        let form = match conv.algorithm {
            Algorithm::Direct => Form::Direct(Direct::default()),
            Algorithm::Winograd => Form::Winograd(Winograd::new(&conv)),
        };
        let blocks = blocks.iter().map(|&channels| Block::new(channels, state)).collect();
        Self { conv, blocks, form }
    }

    /// Its blocks, in order.
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.blocks.iter()
    }

    /// U of every row after [`Self::forward`], of all channels in order.
    pub(super) fn mapped(&self) -> Vec<Mapped<'_>> {
        match &self.form {
            Form::Direct(direct) => direct.mapped(&self.blocks).collect(),
            Form::Winograd(winograd) => winograd.mapped().collect(),
        }
    }

    /// Writes the partial goodness of every pair that is wanted: (blocks, pairs * positions).
    pub(super) fn forward(
        &mut self,
        input: &PairedRows,
        wanted: impl Fn(usize) -> bool + Sync,
        partial: &mut Array2<f32>,
    ) {
        match &mut self.form {
            Form::Direct(direct) => direct.forward(&self.conv, &self.blocks, input, wanted, partial),
            Form::Winograd(winograd) => winograd.forward(&self.conv, &self.blocks, input, partial),
        }
    }

    /// Gradients of all rows, and the update; `coefficients`: 2/C dL/dg of every pair and position.
    pub(super) fn backward(&mut self, input: &PairedRows, coefficients: &[f32], update: &Update) {
        match &mut self.form {
            Form::Direct(direct) => {
                direct.backward(&self.conv, &mut self.blocks, (input, coefficients), update);
            }
            Form::Winograd(winograd) => winograd.backward(&mut self.blocks, (input, coefficients), update),
        }
    }

    /// The gradients of the groups of rows within `own`, each: (groups, numbers), for each block of weights, biases and w.
    pub(super) fn gradients(
        &mut self,
        input: &PairedRows,
        coefficients: &[f32],
        own: &Range<usize>,
    ) -> Array2<f32> {
        match &mut self.form {
            Form::Direct(direct) => direct.gradients(&self.conv, &self.blocks, (input, coefficients), own),
            Form::Winograd(_) => unreachable!("samples are shared of direct convolutions only"),
        }
    }

    /// Updates the parameters with a gradient: numbers as in [`Self::gradients`].
    pub(super) fn update(&mut self, mut gradient: Vec<f32>, update: &Update) {
        let mut rest = gradient.as_mut_slice();
        for block in &mut self.blocks {
            let channels = block.channels.len();
            let fan_in = block.parameters.weight.ncols();
            let (weight, others) = rest.split_at_mut(channels * fan_in);
            let (bias, others) = others.split_at_mut(channels);
            let (weight_sums, others) = others.split_at_mut(channels);
            block.update(update, weight.par_chunks_exact(fan_in), bias, weight_sums);
            rest = others;
        }
    }
}
