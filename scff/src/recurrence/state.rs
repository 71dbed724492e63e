//! One time step of one pair in one direction.

use multiversion::multiversion;

use crate::normalize::{Counting, standardize};

const LANES: usize = 16;

/// Makes h = relu(W_hh n + W_ih e + b) of `hidden`, which holds W_hh n, and writes h, standardised, to `next`; returns the
/// sum of squares of h.
///
/// `first`, `second`: U of the pair's frames; `bias`: both biases added up; all (units).
pub(crate) fn advance(
    hidden: &mut [f32],
    first: &[f32],
    second: &[f32],
    bias: &[f32],
    next: &mut [f32],
) -> f32 {
    let squares = activate(hidden, first, second, bias);
    next.copy_from_slice(hidden);
    standardize(next, &Counting::Once);
    squares
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn activate(hidden: &mut [f32], first: &[f32], second: &[f32], bias: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let one = |h: &mut f32, u: f32, v: f32, b: f32, sum: &mut f32| {
        *h = ((*h + (u + v)) + b).max(0.0);
        *sum += *h * *h;
    };
    let (hidden, hidden_rest) = hidden.as_chunks_mut::<LANES>();
    let (first, first_rest) = first.as_chunks::<LANES>();
    let (second, second_rest) = second.as_chunks::<LANES>();
    let (bias, bias_rest) = bias.as_chunks::<LANES>();
    for (((h, u), v), b) in hidden.iter_mut().zip(first).zip(second).zip(bias) {
        for lane in 0..LANES {
            one(&mut h[lane], u[lane], v[lane], b[lane], &mut sums[lane]);
        }
    }
    let rest = hidden_rest.iter_mut().zip(first_rest).zip(second_rest).zip(bias_rest);
    for ((((h, &u), &v), &b), sum) in rest.zip(&mut sums) {
        one(h, u, v, b, sum);
    }
    sums.iter().sum()
}

/// to += from
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(crate) fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}
