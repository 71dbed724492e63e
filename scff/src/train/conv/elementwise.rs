//! What goodness and dL/dU are of U: elementwise, over the channels of a block or of several.

use multiversion::multiversion;

use super::parts::Part;
use crate::pair::{Pair, PairedRows};
use crate::scratch::buffer;

/// Sums over a batch, for each channel: of the gradients of b and of w.
#[derive(Clone, Default)]
pub(super) struct ChannelSums {
    pub(super) bias: Vec<f32>,
    pub(super) weight_sums: Vec<f32>,
}

/// Some channels of a layer: what z is besides U, (channels) each, and U of every row, (rows, positions, channels).
pub(super) struct Channels<'a> {
    pub(super) bias: &'a [f32],
    pub(super) weight_sums: &'a [f32],
    pub(super) mapped: &'a [f32],
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

impl Channels<'_> {
    /// What z of a pair is besides its U: bias factor * b - offset * w.
    fn shift(&self, pair: &Pair, bias_factor: f32, shift: &mut [f32]) {
        for ((shift, bias), sum) in shift.iter_mut().zip(self.bias).zip(self.weight_sums) {
            *shift = bias_factor * bias - pair.offset * sum;
        }
    }

    /// Writes the sums over the channels from `start` on to `end` of relu(z)^2 of one pair, (positions).
    pub(super) fn goodness(
        &self,
        pair: &Pair,
        bias_factor: f32,
        (start, end): (usize, usize),
        out: &mut [f32],
    ) {
        let width = self.bias.len();
        let mut shift = buffer(width);
        self.shift(pair, bias_factor, &mut shift);
        let row = |row: usize| &self.mapped[row * out.len() * width..][start..];
        let second = pair.second.map(row);
        goodness_of_pair((pair.scale, width), &shift[start..end], row(pair.first), second, out);
    }

    /// dL/dU of a row, (positions, channels), and what its pairs add to `sums`.
    pub(super) fn slopes(
        &self,
        Slopes { input, coefficients }: Slopes<'_>,
        row: usize,
        parts: &[Part],
        out: &mut [f32],
        sums: &mut ChannelSums,
    ) {
        let positions = out.len() / self.bias.len();
        let mut shift = buffer(self.bias.len());
        out.fill(0.0);
        for part in parts {
            let pair = &input.pairs()[part.pair];
            self.shift(pair, input.bias_factor(), &mut shift);
            let mapped = |row: usize| &self.mapped[row * out.len()..][..out.len()];
            let term = PairTerm {
                scale: pair.scale,
                shift: &shift,
                own: mapped(row),
                other: part.other.map(mapped),
                coefficients: &coefficients[part.pair * positions..][..positions],
                reach: part.halves * pair.scale,
            };
            if part.first {
                let factors = [input.bias_factor(), -pair.offset];
                add_term_and_sums(&term, out, factors, &mut sums.bias, &mut sums.weight_sums);
            } else {
                add_term(&term, out);
            }
        }
    }
}

/// A pair's part of dL/dU of one of its rows.
struct PairTerm<'a> {
    scale: f32,
    shift: &'a [f32],
    /// U of the row, (positions, channels).
    own: &'a [f32],
    /// U of the pair's other row.
    other: Option<&'a [f32]>,
    /// 2/C dL/dg, (positions).
    coefficients: &'a [f32],
    /// How z depends on the row's U.
    reach: f32,
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
                *out = squares(shift, u, v, |u, v| scale * (u + v));
            }
        }
        None => {
            for (out, u) in out.iter_mut().zip(first) {
                *out = squares(shift, u, u, |u, _| scale * u);
            }
        }
    }
}

/// The sum of relu(scaled(u, v) + shift)^2.
#[inline(always)]
fn squares(shift: &[f32], u: &[f32], v: &[f32], scaled: impl Fn(f32, f32) -> f32) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let add = |sum: &mut f32, shift: f32, u: f32, v: f32| {
        let h = (scaled(u, v) + shift).max(0.0);
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
    sums.iter().sum()
}

/// out += coefficient * reach * relu(z)
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_term(term: &PairTerm<'_>, out: &mut [f32]) {
    let channels = term.shift.len();
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let reach = term.coefficients[position] * term.reach;
        let u = &term.own[position * channels..][..channels];
        match term.other {
            Some(other) => {
                let v = &other[position * channels..][..channels];
                for (((out, u), v), shift) in out.iter_mut().zip(u).zip(v).zip(term.shift) {
                    *out += reach * (term.scale * (u + v) + shift).max(0.0);
                }
            }
            None => {
                for ((out, u), shift) in out.iter_mut().zip(u).zip(term.shift) {
                    *out += reach * (term.scale * u + shift).max(0.0);
                }
            }
        }
    }
}

/// The same, and bias += factors[0] * coefficient * relu(z), sums += factors[1] * coefficient * relu(z).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_term_and_sums(
    term: &PairTerm<'_>,
    out: &mut [f32],
    factors: [f32; 2],
    bias: &mut [f32],
    sums: &mut [f32],
) {
    let channels = term.shift.len();
    let (bias, sums) = (&mut bias[..channels], &mut sums[..channels]);
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let coefficient = term.coefficients[position];
        let reach = coefficient * term.reach;
        let factors = factors.map(|factor| factor * coefficient);
        let u = &term.own[position * channels..][..channels];
        match term.other {
            Some(other) => {
                let v = &other[position * channels..][..channels];
                for channel in 0..channels {
                    let h = (term.scale * (u[channel] + v[channel]) + term.shift[channel]).max(0.0);
                    out[channel] += reach * h;
                    bias[channel] += factors[0] * h;
                    sums[channel] += factors[1] * h;
                }
            }
            None => {
                for channel in 0..channels {
                    let h = (term.scale * u[channel] + term.shift[channel]).max(0.0);
                    out[channel] += reach * h;
                    bias[channel] += factors[0] * h;
                    sums[channel] += factors[1] * h;
                }
            }
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
