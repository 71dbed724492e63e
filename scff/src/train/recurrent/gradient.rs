//! Gradients of some units of one direction.

use std::ops::Range;

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;

use super::walk::Walk;
use crate::matrix::{matrix, matrix_mut};
use crate::recurrence::{Direction, Packed, add};
use crate::scratch::{Buffer, buffer};
use crate::sequence_pair::PairedSequences;

/// Rows of one product: what is multiplied stays in cache.
const ROWS: usize = 512;

/// What walks in one direction have left behind, and what is passed back to them.
#[derive(Clone, Copy)]
pub(super) struct Passed<'a> {
    pub(super) input: &'a PairedSequences,
    pub(super) direction: Direction,
    pub(super) packs: &'a [Packed],
    pub(super) walks: &'a [Walk],
    /// Units of the direction.
    pub(super) units: usize,
    /// 2/C dL/dg of every frame of every pair, one pair after another.
    pub(super) coefficients: &'a [f32],
    /// Where each pair's begin.
    pub(super) offsets: &'a [usize],
}

/// The gradient of some units.
pub(super) struct Gradient {
    /// Of W_ih, (units, features).
    pub(super) frames: Buffer,
    /// Of W_hh, (units, all units).
    pub(super) states: Buffer,
    /// Of each of the biases, (units).
    pub(super) bias: Vec<f32>,
}

impl Gradient {
    /// That of the units `own`.
    pub(super) fn new(passed: Passed<'_>, own: Range<usize>) -> Self {
        let frames = passed.input.sequences().frames();
        let mut gradient = Self {
            frames: buffer(own.len() * frames.ncols()),
            states: buffer(own.len() * passed.units),
            bias: vec![0.0; own.len()],
        };
        gradient.states.fill(0.0);
        // dL/dU, (frames, units).
        let mut mapped = buffer(frames.nrows() * own.len());
        mapped.fill(0.0);
        for (pack, walk) in passed.packs.iter().zip(passed.walks) {
            gradient.add_walk(passed, pack, walk, &own, &mut mapped);
        }
        let mapped = matrix(&mapped, own.len());
        let mut of_frames = matrix_mut(&mut gradient.frames, frames.ncols());
        general_mat_mul(1.0, &mapped.t(), &frames, 0.0, &mut of_frames);
        gradient
    }

    fn add_walk(
        &mut self,
        passed: Passed<'_>,
        pack: &Packed,
        walk: &Walk,
        own: &Range<usize>,
        mapped: &mut [f32],
    ) {
        let units = passed.units;
        // dL/dz of some rows, (rows, units).
        let mut back = buffer(ROWS.min(pack.count()) * own.len());
        let mut cells = pack.cells();
        // Before the first step there is no state, and the gradient of W_hh has no part of it.
        let first = pack.rows(0).end;
        for start in (0..pack.count()).step_by(ROWS) {
            let rows = start..(start + ROWS).min(pack.count());
            let hidden = walk.hidden[rows.start * units..rows.end * units].chunks_exact(units);
            let back = &mut back[..rows.len() * own.len()];
            for ((hidden, back), cell) in hidden.zip(back.chunks_exact_mut(own.len())).zip(&mut cells) {
                self.add_row(passed, pack, cell, &hidden[own.clone()], back, mapped);
            }
            let after = rows.start.max(first)..rows.end;
            if !after.is_empty() {
                let back = matrix(&back[(after.start - rows.start) * own.len()..], own.len());
                let before = matrix(&walk.before[after.start * units..after.end * units], units);
                let mut states = matrix_mut(&mut self.states, units);
                general_mat_mul(1.0, &back.t(), &before, 1.0, &mut states);
            }
        }
    }

    /// Writes dL/dz of one row to `back`, and adds it to the biases' gradient and to dL/dU of the frames that it was made of.
    fn add_row(
        &mut self,
        passed: Passed<'_>,
        pack: &Packed,
        (place, step): (usize, usize),
        hidden: &[f32],
        back: &mut [f32],
        mapped: &mut [f32],
    ) {
        let index = pack.members()[place];
        let frame = passed.direction.frame(step, pack.length(place));
        scale(passed.coefficients[passed.offsets[index] + frame], hidden, back, &mut self.bias);
        let pair = passed.input.pairs()[index];
        for sequence in [Some(pair.first), pair.second].into_iter().flatten() {
            let frames = passed.input.sequences().range(sequence);
            if frame < frames.len() {
                add(&mut mapped[(frames.start + frame) * back.len()..][..back.len()], back);
            }
        }
    }
}

/// to = factor * from, and sums += to
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn scale(factor: f32, from: &[f32], to: &mut [f32], sums: &mut [f32]) {
    for ((from, to), sum) in from.iter().zip(to).zip(sums) {
        *to = factor * from;
        *sum += *to;
    }
}
