//! The direct form where samples are shared: a walk along a batch whose neighbours are partners, on which everything that a
//! sample needs is made, used and forgotten while it is in cache.
//!
//! A sample is lowered and mapped, call by call, and its goodness with those at hand taken of each call's U; the losses of its
//! pairs follow. A sample all of whose pairs are known gives its part of the gradient. So a walk holds few samples at a time
//! (three, and one to close the ring), and U of a batch never goes to memory.
//!
//! Threads walk along parts of the batch, and map the samples beside their own once more. All that a sample or a pair adds is
//! computed alike on each walk, so nobody can tell how many there were.

use std::ops::Range;

use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use rayon::prelude::*;

use super::elementwise::{ChannelSums, Channels, Others, Pairs, add};
use super::parts::{Part, parts};
use crate::frozen::transmit;
use crate::goodness::{Loss, Objective};
use crate::layer::{Conv, LayerSpec};
use crate::matrix::{matrix, matrix_mut};
use crate::pair::PairedRows;
use crate::scratch::{Buffer, buffer};
use crate::train::block::Block;
use crate::winograd::evenly;

/// Multiply-adds of a call that OpenBLAS makes without packing its operands, where its kernel can: those of layers of few
/// inputs and channels are a third faster so.
const SMALL: usize = 1_000_000;
/// Rows below which such calls are not worth it, and rows of a call then.
const FEW: usize = 32;
const MANY: usize = 512;
/// Samples that are worth a walk, beside which two are mapped once more.
const SAMPLES: usize = 8;
/// Walks for each thread: one that is held up leaves the others to those who are not.
const WALKS: usize = 2;

/// What a batch's walks have in common.
pub(super) struct Batch<'a> {
    pub(super) spec: &'a LayerSpec,
    pub(super) conv: &'a Conv,
    /// All channels.
    pub(super) block: &'a Block,
    pub(super) input: &'a PairedRows,
    pub(super) objective: Objective,
}

/// What walks along a batch bring.
pub(super) struct Found {
    /// (groups, numbers): weights as (fan-in, channels), biases and w.
    pub(super) gradients: Array2<f32>,
    /// Of the pairs whose first half is in each group.
    pub(super) losses: Vec<Loss>,
    /// What is passed on for the pairs that were asked for.
    pub(super) passed_on: Array2<f32>,
}

impl Batch<'_> {
    /// Gradients of groups of consecutive samples, and what is passed on for some pairs, of which each must have its first half
    /// in a group.
    pub(super) fn walk(&self, groups: &[Range<usize>], passed_on: &[usize]) -> Found {
        let standard = "contiguous";
        let plan = Plan::new(self);
        let numbers = self.block.parameters.weight.len() + 2 * self.conv.channels;
        let mut gradients = Array2::zeros((groups.len(), numbers));
        let mut rows = Array2::zeros((passed_on.len(), self.spec.outputs()));
        let outs = rows.outer_iter_mut().map(|row| row.into_slice().expect(standard));
        let mut outs: Vec<(usize, &mut [f32])> = passed_on.iter().copied().zip(outs).collect();
        let samples: usize = groups.iter().map(ExactSizeIterator::len).sum();
        let walks =
            (WALKS * rayon::current_num_threads()).min(samples / SAMPLES).clamp(1, groups.len().max(1));
        let mut rest = gradients.outer_iter_mut();
        let mut walks: Vec<_> = evenly(groups.len(), groups.len().div_ceil(walks))
            .map(|range| {
                let groups = &groups[range];
                let own =
                    groups.first().map_or(0, |group| group.start)..groups.last().map_or(0, |group| group.end);
                let first = |out: &mut (usize, _)| own.contains(&self.input.pairs()[out.0].first);
                let walk = Walk::new(&plan, own.clone(), outs.extract_if(.., first).collect());
                let gradients = rest.by_ref().take(groups.len());
                let gradients: Vec<_> = gradients.map(|row| row.into_slice().expect(standard)).collect();
                (walk, groups, gradients)
            })
            .collect();
        walks.par_iter_mut().for_each(|(walk, groups, gradients)| {
            groups.iter().zip(gradients).for_each(|(group, gradient)| walk.group(group.clone(), gradient));
        });
        let losses = walks.into_iter().flat_map(|(walk, ..)| walk.losses).collect();
        Found { gradients, losses: self.losses_of(groups, losses), passed_on: rows }
    }

    /// The sum of each group's losses, in the order of its samples and their pairs.
    fn losses_of(&self, groups: &[Range<usize>], mut losses: Vec<(usize, Loss)>) -> Vec<Loss> {
        let first = |pair: usize| self.input.pairs()[pair].first;
        losses.sort_by_key(|(pair, _)| (first(*pair), *pair));
        let mut rest = losses.into_iter().peekable();
        let of_group = |group: &Range<usize>| {
            let mut sum = Loss::default();
            while let Some((_, loss)) = rest.next_if(|(pair, _)| group.contains(&first(*pair))) {
                sum += loss;
            }
            sum
        };
        groups.iter().map(of_group).collect()
    }
}

/// What is derived of a batch once.
struct Plan<'a> {
    batch: &'a Batch<'a>,
    parts: Vec<Vec<Part>>,
    /// Of each pair.
    positive: Vec<bool>,
    channels: Channels<'a>,
    /// b, as often as it is added.
    bias: Vec<f32>,
    pairs: Pairs<'a>,
    /// (fan-in, channels)
    weight: Array2<f32>,
    /// The positions of each call.
    calls: Vec<Range<usize>>,
}

impl<'a> Plan<'a> {
    fn new(batch: &'a Batch<'a>) -> Self {
        let Batch { conv, block, input, .. } = batch;
        let channels = block.constants();
        Self {
            batch,
            parts: parts(input),
            positive: input.order().positive().collect(),
            channels,
            bias: channels.bias.iter().map(|bias| input.bias_factor() * bias).collect(),
            pairs: Pairs::new(input, channels),
            weight: block.parameters.weight.t().as_standard_layout().into_owned(),
            calls: evenly(conv.output().positions(), rows_of_a_call(conv)).collect(),
        }
    }
}

/// The most rows of patches that are multiplied at once.
pub(in crate::train) fn rows_of_a_call(conv: &Conv) -> usize {
    match SMALL / (conv.channels * conv.fan_in()) {
        rows if rows < FEW => MANY,
        rows => rows,
    }
}

/// A sample, as long as pairs need it.
struct Sample {
    /// (positions, fan-in)
    patches: Buffer,
    /// U: (positions, channels)
    mapped: Buffer,
}

/// A walk along consecutive samples.
struct Walk<'a> {
    plan: &'a Plan<'a>,
    own: Range<usize>,
    /// Of each sample the last own one that needs it.
    last: Vec<usize>,
    at_hand: Vec<Option<Sample>>,
    /// 2/C dL/dg of the pairs that are known: (positions).
    coefficients: Vec<Vec<f32>>,
    losses: Vec<(usize, Loss)>,
    /// Where what is passed on is written, for some of the own pairs.
    outs: Vec<(usize, &'a mut [f32])>,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan<'a>, own: Range<usize>, outs: Vec<(usize, &'a mut [f32])>) -> Self {
        let input = plan.batch.input;
        let mut last = vec![0; plan.parts.len()];
        for row in own.clone() {
            last[row] = last[row].max(row);
            for other in plan.parts[row].iter().filter_map(|part| part.other) {
                last[other] = last[other].max(row);
            }
        }
        Self {
            plan,
            own,
            last,
            at_hand: plan.parts.iter().map(|_| None).collect(),
            coefficients: vec![Vec::new(); input.pairs().len()],
            losses: Vec::new(),
            outs,
        }
    }

    /// The gradient of consecutive own samples.
    fn group(&mut self, group: Range<usize>, gradient: &mut [f32]) {
        let plan = self.plan;
        let (weight, of_channels) = gradient.split_at_mut(plan.weight.len());
        let mut sums = ChannelSums::zeros(plan.channels.bias.len());
        for row in group.clone() {
            let others = plan.parts[row].iter().filter_map(|part| part.other);
            for needed in std::iter::once(row).chain(others.clone()) {
                if self.at_hand[needed].is_none() {
                    self.map(needed);
                }
            }
            self.differentiate(row, row == group.start, weight, &mut sums);
            for done in std::iter::once(row).chain(others).filter(|&needed| self.last[needed] == row) {
                self.at_hand[done] = None;
            }
        }
        let (bias, weight_sums) = of_channels.split_at_mut(sums.bias.len());
        bias.copy_from_slice(&sums.bias);
        weight_sums.copy_from_slice(&sums.weight_sums);
    }

    /// Maps a sample, and goes through its pairs with those at hand.
    fn map(&mut self, row: usize) {
        let Plan { batch: Batch { conv, input, .. }, pairs, weight, calls, parts, .. } = self.plan;
        let own = |row: usize| self.own.contains(&row);
        let wanted = |part: &&Part| own(row) || part.other.is_some_and(own);
        let known =
            |part: &&Part| part.other.is_none_or(|other| other == row || self.at_hand[other].is_some());
        let parts: Vec<&Part> = parts[row].iter().filter(wanted).filter(known).collect();
        let (fan_in, positions) = (conv.fan_in(), conv.output().positions());
        let mut padded = buffer(conv.padded().len());
        conv.pad(input.rows().row(row).to_slice().expect("rows are contiguous"), &mut padded);
        let mut patches = buffer(positions * fan_in);
        let mut mapped = buffer(positions * conv.channels);
        let mut squares = vec![vec![0.0; positions]; parts.len()];
        for call in calls {
            let patches = &mut patches[call.start * fan_in..call.end * fan_in];
            conv.lower(&padded, call.start, patches);
            let numbers = call.start * conv.channels..call.end * conv.channels;
            let out = &mut mapped[numbers.clone()];
            let patches = matrix(patches, fan_in);
            general_mat_mul(1.0, &patches, weight, 0.0, &mut matrix_mut(out, conv.channels));
            for (part, squares) in parts.iter().zip(&mut squares) {
                let other = part.other.map(|other| match &self.at_hand[other] {
                    Some(sample) => &sample.mapped[numbers.clone()],
                    None => &*out,
                });
                pairs.goodness_of(part.pair, (out, other), 0..conv.channels, &mut squares[call.clone()]);
            }
        }
        self.at_hand[row] = Some(Sample { patches, mapped });
        for (part, squares) in parts.into_iter().zip(squares) {
            self.learn(part.pair, squares);
        }
    }

    /// The loss of a pair whose samples are at hand, of its sums of squares, and what is passed on for it.
    fn learn(&mut self, index: usize, squares: Vec<f32>) {
        let Plan { batch: Batch { spec, input, objective, .. }, channels, bias, .. } = self.plan;
        let pair = &input.pairs()[index];
        let count = channels.bias.len() as f32;
        let goodness: Vec<f32> = squares.into_iter().map(|sum| sum / count).collect();
        let mut slopes = vec![0.0; goodness.len()];
        let loss = objective.of_pair(self.plan.positive[index], &goodness, &mut slopes);
        // dL/dz_c = (2 / C) relu(z_c) dL/dg: all but relu(z_c).
        self.coefficients[index] = slopes.into_iter().map(|slope| slope * (2.0 / count)).collect();
        if !self.own.contains(&pair.first) {
            return;
        }
        self.losses.push((index, loss));
        if let Some((_, out)) = self.outs.iter_mut().find(|(pair, _)| *pair == index) {
            let at_hand = &self.at_hand;
            let mapped = |row: usize| &*at_hand[row].as_ref().expect("both are at hand").mapped;
            let constants = (channels.weight_sums, bias.as_slice());
            transmit(spec, constants, pair, mapped(pair.first), pair.second.map(mapped), out);
        }
    }

    /// Adds the weight gradient of a sample all of whose pairs are known, or begins anew. What was mapped last is taken first,
    /// for it is in cache.
    fn differentiate(&self, row: usize, anew: bool, weight: &mut [f32], sums: &mut ChannelSums) {
        let Plan { batch: Batch { conv, .. }, pairs, calls, parts, .. } = self.plan;
        let sample = |row: usize| self.at_hand[row].as_ref().expect("all that pairs need is at hand");
        let mut weight = matrix_mut(weight, conv.channels);
        let mut anew = anew;
        for call in calls.iter().rev() {
            let numbers = call.start * conv.channels..call.end * conv.channels;
            let mapped = |row: usize| &sample(row).mapped[numbers.clone()];
            let others =
                Others { mapped: &mapped, coefficients: &|pair| &self.coefficients[pair][call.clone()] };
            let mut out = buffer(numbers.len());
            let mut of_call = ChannelSums::zeros(conv.channels);
            pairs.slopes(mapped(row), &parts[row], &others, &mut out, &mut of_call);
            add(&mut sums.bias, &of_call.bias);
            add(&mut sums.weight_sums, &of_call.weight_sums);
            let patches = &sample(row).patches[call.start * conv.fan_in()..call.end * conv.fan_in()];
            let patches = matrix(patches, conv.fan_in());
            let out = matrix(&out, conv.channels);
            general_mat_mul(1.0, &patches.t(), &out, if anew { 0.0 } else { 1.0 }, &mut weight);
            anew = false;
        }
    }
}
