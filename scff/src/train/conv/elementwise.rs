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

/// What the pairs of a row need that is not the row's own; positions as those of its U.
pub(super) struct Others<'a, 'f> {
    pub(super) input: &'a PairedRows,
    /// U of another row, (positions, channels).
    pub(super) mapped: &'f dyn Fn(usize) -> &'a [f32],
    /// 2/C dL/dg of a pair, (positions).
    pub(super) coefficients: &'f dyn Fn(usize) -> &'a [f32],
}

/// The pairs of a batch, and 2/C dL/dg of every one and position.
#[derive(Clone, Copy)]
pub(super) struct Slopes<'a> {
    pub(super) input: &'a PairedRows,
    pub(super) coefficients: &'a [f32],
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

impl<'a> Channels<'a> {
    /// What z of a pair is besides its U, over its scale: (bias factor * b - offset * w) / scale.
    pub(super) fn shift(&self, pair: &Pair, bias_factor: f32) -> Vec<f32> {
        let of_channel = |(bias, sum): (&f32, &f32)| (bias_factor * bias - pair.offset * sum) / pair.scale;
        self.bias.iter().zip(self.weight_sums).map(of_channel).collect()
    }

    /// Writes the sums over the channels `range` of relu(z)^2 of one pair, (positions), of U of every row, (rows, positions,
    /// channels).
    pub(super) fn goodness(
        &self,
        pair: &Pair,
        bias_factor: f32,
        (mapped, range): (&[f32], Range<usize>),
        out: &mut [f32],
    ) {
        let width = self.bias.len();
        let shift = self.shift(pair, bias_factor);
        let row = |row: usize| &mapped[row * out.len() * width..][..out.len() * width][range.start..];
        let second = pair.second.map(row);
        goodness_of_pair((pair.scale, width), &shift[range.clone()], row(pair.first), second, out);
    }

    /// dL/dU of a row, (positions, channels), and what its pairs add to `sums`, of U of every row.
    pub(super) fn slopes_of_row(
        &self,
        Slopes { input, coefficients }: Slopes<'a>,
        (mapped, row): (&'a [f32], usize),
        parts: &[Part],
        out: &mut [f32],
        sums: &mut ChannelSums,
    ) {
        let (sample, positions) = (out.len(), out.len() / self.bias.len());
        let others = Others {
            input,
            mapped: &|row| &mapped[row * sample..][..sample],
            coefficients: &|pair| &coefficients[pair * positions..][..positions],
        };
        self.slopes((others.mapped)(row), parts, &others, out, sums);
    }

    /// dL/dU of a row, (positions, channels), of its U, and what its pairs add to `sums`.
    pub(super) fn slopes(
        &self,
        own: &'a [f32],
        parts: &[Part],
        others: &Others<'a, '_>,
        out: &mut [f32],
        sums: &mut ChannelSums,
    ) {
        let Others { input, mapped, coefficients } = others;
        let mut terms: Vec<_> = parts
            .iter()
            .map(|part| {
                let pair = &input.pairs()[part.pair];
                PairTerm {
                    scale: pair.scale,
                    shift: self.shift(pair, input.bias_factor()),
                    other: part.other.map(mapped),
                    coefficients: coefficients(part.pair),
                    reach: part.halves * pair.scale,
                    total: part.first.then(|| vec![0.0; self.bias.len()]),
                }
            })
            .collect();
        add_terms(&mut terms, self.bias.len(), own, out);
        for (part, term) in parts.iter().zip(&terms) {
            let factors = [input.bias_factor(), -input.pairs()[part.pair].offset];
            let totals = term.total.iter().flatten();
            for ((total, bias), sum) in totals.zip(&mut sums.bias).zip(&mut sums.weight_sums) {
                *bias += factors[0] * total;
                *sum += factors[1] * total;
            }
        }
    }
}

/// A pair's part of dL/dU of one of its rows.
struct PairTerm<'a> {
    scale: f32,
    /// Over the scale.
    shift: Vec<f32>,
    /// U of the pair's other row, (positions, channels).
    other: Option<&'a [f32]>,
    /// 2/C dL/dg, (positions).
    coefficients: &'a [f32],
    /// How z depends on the row's U.
    reach: f32,
    /// The sum over positions of coefficient * relu(z), if it is wanted.
    total: Option<Vec<f32>>,
}

/// Writes the sums over channels of relu(z)^2 of one pair, (positions). `first`, `second`: U of its rows, whose positions lie
/// `stride` numbers apart.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn goodness_of_pair(
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

/// Writes to `out` the sum over terms of reach * coefficient * relu(z), (positions, channels), and adds up their totals: in one
/// pass, position by position.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_terms(terms: &mut [PairTerm<'_>], channels: usize, own: &[f32], out: &mut [f32]) {
    let positions = out.chunks_exact_mut(channels).zip(own.chunks_exact(channels));
    for (position, (out, u)) in positions.enumerate() {
        out.fill(0.0);
        for term in &mut *terms {
            let factors = (term.coefficients[position] * term.scale, term.reach);
            let with_shift = u.iter().zip(&term.shift);
            if let Some(other) = term.other {
                let v = &other[position * channels..][..channels];
                let z = with_shift.zip(v).map(|((u, shift), v)| u + v + shift);
                add_term(z, factors, out, &mut term.total);
            } else {
                let z = with_shift.map(|(u, shift)| u + shift);
                add_term(z, factors, out, &mut term.total);
            }
        }
    }
}

/// out += reach * factor * relu(z), total += factor * relu(z); z and factor over, and times, the scale.
#[inline(always)]
fn add_term(
    z: impl Iterator<Item = f32>,
    (factor, reach): (f32, f32),
    out: &mut [f32],
    total: &mut Option<Vec<f32>>,
) {
    if let Some(total) = total {
        for ((out, total), z) in out.iter_mut().zip(total).zip(z) {
            let slope = factor * z.max(0.0);
            *out += reach * slope;
            *total += slope;
        }
    } else {
        let both = reach * factor;
        for (out, z) in out.iter_mut().zip(z) {
            *out += both * z.max(0.0);
        }
    }
}

/// to += from
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
