//! How a frozen recurrent layer transforms sequences.
//!
//! Sequences are walked in packs of a fixed number, whatever came together, and all products of a pack are as tall; so what
//! is made of a sequence does not depend on its company (`tests/recurrent.rs` checks it). Nothing is ever padded.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};

use super::layer::{FrozenLayer, ROWS_PER_CALL};
use crate::blas::product_row_by_row;
use crate::layer::{BiRnn, Summary, WEIGHT_HH, WEIGHT_IH};
use crate::normalize::{Counting, standardize};
use crate::recurrence::{DIRECTIONS, Direction, Packed, advance};
use crate::sequence_pair::{PairedSequences, SequenceActivations};
use crate::sequences::Sequences;

/// Pairs of one product.
const PAIRS_PER_CALL: usize = 48;

impl FrozenLayer {
    /// What a recurrent layer passes on for single samples: in each frame, the standardised states of both directions.
    ///
    /// A layer that makes pairs sees a sample as the pair (i, i).
    pub fn transform_sequences(&self, samples: &Sequences) -> Sequences {
        self.walk(&PairedSequences::alone(samples.clone(), self.spec().makes_pairs()))
    }

    /// What a recurrent layer passes on for the pairs of a batch, each as long as the shorter of its halves.
    pub fn transform_sequence_pairs(&self, input: &PairedSequences) -> SequenceActivations {
        SequenceActivations { sequences: self.walk(input), positives: input.positives() }
    }

    /// What the readout reads of the states of sequences: (sequences, features).
    pub(super) fn summarize(&self, states: &Sequences) -> Array2<f32> {
        let birnn = self.birnn();
        let mut features = Array2::zeros((states.count(), birnn.summarized()));
        features.outer_iter_mut().into_par_iter().enumerate().for_each(|(index, mut out)| {
            summarize(birnn, states.sequence(index), out.as_slice_mut().expect("rows are contiguous"));
        });
        features
    }

    fn birnn(&self) -> &BiRnn {
        self.spec().map.recurrent().expect("only a recurrent layer reads sequences")
    }

    fn walk(&self, input: &PairedSequences) -> Sequences {
        let hidden = self.birnn().hidden;
        let mapped = self.map_frames(input.sequences().frames());
        let lengths = input.lengths();
        let packs = Packed::all(&lengths, PAIRS_PER_CALL);
        let walks: Vec<_> = packs.iter().flat_map(|pack| DIRECTIONS.map(|way| (pack, way))).collect();
        let walked: Vec<Vec<f32>> = walks
            .par_iter()
            .map(|(pack, direction)| self.walk_pack(input, mapped.view(), pack, *direction))
            .collect();
        let mut passed_on = Sequences::zeros(2 * hidden, lengths);
        let mut rows = passed_on.rows_mut();
        for ((pack, direction), states) in walks.into_iter().zip(walked) {
            let units = units(direction, hidden);
            for (place, &pair) in pack.members().iter().enumerate() {
                for (frame, out) in rows[pair].chunks_exact_mut(2 * hidden).enumerate() {
                    // Walking backward is its own inverse.
                    let step = direction.frame(frame, pack.length(place));
                    let row = pack.row(place, step).expect("it goes on so long");
                    out[units.clone()].copy_from_slice(&states[row * hidden..][..hidden]);
                }
            }
        }
        passed_on
    }

    /// U of all frames and both directions, each frame with the same bits wherever it stands: (frames, units).
    fn map_frames(&self, frames: ArrayView2<'_, f32>) -> Array2<f32> {
        let weight = self.parameters().matrix(WEIGHT_IH);
        let mut mapped = Array2::zeros((frames.nrows(), weight.nrows()));
        mapped
            .axis_chunks_iter_mut(Axis(0), ROWS_PER_CALL)
            .into_par_iter()
            .zip(frames.axis_chunks_iter(Axis(0), ROWS_PER_CALL))
            .for_each(|(mut mapped, frames)| {
                let mut rows = Array2::zeros((ROWS_PER_CALL, frames.ncols()));
                rows.slice_mut(s![..frames.nrows(), ..]).assign(&frames);
                let mut result = Array2::zeros((ROWS_PER_CALL, weight.nrows()));
                product_row_by_row(rows.view(), weight, &mut result.view_mut());
                mapped.assign(&result.slice(s![..frames.nrows(), ..]));
            });
        mapped
    }

    /// The standardised states of a pack's pairs in one direction: (rows of the pack, hidden units).
    fn walk_pack(
        &self,
        input: &PairedSequences,
        mapped: ArrayView2<'_, f32>,
        pack: &Packed,
        direction: Direction,
    ) -> Vec<f32> {
        let hidden = self.birnn().hidden;
        let Range { start, end } = units(direction, hidden);
        let weight = self.parameters().matrix(WEIGHT_HH);
        let weight = weight.slice(s![start..end, ..]);
        let bias = &self.bias.as_slice().expect("contiguous")[start..end];
        let silence = vec![0.0; hidden];
        let mut states = Array2::zeros((PAIRS_PER_CALL, hidden));
        let mut fresh = Array2::zeros((PAIRS_PER_CALL, hidden));
        let mut result = vec![0.0; pack.count() * hidden];
        for step in 0..pack.steps() {
            // All places are computed, also those that have ended: products are alike in every step.
            product_row_by_row(states.view(), weight, &mut fresh.view_mut());
            let rows = pack.rows(step);
            let places = result[rows.start * hidden..rows.end * hidden].chunks_exact_mut(hidden);
            for ((place, out), mut fresh) in places.enumerate().zip(fresh.outer_iter_mut()) {
                let pair = input.pairs()[pack.members()[place]];
                let frame = direction.frame(step, pack.length(place));
                let at = |sequence: usize| {
                    let row = mapped.row(input.sequences().range(sequence).start + frame);
                    &row.to_slice().expect("rows are contiguous")[start..end]
                };
                let second = pair.second.map_or(silence.as_slice(), at);
                let fresh = fresh.as_slice_mut().expect("rows are contiguous");
                advance(fresh, at(pair.first), second, bias, out);
                states.row_mut(place).as_slice_mut().expect("rows are contiguous").copy_from_slice(out);
            }
        }
        result
    }
}

/// The units of a direction among those of both.
fn units(direction: Direction, hidden: usize) -> Range<usize> {
    match direction {
        Direction::Forward => 0..hidden,
        Direction::Backward => hidden..2 * hidden,
    }
}

/// `states`: (frames, units of both directions).
fn summarize(birnn: &BiRnn, states: ArrayView2<'_, f32>, out: &mut [f32]) {
    let (frames, hidden) = (states.nrows(), birnn.hidden);
    match birnn.summary {
        Summary::Last => {
            for (direction, out) in DIRECTIONS.into_iter().zip(out.chunks_exact_mut(hidden)) {
                let last = states.row(direction.frame(frames - 1, frames));
                out.copy_from_slice(&last.to_slice().expect("contiguous")[units(direction, hidden)]);
            }
        }
        Summary::Mean => average(states, hidden, out),
        Summary::Thirds => {
            for (third, out) in out.chunks_exact_mut(2 * hidden).enumerate() {
                // Of fewer than three frames, some belong to several thirds.
                let start = third * frames / 3;
                let end = ((third + 1) * frames / 3).max(start + 1);
                average(states.slice(s![start..end, ..]), hidden, out);
            }
        }
    }
}

/// The mean of states over their frames, standardised for each direction.
fn average(states: ArrayView2<'_, f32>, hidden: usize, out: &mut [f32]) {
    for state in states.outer_iter() {
        for (sum, value) in out.iter_mut().zip(state) {
            *sum += value;
        }
    }
    for of_direction in out.chunks_exact_mut(hidden) {
        for sum in of_direction.iter_mut() {
            *sum /= states.nrows() as f32;
        }
        standardize(of_direction, &Counting::Once);
    }
}
