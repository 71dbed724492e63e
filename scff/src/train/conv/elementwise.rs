//! What goodness and dL/dU are of U: elementwise, over the channels of a block or of several.
//!
//! relu(z) = scale * relu(U_i + U_j + shift), for a scale is positive: what scales a pair is multiplied with sums, or with what is
//! known of a position.

use std::ops::Range;

use multiversion::multiversion;

use super::parts::Part;
use crate::pair::{Pair, PairedRows};

/// Sums over a batch, for each channel: of the gradients of b and of w.
#[derive(Clone, Default)]
pub(super) struct ChannelSums {
    pub(super) bias: Vec<f32>,
    pub(super) weight_sums: Vec<f32>,
}

/// What z is besides U, of some channels of a layer: (channels) each.
#[derive(Clone, Copy)]
pub(super) struct Channels<'a> {
    pub(super) bias: &'a [f32],
    pub(super) weight_sums: &'a [f32],
}

/// The pairs of a batch in some channels of a layer.
pub(super) struct Pairs<'a> {
    input: &'a PairedRows,
    channels: usize,
    /// Of each pair, what z is besides its U, over its scale: (pairs, channels).
    shifts: Vec<f32>,
}

/// What the pairs of a row need of a batch; positions as those of the row's U.
pub(super) struct Others<'a, 'f> {
    /// U of another row, (positions, channels).
    pub(super) mapped: &'f dyn Fn(usize) -> &'a [f32],
    /// 2/C dL/dg of a pair, (positions).
    pub(super) coefficients: &'f dyn Fn(usize) -> &'a [f32],
}

impl ChannelSums {
    pub(super) fn zeros(channels: usize) -> Self {
        Self { bias: vec![0.0; channels], weight_sums: vec![0.0; channels] }
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.bias, &other.bias);
        add(&mut self.weight_sums, &other.weight_sums);
    }
}

impl<'a> Pairs<'a> {
    pub(super) fn new(input: &'a PairedRows, Channels { bias, weight_sums }: Channels<'_>) -> Self {
        let channels = bias.len();
        let mut shifts = vec![0.0; input.pairs().len() * channels];
        for (pair, shifts) in input.pairs().iter().zip(shifts.chunks_exact_mut(channels)) {
            shift(pair, (input.bias_factor(), bias), weight_sums, shifts);
        }
        Self { input, channels, shifts }
    }

    fn shift(&self, pair: usize) -> &[f32] {
        &self.shifts[pair * self.channels..][..self.channels]
    }

    /// Writes the sums over the channels `range` of relu(z)^2 of one pair, (positions), of U of every row, (rows, positions,
    /// channels).
    pub(super) fn goodness(&self, pair: usize, (mapped, range): (&[f32], Range<usize>), out: &mut [f32]) {
        let sample = out.len() * self.channels;
        let row = |row: usize| &mapped[row * sample..][..sample];
        let Pair { first, second, .. } = self.input.pairs()[pair];
        self.goodness_of(pair, (row(first), second.map(row)), range, out);
    }

    /// The same of U of the pair's rows, (positions, channels).
    pub(super) fn goodness_of(
        &self,
        pair: usize,
        (first, second): (&[f32], Option<&[f32]>),
        range: Range<usize>,
        out: &mut [f32],
    ) {
        let shape = (self.input.pairs()[pair].scale, self.channels);
        let second = second.map(|second| &second[range.start..]);
        goodness_of_pair(shape, &self.shift(pair)[range.clone()], &first[range.start..], second, out);
    }

    /// dL/dU of a row, (positions, channels), and what its pairs add to `sums`; of U of every row, and of 2/C dL/dg of every pair and
    /// position.
    pub(super) fn slopes_of_row(
        &self,
        coefficients: &[f32],
        (mapped, row): (&[f32], usize),
        parts: &[Part],
        out: &mut [f32],
        sums: &mut ChannelSums,
    ) {
        let (sample, positions) = (out.len(), out.len() / self.channels);
        let others = Others {
            mapped: &|row| &mapped[row * sample..][..sample],
            coefficients: &|pair| &coefficients[pair * positions..][..positions],
        };
        self.slopes((others.mapped)(row), parts, &others, out, sums);
    }

    /// dL/dU of a row, (positions, channels), of its U, and what its pairs add to `sums`.
    pub(super) fn slopes(
        &self,
        own: &[f32],
        parts: &[Part],
        Others { mapped, coefficients }: &Others<'_, '_>,
        out: &mut [f32],
        sums: &mut ChannelSums,
    ) {
        let terms: Vec<_> = parts
            .iter()
            .map(|part| {
                let scale = self.input.pairs()[part.pair].scale;
                let reach = part.halves * scale;
                // Of whoever adds up the pair's part of the bias gradient, the total is that of coefficient * relu(z).
                let (inner, outer) = if part.first { (1.0, reach) } else { (reach, 1.0) };
                let (shift, other) = (self.shift(part.pair), part.other.map(mapped));
                Term { scale, shift, other, coefficients: coefficients(part.pair), inner, outer }
            })
            .collect();
        let mut totals = vec![0.0; parts.len() * self.channels];
        add_terms(&terms, self.channels, own, out, &mut totals);
        let totals = parts.iter().zip(totals.chunks_exact(self.channels));
        for (part, totals) in totals.filter(|(part, _)| part.first) {
            let factors = [self.input.bias_factor(), -self.input.pairs()[part.pair].offset];
            for ((total, bias), sum) in totals.iter().zip(&mut sums.bias).zip(&mut sums.weight_sums) {
                *bias += factors[0] * total;
                *sum += factors[1] * total;
            }
        }
    }
}

/// A pair's part of dL/dU of one of its rows: outer * inner * coefficient * relu(z), where outer * inner is how z depends on the row's
/// U.
struct Term<'a> {
    scale: f32,
    /// Over the scale.
    shift: &'a [f32],
    /// U of the pair's other row, (positions, channels), unless the row is a whole pair.
    other: Option<&'a [f32]>,
    /// 2/C dL/dg, (positions).
    coefficients: &'a [f32],
    inner: f32,
    outer: f32,
}

/// What z of a pair is besides its U, over its scale: (bias factor * b - offset * w) / scale.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn shift(pair: &Pair, (factor, bias): (f32, &[f32]), weight_sums: &[f32], out: &mut [f32]) {
    for ((out, bias), sum) in out.iter_mut().zip(bias).zip(weight_sums) {
        *out = (factor * bias - pair.offset * sum) / pair.scale;
    }
}

/// Writes the sums over channels of relu(z)^2 of one pair, (positions). `first`, `second`: U of its rows, whose positions lie
/// `stride` numbers apart.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn goodness_of_pair(
    (scale, stride): (f32, usize),
    shift: &[f32],
    first: &[f32],
    second: Option<&[f32]>,
    out: &mut [f32],
) {
    let channels = shift.len();
    let first = first.chunks(stride).map(|position| &position[..channels]);
    match second {
        Some(second) => {
            let second = second.chunks(stride).map(|position| &position[..channels]);
            for ((out, u), v) in out.iter_mut().zip(first).zip(second) {
                *out = scale * scale * squares(shift, u, v, |u, v| u + v);
            }
        }
        None => {
            for (out, u) in out.iter_mut().zip(first) {
                *out = scale * scale * squares(shift, u, u, |u, _| u);
            }
        }
    }
}

/// Numbers are summed in so many lanes.
const LANES: usize = 16;

/// The sum of relu(both(u, v) + shift)^2.
#[inline(always)]
fn squares(shift: &[f32], u: &[f32], v: &[f32], both: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let add = |sum: &mut f32, shift: f32, u: f32, v: f32| {
        let h = (both(u, v) + shift).max(0.0);
        *sum += h * h;
    };
    let (shift, shift_rest) = shift.as_chunks::<LANES>();
    let (u, u_rest) = u.as_chunks::<LANES>();
    let (v, v_rest) = v.as_chunks::<LANES>();
    for ((shift, u), v) in shift.iter().zip(u).zip(v) {
        for lane in 0..LANES {
            add(&mut sums[lane], shift[lane], u[lane], v[lane]);
        }
    }
    for (((sum, &shift), &u), &v) in sums.iter_mut().zip(shift_rest).zip(u_rest).zip(v_rest) {
        add(sum, shift, u, v);
    }
    total(sums)
}

/// The sum of the lanes: halves are added up again and again, which takes four additions one after the other and not sixteen.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 8]);
    let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Terms that are added up in one pass.
const TERMS: usize = 3;
/// Vectors of channels that are computed from the first position to the last: their totals stay in registers.
const VECTORS: usize = 2;

/// Writes to `out` the sum over terms of reach * coefficient * relu(z), (positions, channels), and adds what comes before the last factor
/// up to `totals`, (terms, channels).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_terms(terms: &[Term<'_>], channels: usize, own: &[f32], out: &mut [f32], totals: &mut [f32]) {
    let all = terms.chunks(TERMS).zip(totals.chunks_mut(TERMS * channels)).enumerate();
    for (index, (terms, totals)) in all {
        let begun = index > 0;
        match terms {
            [a, b, c] => add_all::<3, false>([a, b, c], channels, own, (out, begun), totals),
            [a, b] => add_all::<2, false>([a, b], channels, own, (out, begun), totals),
            [a] if a.other.is_some() => add_all::<1, false>([a], channels, own, (out, begun), totals),
            [a] => add_all::<1, true>([a], channels, own, (out, begun), totals),
            _ => unreachable!("at most {TERMS}"),
        }
    }
}

/// The same of so many terms, which are added to what stands in `out` if that has begun.
#[inline(always)]
fn add_all<const TERMS: usize, const WHOLE: bool>(
    terms: [&Term<'_>; TERMS],
    channels: usize,
    own: &[f32],
    (out, begun): (&mut [f32], bool),
    totals: &mut [f32],
) {
    let mut start = 0;
    while channels - start >= VECTORS * LANES {
        add_channels::<TERMS, WHOLE, VECTORS, LANES>(terms, (start, channels), own, (out, begun), totals);
        start += VECTORS * LANES;
    }
    while channels - start >= LANES {
        add_channels::<TERMS, WHOLE, 1, LANES>(terms, (start, channels), own, (out, begun), totals);
        start += LANES;
    }
    for start in start..channels {
        add_channels::<TERMS, WHOLE, 1, 1>(terms, (start, channels), own, (out, begun), totals);
    }
}

/// The same of a few vectors of channels, from `start` on.
#[inline(always)]
fn add_channels<const TERMS: usize, const WHOLE: bool, const VECTORS: usize, const LANES: usize>(
    terms: [&Term<'_>; TERMS],
    (start, channels): (usize, usize),
    own: &[f32],
    (out, begun): (&mut [f32], bool),
    totals: &mut [f32],
) {
    let shifts: [[[f32; LANES]; VECTORS]; TERMS] = terms.map(|term| *vectors(&term.shift[start..]));
    let outer = terms.map(|term| term.outer);
    let mut sums = [[[0.0_f32; LANES]; VECTORS]; TERMS];
    let positions = out[start..].chunks_mut(channels).zip(own[start..].chunks(channels));
    for (position, (out, u)) in positions.enumerate() {
        let mut factors = [0.0; TERMS];
        for (factor, term) in factors.iter_mut().zip(terms) {
            *factor = term.inner * (term.coefficients[position] * term.scale);
        }
        let (out, u) = (vectors_mut::<VECTORS, LANES>(out), vectors::<VECTORS, LANES>(u));
        let before = if begun { *out } else { [[0.0; LANES]; VECTORS] };
        let mut others = [u; TERMS];
        for (v, term) in others.iter_mut().zip(terms) {
            if let Some(other) = term.other.filter(|_| !WHOLE) {
                *v = vectors(&other[position * channels + start..]);
            }
        }
        for vector in 0..VECTORS {
            for lane in 0..LANES {
                let mut sum = before[vector][lane];
                for term in 0..TERMS {
                    let (u, v) = (u[vector][lane], others[term][vector][lane]);
                    let z = if WHOLE { u } else { u + v } + shifts[term][vector][lane];
                    let slope = factors[term] * z.max(0.0);
                    sum += outer[term] * slope;
                    sums[term][vector][lane] += slope;
                }
                out[vector][lane] = sum;
            }
        }
    }
    for (total, sums) in totals.chunks_exact_mut(channels).zip(sums) {
        *vectors_mut(&mut total[start..]) = sums;
    }
}

/// The first vectors of some numbers.
#[inline(always)]
fn vectors<const VECTORS: usize, const LANES: usize>(numbers: &[f32]) -> &[[f32; LANES]; VECTORS] {
    numbers.as_chunks().0.first_chunk().expect("so many channels")
}

/// The same, to be written.
#[inline(always)]
fn vectors_mut<const VECTORS: usize, const LANES: usize>(
    numbers: &mut [f32],
) -> &mut [[f32; LANES]; VECTORS] {
    numbers.as_chunks_mut().0.first_chunk_mut().expect("so many channels")
}

/// to += from
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
