//! One pack of pairs, walked in one direction.

use ndarray::ArrayView2;

use crate::blas::product;
use crate::matrix::{matrix, matrix_mut};
use crate::recurrence::{Direction, Packed, advance};
use crate::sequence_pair::PairedSequences;

/// What a walk leaves behind for the gradient.
#[derive(Default)]
pub(super) struct Walk {
    /// h of every row of the pack: (rows, units).
    pub(super) hidden: Vec<f32>,
    /// The standardised state before every row: (rows, units).
    pub(super) before: Vec<f32>,
    /// The standardised state after the last step of every place: (places, units).
    last: Vec<f32>,
    /// The sum over units of h^2 in every row.
    pub(super) squares: Vec<f32>,
}

/// What a walk goes by.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) direction: Direction,
    /// U of the frames of all sequences: (frames, units).
    pub(super) mapped: &'a [f32],
    /// W_hh, (units, units).
    pub(super) weight: ArrayView2<'a, f32>,
    /// Both biases added up, (units).
    pub(super) bias: &'a [f32],
}

impl Walk {
    /// Walks the pairs of a pack. Where a pair goes on longer than one of its halves, the half is silent: its frames are
    /// zeros, and so is their U.
    pub(super) fn walk(&mut self, input: &PairedSequences, pack: &Packed, way: Way<'_>) {
        let units = way.bias.len();
        self.make_room(pack, units);
        let silence = vec![0.0; units];
        for step in 0..pack.steps() {
            let rows = pack.rows(step);
            let hidden = &mut self.hidden[rows.start * units..rows.end * units];
            let (before, after) = self.before.split_at_mut(rows.end * units);
            let before = &mut before[rows.start * units..];
            if step == 0 {
                before.fill(0.0);
                hidden.fill(0.0);
            } else {
                product(matrix(before, units), way.weight, &mut matrix_mut(hidden, units));
            }
            for (place, hidden) in hidden.chunks_exact_mut(units).enumerate() {
                let pair = input.pairs()[pack.members()[place]];
                let frame = way.direction.frame(step, pack.length(place));
                let at = |sequence: usize| {
                    let frames = input.sequences().range(sequence);
                    if frame < frames.len() {
                        &way.mapped[(frames.start + frame) * units..][..units]
                    } else {
                        silence.as_slice()
                    }
                };
                let second = pair.second.map_or(silence.as_slice(), at);
                let next = match pack.row(place, step + 1) {
                    Some(row) => &mut after[(row - rows.end) * units..][..units],
                    None => &mut self.last[place * units..][..units],
                };
                self.squares[rows.start + place] = advance(hidden, at(pair.first), second, way.bias, next);
            }
        }
    }

    fn make_room(&mut self, pack: &Packed, units: usize) {
        self.hidden.resize(pack.count() * units, 0.0);
        self.before.resize(pack.count() * units, 0.0);
        self.last.resize(pack.members().len() * units, 0.0);
        self.squares.resize(pack.count(), 0.0);
    }

    /// The standardised state after a step of the pair at a place, (units).
    pub(super) fn state(&self, pack: &Packed, place: usize, step: usize, units: usize) -> &[f32] {
        match pack.row(place, step + 1) {
            Some(row) => &self.before[row * units..][..units],
            None => &self.last[place * units..][..units],
        }
    }
}
