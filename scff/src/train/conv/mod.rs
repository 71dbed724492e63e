//! Training convolutions.
//!
//! U of every row is kept between the two halves of a step, relu(z) is not but computed again from it: it is one
//! multiplication and two additions, far less than writing and reading it. [`direct`] and [`winograd`] are the two ways to U
//! and to the weight gradient; goodness and dL/dU are elementwise and the same for both ([`elementwise`]). Where samples are
//! shared, a step needs nothing from others before its gradient is there, and not even U is kept ([`walk`]).

mod parts;
mod update;

mod direct;
mod walk;
mod winograd;

mod elementwise;
mod numbers;

use std::ops::Range;

use ndarray::Array2;
use rayon::prelude::*;

use self::direct::Direct;
pub(super) use self::walk::rows_of_a_call;
use self::walk::{Batch, Found};
use self::winograd::Winograd;
use super::block::{Block, Mapped};
use super::input::Paired;
use super::partial::{Partial, Round};
use super::sharing::Sharing;
use crate::goodness::{LossParameters, Objective};
use crate::layer::{Algorithm, ChannelRange, Conv, LayerMap, LayerSpec, LayerState};
use crate::matrix::matrix;
use crate::optimizer::Update;
use crate::pair::PairedRows;
use crate::winograd::Spectra;

/// What a convolution's map takes in place of the rows themselves, whatever its weights are: in Winograd's form these are
/// transformed.
pub(super) fn transformed(map: &LayerMap, input: Paired<'_>) -> Option<Spectra> {
    match (map, input) {
        (LayerMap::Conv(conv), Paired::Rows(input)) if conv.algorithm == Algorithm::Winograd => {
            Some(winograd::transformed(conv, input.rows()))
        }
        _ => None,
    }
}

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

    /// Writes the partial goodness of every pair: (blocks, pairs * positions). `transformed`: see [`transformed`].
    pub(super) fn forward(
        &mut self,
        input: &PairedRows,
        transformed: Option<Spectra>,
        partial: &mut Array2<f32>,
    ) {
        match &mut self.form {
            Form::Direct(direct) => direct.forward(&self.conv, &self.blocks, input, partial),
            Form::Winograd(winograd) => {
                let inputs = transformed.expect("rows are transformed first");
                winograd.forward(&self.conv, &self.blocks, (input, inputs), partial);
            }
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

    /// Where both are shared: gradients of the samples in each node of the tree of sample parts, (nodes, numbers); of the
    /// channels that are here, weights, (channels, fan-in), then biases and w. The pairs of `input` are those of the nodes'
    /// parts, a group for each.
    pub(super) fn gradients(
        &mut self,
        (input, coefficients): (&PairedRows, &[f32]),
        nodes: &[Range<usize>],
    ) -> Array2<f32> {
        match &mut self.form {
            Form::Direct(direct) => direct.gradients(&self.conv, &self.blocks, (input, coefficients), nodes),
            Form::Winograd(winograd) => winograd.gradients(&self.blocks, (input, coefficients), nodes),
        }
    }

    /// Where only samples are shared: gradients and losses of the groups of samples within `own`, and what is passed on for
    /// the pairs `passed_on`, which are of these.
    pub(super) fn walk(
        &self,
        (spec, loss): (&LayerSpec, &LossParameters),
        input: &PairedRows,
        own: &Range<usize>,
        passed_on: &[usize],
    ) -> (Partial, Array2<f32>) {
        let [block] = self.blocks.as_slice() else {
            unreachable!("whoever shares samples has all channels in one block")
        };
        let objective = Objective::new(input.order(), loss);
        let batch = Batch { spec, conv: &self.conv, block, input, objective };
        let groups = Sharing::Samples.sample_parts(spec, input.rows().nrows());
        let place = |sample| groups.partition_point(|group| group.start < sample);
        let within = place(own.start)..place(own.end);
        let Found { gradients, losses, passed_on } = batch.walk(&groups[within.clone()], passed_on);
        (Partial::of_parts(Round::Gradient, groups.len(), within, (gradients, losses)), passed_on)
    }

    /// Updates the parameters with a gradient: numbers as in [`Self::walk`].
    pub(super) fn update_transposed(&mut self, gradient: &[f32], update: &Update) {
        let channels = self.conv.channels;
        let (weight, of_channels) = gradient.split_at(channels * self.conv.fan_in());
        let weight = matrix(weight, channels).t().as_standard_layout().into_owned();
        self.update_with((weight.as_slice().expect("as it was made"), of_channels), update);
    }

    /// The same, numbers as in [`Self::gradients`].
    pub(super) fn update(&mut self, gradient: &[f32], update: &Update) {
        let weights = self.blocks.iter().map(|block| block.parameters.weight.len()).sum();
        self.update_with(gradient.split_at(weights), update);
    }

    /// Weights are (channels, fan-in); then come biases and w.
    fn update_with(&mut self, (weight, of_channels): (&[f32], &[f32]), update: &Update) {
        let fan_in = self.conv.fan_in();
        let (bias, weight_sums) = of_channels.split_at(of_channels.len() / 2);
        let first = self.blocks.first().map_or(0, |block| block.channels.start);
        self.blocks.par_iter_mut().for_each(|block| {
            let own = block.channels.start - first..block.channels.end - first;
            let rows = weight[own.start * fan_in..own.end * fan_in].par_chunks_exact(fan_in);
            block.update(update, rows, &bias[own.clone()], &weight_sums[own]);
        });
    }
}
