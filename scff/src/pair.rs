//! Pairs: what a layer sees of a batch.
//!
//! A pair (i, j) is the concatenation [x_i ; x_j] whose halves share the weights W. Standardised with its mean
//! m_ij and deviation s_ij over both halves, it maps to
//!
//! z_ij = W (x_i - m_ij)/s_ij + W (x_j - m_ij)/s_ij + 2b = (U_i + U_j - 2 m_ij w) / s_ij + 2b
//!
//! with U_i = W x_i and w[c] = sum of W[c, :] (of a convolution, U_i at every position of the padded x_i, and m and s
//! over both padded halves). So **one** linear map per row serves the positive and all negative
//! pairs that the row is part of. A layer of algorithm 1 takes whole pairs from below: each is one row, with
//! z = U + b. Both are a list of [`Pair`]s over rows, and everything above this module treats them alike.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::layer::LayerMap;
use crate::normalize::{Counting, EPSILON, Moments, moments, standardize, standardize_rows};
use crate::pair_order::PairOrder;

/// One pair: z = `scale` * (U[first] + U[second]) - `offset` * w + bias factor * b.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Row of the first half.
    pub first: usize,
    /// Row of the second half; `None` where a row is a whole pair (algorithm 1).
    pub second: Option<usize>,
    /// 1 / (1e-10 + s_ij).
    pub scale: f32,
    /// 2 m_ij / (1e-10 + s_ij).
    pub offset: f32,
}

/// Rows, standardised, and the pairs that are read from them.
#[derive(Clone, Debug)]
pub struct PairedRows {
    rows: Array2<f32>,
    pairs: Vec<Pair>,
    order: PairOrder,
    bias_factor: f32,
}

impl PairedRows {
    /// Makes the pairs of a batch of B samples (algorithm 2, and every first layer) that `map` reads.
    ///
    /// `rows`: (B, elements) where both halves of a pair are the same view, else (2B, elements), first halves
    /// before second halves. Rows are standardised here. Positive pair i is (i, i), negative pair i of shift k
    /// is (i, (i + k) mod B).
    pub fn make(rows: Array2<f32>, map: &LayerMap, two_views: bool, shifts: &[usize]) -> Self {
        let batch = if two_views { rows.nrows() / 2 } else { rows.nrows() };
        Self::make_in_order(rows, map, two_views, shifts, PairOrder::whole(batch, shifts.len()))
    }

    /// The same of the pairs that are in `order`, of all rows of the batch. Rows that they do not need are left out.
    pub fn make_in_order(
        rows: Array2<f32>,
        map: &LayerMap,
        two_views: bool,
        shifts: &[usize],
        order: PairOrder,
    ) -> Self {
        let (batch, _) = order.of_batch();
        assert_eq!(rows.nrows(), if two_views { 2 * batch } else { batch }, "a row for each sample and view");
        let mut halves: Vec<_> = halves(&order, two_views, shifts).collect();
        let mut rows = keep(rows, &mut halves);
        let counting = Counting::of(map);
        let count = 2.0 * counting.count(rows.ncols());
        let moments: Vec<Moments> = rows
            .outer_iter_mut()
            .into_par_iter()
            .map(|mut row| {
                let row = row.as_slice_mut().expect("rows are contiguous");
                standardize(row, &Counting::Once);
                moments(row, &counting)
            })
            .collect();
        let pairs = halves.into_iter().map(|(first, second)| join(count, &moments, first, second)).collect();
        Self { rows, pairs, order, bias_factor: 2.0 }
    }

    /// Takes the pairs that the layer below passed on (algorithm 1) for `map` to read: each row is a pair,
    /// standardised alone (padded).
    ///
    /// # Panics
    ///
    /// Where there are not as many negative pairs of each positive one.
    pub fn take(activations: PairActivations, map: &LayerMap) -> Self {
        let PairActivations { rows, positives } = activations;
        let negatives = (rows.nrows() / positives.max(1)).saturating_sub(1);
        Self::take_in_order(rows, map, PairOrder::whole(positives, negatives))
    }

    /// The same of pairs that stand in `order`.
    pub fn take_in_order(mut rows: Array2<f32>, map: &LayerMap, order: PairOrder) -> Self {
        assert_eq!(rows.nrows(), order.count(), "a row for each pair");
        standardize_rows(&mut rows, &Counting::of(map));
        let pairs = (0..rows.nrows()).map(whole).collect();
        Self { rows, pairs, order, bias_factor: 1.0 }
    }

    /// Taken pairs, those of them that are in another order; they stand positives first.
    #[must_use]
    pub fn in_order(self, order: PairOrder) -> Self {
        assert!(self.order.is_whole() && self.order.of_batch() == order.of_batch(), "pairs of one batch");
        let places: Vec<usize> = order.in_batch().collect();
        let rows = self.rows.select(Axis(0), &places);
        Self { pairs: (0..rows.nrows()).map(whole).collect(), rows, order, ..self }
    }

    /// The same samples seen alone, as a frozen layer sees them: pairs (i, i) for a layer that makes pairs,
    /// rows for one that takes them.
    pub fn alone(rows: Array2<f32>, map: &LayerMap, makes_pairs: bool) -> Self {
        if makes_pairs {
            return Self::make(rows, map, false, &[]);
        }
        let positives = rows.nrows();
        Self::take(PairActivations { rows, positives }, map)
    }

    /// The same pairs, of rows that stand in another order: each is followed by the one that it makes its first negative pair
    /// with, as far as that goes. So whoever owns consecutive rows needs few others. Of pairs that stand positives first.
    #[must_use]
    pub fn neighbouring(mut self) -> Self {
        assert!(self.order.is_whole(), "pairs that stand positives first");
        let mut partners = vec![None; self.rows.nrows()];
        for pair in self.pairs[self.positives()..].iter().rev() {
            partners[pair.first] = pair.second;
        }
        let mut places = vec![None; partners.len()];
        let mut order = Vec::with_capacity(partners.len());
        for start in 0..partners.len() {
            let mut next = Some(start);
            while let Some(row) = next.filter(|row| places[*row].is_none()) {
                places[row] = Some(order.len());
                order.push(row);
                next = partners[row];
            }
        }
        let place = |row: usize| places[row].expect("every row has a place");
        for pair in &mut self.pairs {
            pair.first = place(pair.first);
            pair.second = pair.second.map(place);
        }
        reorder(&mut self.rows, order);
        self
    }

    /// The rows' memory, for another batch.
    pub fn into_rows(self) -> Array2<f32> {
        self.rows
    }

    /// The standardised rows, (rows, elements).
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    /// The pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Their order, which is positives first where nothing else is asked for.
    pub fn order(&self) -> &PairOrder {
        &self.order
    }

    /// The rows of each group of pairs, where rows are pairs; else all, for pairs of any group may need them.
    pub(crate) fn groups(&self) -> Vec<Range<usize>> {
        if self.pairs.iter().any(|pair| pair.second.is_some()) {
            return std::iter::once(0..self.rows.nrows()).collect();
        }
        self.order.groups().collect()
    }

    /// How many of the pairs are positive.
    pub fn positives(&self) -> usize {
        self.order.samples()
    }

    /// How often the bias is added: 2 where pairs are made, 1 where they are taken.
    pub fn bias_factor(&self) -> f32 {
        self.bias_factor
    }
}

/// Moves the rows so that row `order[place]` stands at each place.
fn reorder(rows: &mut Array2<f32>, mut order: Vec<usize>) {
    let length = rows.ncols();
    let rows = rows.as_slice_mut().expect("rows are contiguous");
    for start in 0..order.len() {
        // Along a cycle: each place gets its row, and hands on what stood there.
        let mut place = start;
        while order[place] != start {
            let from = order[place];
            order[place] = place;
            let (low, high) = (place.min(from), place.max(from));
            let (head, tail) = rows.split_at_mut(high * length);
            head[low * length..][..length].swap_with_slice(&mut tail[..length]);
            place = from;
        }
        order[place] = place;
    }
}

/// What a frozen layer passes on for the pairs of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct PairActivations {
    /// (pairs, elements), positive pairs first.
    pub rows: Array2<f32>,
    /// How many of the pairs are positive.
    pub positives: usize,
}

impl PairActivations {
    /// Of the positive pairs, (pairs, elements).
    pub fn positive(&self) -> ArrayView2<'_, f32> {
        self.rows.slice(s![..self.positives, ..])
    }

    /// Of the negative pairs, (pairs, elements).
    pub fn negative(&self) -> ArrayView2<'_, f32> {
        self.rows.slice(s![self.positives.., ..])
    }
}

/// The rows of the halves of each pair, as [`PairedRows::make`] says.
pub(crate) fn halves(
    order: &PairOrder,
    two_views: bool,
    shifts: &[usize],
) -> impl Iterator<Item = (usize, usize)> {
    let (batch, _) = order.of_batch();
    for &shift in shifts {
        let possible = (1..batch).contains(&shift);
        assert!(possible, "a shift of {shift} makes no negative pairs in a batch of {batch}");
    }
    let second_half = if two_views { batch } else { 0 };
    order.pairs().map(move |(sample, turn)| {
        let shift = turn.checked_sub(1).map_or(0, |negative| shifts[negative]);
        (sample, second_half + (sample + shift) % batch)
    })
}

/// The rows that pairs need, in order, and the pairs of these.
fn keep(rows: Array2<f32>, pairs: &mut [(usize, usize)]) -> Array2<f32> {
    let mut needed = vec![false; rows.nrows()];
    for &(first, second) in &*pairs {
        (needed[first], needed[second]) = (true, true);
    }
    let kept: Vec<usize> = (0..rows.nrows()).filter(|&row| needed[row]).collect();
    if kept.len() == rows.nrows() {
        return rows;
    }
    for row in pairs.iter_mut().flat_map(|(first, second)| [first, second]) {
        *row = kept.partition_point(|kept| kept < row);
    }
    rows.select(Axis(0), &kept)
}

/// `count`: elements of both halves, padded.
fn join(count: f64, moments: &[Moments], first: usize, second: usize) -> Pair {
    let sum = moments[first].sum + moments[second].sum;
    let squares = moments[first].squares + moments[second].squares;
    let mean = sum / count;
    let deviation = ((squares - sum * mean).max(0.0) / (count - 1.0)).sqrt();
    let scale = 1.0 / (EPSILON + deviation);
    Pair { first, second: Some(second), scale: scale as f32, offset: (2.0 * mean * scale) as f32 }
}

fn whole(row: usize) -> Pair {
    Pair { first: row, second: None, scale: 1.0, offset: 0.0 }
}

/// z of one pair: scale * (first + second) - offset * w + b, over a range of channels.
///
/// `first`, `second`: U of the pair's rows; `constants`: w and the bias times its factor; all (channels).
#[inline(always)]
pub(crate) fn outputs(
    pair: &Pair,
    first: &[f32],
    second: Option<&[f32]>,
    constants: (&[f32], &[f32]),
    z: &mut [f32],
) {
    let Pair { scale, offset, .. } = *pair;
    let constants = constants.0.iter().zip(constants.1);
    match second {
        Some(second) => {
            for (((z, u), v), (w, b)) in z.iter_mut().zip(first).zip(second).zip(constants) {
                *z = (scale * (u + v) - offset * w) + b;
            }
        }
        None => {
            for ((z, u), (w, b)) in z.iter_mut().zip(first).zip(constants) {
                *z = (scale * u - offset * w) + b;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Dense;

    #[test]
    fn neighbouring_rows_are_partners_and_pairs_stay_what_they_are() {
        let map = LayerMap::Dense(Dense { inputs: 2, outputs: 3 });
        // With 10 samples, a shift of 4 leads round twice, one of 3 once.
        for (shifts, apart) in [(&[4][..], 2), (&[3], 1), (&[5], 5), (&[7, 2], 1), (&[], 10)] {
            let rows = Array2::from_shape_fn((10, 2), |(row, column)| (7 * row * row + row * column) as f32);
            let made = PairedRows::make(rows, &map, false, shifts);
            let moved = made.clone().neighbouring();
            let content = |rows: &PairedRows, row: usize| rows.rows().row(row).to_vec();
            for (before, after) in made.pairs().iter().zip(moved.pairs()) {
                assert_eq!((before.scale, before.offset), (after.scale, after.offset));
                assert_eq!(content(&made, before.first), content(&moved, after.first));
                let seconds = before.second.zip(after.second).expect("made pairs have two halves");
                assert_eq!(content(&made, seconds.0), content(&moved, seconds.1));
            }
            let negatives = &moved.pairs()[10..20.min(moved.pairs().len())];
            let jumps = negatives.iter().filter(|pair| pair.second != Some(pair.first + 1)).count();
            assert_eq!(jumps, if shifts.is_empty() { 0 } else { apart }, "{shifts:?}");
        }
    }
}
