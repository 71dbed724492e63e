//! The transforms: each in one dimension, of one number; and both ways over all channels of a tile or kernel.

use std::array::from_fn;

use multiversion::multiversion;

use super::size::{FREQUENCIES, INPUTS, KERNEL, OUTPUTS};
use super::tile::Tile;

/// Channels that are transformed together.
const LANES: usize = 32;
type Lanes = [f32; LANES];
const ZEROS: Lanes = [0.0; LANES];

/// The points besides 0 and infinity: +-P and +-Q.
const P: f32 = 0.625;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;
/// What interpolation divides by: at each point, the product of its distances to the others.
const AT_0: f32 = inverse(P2 as f64 * Q2 as f64);
const AT_P: f32 = inverse(2.0 * P2 as f64 * (P2 as f64 - Q2 as f64));
const AT_Q: f32 = inverse(2.0 * Q2 as f64 * (Q2 as f64 - P2 as f64));

#[expect(clippy::cast_possible_truncation, reason = "rounded once, from more digits than it keeps")]
const fn inverse(number: f64) -> f32 {
    (1.0 / number) as f32
}

/// B^T d
#[inline(always)]
fn input_1d(d: [f32; INPUTS]) -> [f32; INPUTS] {
    let (even_p, odd_p) = (d[4] - Q2 * d[2], P * d[3] - (P * Q2) * d[1]);
    let (even_q, odd_q) = (d[4] - P2 * d[2], Q * d[3] - (Q * P2) * d[1]);
    [
        ((P2 * Q2) * d[0] - (P2 + Q2) * d[2]) + d[4],
        even_p + odd_p,
        even_p - odd_p,
        even_q + odd_q,
        even_q - odd_q,
        ((P2 * Q2) * d[1] - (P2 + Q2) * d[3]) + d[5],
    ]
}

/// G g
#[inline(always)]
fn kernel_1d(g: [f32; KERNEL]) -> [f32; INPUTS] {
    let (even_p, odd_p) = (AT_P * (g[0] + P2 * g[2]), AT_P * (P * g[1]));
    let (even_q, odd_q) = (AT_Q * (g[0] + Q2 * g[2]), AT_Q * (Q * g[1]));
    [AT_0 * g[0], even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, g[2]]
}

/// A^T m
#[inline(always)]
fn output_1d(m: [f32; INPUTS]) -> [f32; OUTPUTS] {
    let (even_p, odd_p) = (m[1] + m[2], m[1] - m[2]);
    let (even_q, odd_q) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + (even_p + even_q),
        P * odd_p + Q * odd_q,
        P2 * even_p + Q2 * even_q,
        ((P * P2) * odd_p + (Q * Q2) * odd_q) + m[5],
    ]
}

/// A y
#[inline(always)]
fn output_gradient_1d(y: [f32; OUTPUTS]) -> [f32; INPUTS] {
    let (even_p, odd_p) = (y[0] + P2 * y[2], P * y[1] + (P * P2) * y[3]);
    let (even_q, odd_q) = (y[0] + Q2 * y[2], Q * y[1] + (Q * Q2) * y[3]);
    [y[0], even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, y[3]]
}

/// G^T m
#[inline(always)]
fn kernel_gradient_1d(m: [f32; INPUTS]) -> [f32; KERNEL] {
    let (even_p, odd_p) = (AT_P * (m[1] + m[2]), AT_P * (m[1] - m[2]));
    let (even_q, odd_q) = (AT_Q * (m[3] + m[4]), AT_Q * (m[3] - m[4]));
    [AT_0 * m[0] + (even_p + even_q), P * odd_p + Q * odd_q, (P2 * even_p + Q2 * even_q) + m[5]]
}

/// B^T d B of what each tile reads of a map, (positions, channels): (tiles, `stride`), each of (frequencies, channels).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn inputs(tiles: &[Tile], map: &[f32], channels: usize, out: &mut [f32], stride: usize) {
    let mut between = Between::new();
    for (tile, out) in tiles.iter().zip(out.chunks_exact_mut(stride)) {
        for lanes in runs(channels) {
            between.columns((map, channels, lanes), |place| tile.reads[place], input_1d);
            between.rows((out, channels, lanes), Some, input_1d);
        }
    }
}

/// G g G^T of each channel's weights, (positions of the kernel, input channels): (channels, `stride`), each of (frequencies,
/// input channels).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn kernels(weights: &[&[f32]], out: &mut [f32], stride: usize) {
    let mut between = Between::new();
    for (weights, out) in weights.iter().zip(out.chunks_exact_mut(stride)) {
        let channels = weights.len() / (KERNEL * KERNEL);
        for lanes in runs(channels) {
            between.columns((weights, channels, lanes), Some, kernel_1d);
            between.rows((out, channels, lanes), Some, kernel_1d);
        }
    }
}

/// A^T m A of each tile, (tiles, `stride`) each of (frequencies, channels): written to the channels from `first` on of a
/// map, (positions, `width`).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn outputs(
    tiles: &[Tile],
    (products, stride, channels): (&[f32], usize, usize),
    map: &mut [f32],
    (first, width): (usize, usize),
) {
    let mut between = Between::new();
    for (tile, products) in tiles.iter().zip(products.chunks_exact(stride)) {
        for (start, count) in runs(channels) {
            between.columns((products, channels, (start, count)), Some, output_1d);
            between.rows((map, width, (first + start, count)), |place| tile.writes[place], output_1d);
        }
    }
}

/// A y A^T of each tile of a map of gradients, (positions, channels): (tiles, `stride`), each of (frequencies, channels).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(super) fn output_gradients(tiles: &[Tile], map: &[f32], channels: usize, out: &mut [f32], stride: usize) {
    let mut between = Between::new();
    for (tile, out) in tiles.iter().zip(out.chunks_exact_mut(stride)) {
        for lanes in runs(channels) {
            between.columns((map, channels, lanes), |place| tile.writes[place], output_gradient_1d);
            between.rows((out, channels, lanes), Some, output_gradient_1d);
        }
    }
}

/// G^T m G, of (frequencies, channels): the gradient of a channel's weights, (positions of the kernel, channels).
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub(crate) fn kernel_gradient(products: &[f32], out: &mut [f32]) {
    let channels = out.len() / (KERNEL * KERNEL);
    debug_assert!(products.len() >= FREQUENCIES * channels, "a number for each frequency and channel");
    let mut between = Between::new();
    for lanes in runs(channels) {
        between.columns((products, channels, lanes), Some, kernel_gradient_1d);
        between.rows((out, channels, lanes), Some, kernel_gradient_1d);
    }
}

/// Where so many channels are cut, and how many stand there.
#[inline(always)]
fn runs(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels).step_by(LANES).map(move |start| (start, LANES.min(channels - start)))
}

/// A square after the transform of its columns, before that of its rows, and a row after it. They stay in the first cache, in whole lines of
/// it.
#[repr(C, align(64))]
struct Between<const FROM: usize, const TO: usize> {
    square: [[Lanes; FROM]; TO],
    row: [Lanes; TO],
}

impl<const FROM: usize, const TO: usize> Between<FROM, TO> {
    #[inline(always)]
    fn new() -> Self {
        Self { square: [[ZEROS; FROM]; TO], row: [ZEROS; TO] }
    }

    /// Transforms the columns of a square, whose places stand in `numbers`, (places, channels), where `at` says; elsewhere are
    /// zeros. Of the channels from `start` on, so many.
    #[inline(always)]
    fn columns(
        &mut self,
        (numbers, channels, (start, count)): (&[f32], usize, (usize, usize)),
        at: impl Fn(usize) -> Option<usize>,
        transform: impl Fn([f32; FROM]) -> [f32; TO],
    ) {
        for column in 0..FROM {
            let run = |row: usize| Some(&numbers[at(row * FROM + column)? * channels + start..][..count]);
            if count == LANES {
                let mut whole = [&ZEROS; FROM];
                for (row, whole) in whole.iter_mut().enumerate() {
                    if let Some(run) = run(row) {
                        *whole = run.first_chunk().expect("so many");
                    }
                }
                self.column(column, whole, &transform);
            } else {
                let mut part = [ZEROS; FROM];
                for (row, part) in part.iter_mut().enumerate() {
                    if let Some(run) = run(row) {
                        part[..count].copy_from_slice(run);
                    }
                }
                self.column(column, part.each_ref(), &transform);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the lane indexes the last dimension")]
    fn column(
        &mut self,
        column: usize,
        numbers: [&Lanes; FROM],
        transform: impl Fn([f32; FROM]) -> [f32; TO],
    ) {
        for lane in 0..LANES {
            let results = transform(from_fn(|row| numbers[row][lane]));
            for (row, result) in results.into_iter().enumerate() {
                self.square[row][column][lane] = result;
            }
        }
    }

    /// Transforms the rows, and writes the square's places to `numbers` as [`Self::columns`] reads them.
    #[inline(always)]
    fn rows(
        &mut self,
        (numbers, channels, (start, count)): (&mut [f32], usize, (usize, usize)),
        at: impl Fn(usize) -> Option<usize>,
        transform: impl Fn([f32; FROM]) -> [f32; TO],
    ) {
        let Self { square, row: results } = self;
        for (row, from) in square.iter().enumerate() {
            for lane in 0..LANES {
                let transformed = transform(from_fn(|column| from[column][lane]));
                for (result, transformed) in results.iter_mut().zip(transformed) {
                    result[lane] = transformed;
                }
            }
            for (column, lanes) in results.iter().enumerate() {
                let Some(at) = at(row * TO + column) else { continue };
                let run = &mut numbers[at * channels + start..][..count];
                match run.first_chunk_mut::<LANES>() {
                    Some(whole) => *whole = *lanes,
                    None => run.copy_from_slice(&lanes[..count]),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(numbers: impl Iterator<Item = f32>) -> f64 {
        numbers.map(f64::from).sum()
    }

    #[test]
    fn one_dimension_of_outputs_is_a_correlation() {
        // Of unit vectors, so that each coefficient is seen alone.
        for (d, g) in (0..INPUTS).flat_map(|d| (0..KERNEL).map(move |g| (d, g))) {
            let input = input_1d(from_fn(|place| f32::from(place == d)));
            let kernel = kernel_1d(from_fn(|place| f32::from(place == g)));
            let found = output_1d(from_fn(|point| input[point] * kernel[point]));
            for (y, found) in found.into_iter().enumerate() {
                let expected = f32::from(y + g == d);
                assert!((found - expected).abs() < 2e-6, "input {d}, kernel {g}, output {y}: {found}");
            }
        }
    }

    #[test]
    fn gradients_are_transposed_transforms() {
        let numbers = [0.3, -0.7, 0.2, 0.9, -0.4, 0.6];
        for place in 0..INPUTS {
            let unit: [f32; INPUTS] = from_fn(|other| f32::from(other == place));
            let y: [f32; OUTPUTS] = from_fn(|place| numbers[place]);
            let forward = sum(output_1d(unit).iter().zip(y).map(|(a, y)| a * y));
            assert!((forward - f64::from(output_gradient_1d(y)[place])).abs() < 1e-6, "{place}");
            let g: [f32; KERNEL] = from_fn(|place| numbers[place]);
            let forward = f64::from(kernel_1d(g)[place]);
            let backward = sum(kernel_gradient_1d(unit).iter().zip(g).map(|(a, g)| a * g));
            assert!((forward - backward).abs() < 1e-6, "{place}");
        }
    }
}
