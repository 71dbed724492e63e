//! The slow twin of convolutions: every padded concatenation is made in so many words, and every patch of it is a row of
//! the dense twin.

use scff::goodness::LossParameters;
use scff::layer::{Conv, MapShape, Pool, PoolKind, Transmit};

use crate::naive::{Halves, Layer, Rows, standardize};

/// Of every pair the two halves (or the one) at every position: (pairs, positions, halves).
pub type Patches = Vec<Vec<Halves>>;

/// The pairs that are made of samples: `first` and `second` are the views of the two halves, not yet standardised.
pub fn make_pairs(conv: &Conv, first: &Rows, second: &Rows, shifts: &[usize]) -> Patches {
    let standardized = |rows: &Rows| rows.iter().map(|row| standardize(row)).collect::<Rows>();
    let (first, second) = (standardized(first), standardized(second));
    let batch = first.len();
    let shifted = |&shift: &usize| (0..batch).map(move |i| (i, (i + shift) % batch));
    let positive = (0..batch).map(|i| (i, i));
    let all = positive.chain(shifts.iter().flat_map(shifted));
    all.map(|(i, j)| make_pair(conv, &first[i], &second[j])).collect()
}

/// Both halves padded, standardised together, and cut into patches.
pub fn make_pair(conv: &Conv, first: &[f64], second: &[f64]) -> Vec<Halves> {
    let halves = [padded(conv, first), padded(conv, second)];
    let together = standardize(&halves.concat());
    patches(conv, &together.chunks(halves[0].len()).map(<[f64]>::to_vec).collect::<Vec<_>>())
}

/// A pair that is one row, padded and standardised.
pub fn take_pair(conv: &Conv, row: &[f64]) -> Vec<Halves> {
    patches(conv, &[standardize(&padded(conv, row))])
}

fn padded(conv: &Conv, map: &[f64]) -> Vec<f64> {
    let MapShape { height, width, channels } = conv.input;
    let padding = conv.padding as isize;
    let reflect = |place: isize, side: usize| {
        let last = side as isize - 1;
        let inside = (place - padding).abs();
        (if inside > last { 2 * last - inside } else { inside }) as usize
    };
    let (tall, wide) = (height as isize + 2 * padding, width as isize + 2 * padding);
    let mut padded = Vec::new();
    for (y, x) in (0..tall).flat_map(|y| (0..wide).map(move |x| (y, x))) {
        let start = (reflect(y, height) * width + reflect(x, width)) * channels;
        padded.extend(&map[start..start + channels]);
    }
    padded
}

/// The patches of padded halves: (positions, halves).
fn patches(conv: &Conv, padded: &[Vec<f64>]) -> Vec<Halves> {
    let Conv { input, kernel, padding, .. } = *conv;
    let wide = input.width + 2 * padding;
    let MapShape { height, width, .. } = conv.output();
    let patch = |half: &Vec<f64>, y: usize, x: usize| -> Vec<f64> {
        (0..kernel)
            .flat_map(|dy| (0..kernel).map(move |dx| (y + dy, x + dx)))
            .flat_map(|(y, x)| half[(y * wide + x) * input.channels..][..input.channels].to_vec())
            .collect()
    };
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (y, x)))
        .map(|(y, x)| padded.iter().map(|half| patch(half, y, x)).collect())
        .collect()
}

/// What a layer passes on for one pair.
pub fn passed_on(
    conv: &Conv,
    layer: &Layer,
    transmit: Transmit,
    pool: Option<Pool>,
    pair: &[Halves],
) -> Vec<f64> {
    let map: Rows = pair.iter().map(|halves| layer.transmit(halves, transmit)).collect();
    pool.map_or_else(|| map.concat(), |pool| pooled(pool, conv.output(), &map))
}

/// A map of shape `shape`, (positions, channels), pooled.
#[expect(clippy::needless_range_loop, reason = "the channel indexes the second dimension")]
fn pooled(pool: Pool, shape: MapShape, map: &Rows) -> Vec<f64> {
    let (Pool { kind, size, stride, padding }, MapShape { height, width, channels }) = (pool, shape);
    // PyTorch: ceil mode, but no window begins in the right padding or beyond.
    let windows = |side: usize| {
        let all = (side + 2 * padding - size).div_ceil(stride) + 1;
        (0..all).filter(|window| window * stride < side + padding).count()
    };
    let mut pooled = Vec::new();
    for (y, x) in (0..windows(height)).flat_map(|y| (0..windows(width)).map(move |x| (y, x))) {
        for channel in 0..channels {
            let (mut inside, mut counted) = (Vec::new(), 0_u32);
            for (dy, dx) in (0..size).flat_map(|dy| (0..size).map(move |dx| (dy, dx))) {
                let (row, column) = (y * stride + dy, x * stride + dx);
                counted += u32::from(row < height + 2 * padding && column < width + 2 * padding);
                if (padding..height + padding).contains(&row) && (padding..width + padding).contains(&column)
                {
                    inside.push(map[(row - padding) * width + column - padding][channel]);
                }
            }
            pooled.push(match kind {
                PoolKind::Max => inside.into_iter().fold(f64::NEG_INFINITY, f64::max),
                PoolKind::Average => inside.into_iter().sum::<f64>() / f64::from(counted),
            });
        }
    }
    pooled
}

/// The loss of pairs of which the first `positives` are positive, dL/dW and dL/db.
pub fn loss_and_gradient(
    layer: &Layer,
    pairs: &Patches,
    positives: usize,
    loss: &LossParameters,
) -> (f64, Layer) {
    let mut gradient = Layer {
        weight: layer.weight.iter().map(|row| vec![0.0; row.len()]).collect(),
        bias: vec![0.0; layer.bias.len()],
    };
    let mut total = 0.0;
    for (index, pair) in pairs.iter().enumerate() {
        let outputs: Rows = pair.iter().map(|halves| layer.outputs(halves)).collect();
        let goodness: Vec<f64> = outputs.iter().map(|z| mean(z.iter().map(|z| z.max(0.0).powi(2)))).collect();
        let (of_pair, slopes) = if index < positives {
            positive(&goodness, loss, positives as f64)
        } else {
            negative(&goodness, loss, (pairs.len() - positives) as f64)
        };
        total += of_pair;
        for ((halves, z), slope) in pair.iter().zip(outputs).zip(slopes) {
            gradient.add_pair(halves, &z, slope);
        }
    }
    (total, gradient)
}

/// A positive pair's part of the loss and dL/dg at every position.
fn positive(goodness: &[f64], loss: &LossParameters, pairs: f64) -> (f64, Vec<f64>) {
    let (theta, lambda) = (f64::from(loss.theta_pos), f64::from(loss.lambda));
    let count = goodness.len() as f64;
    let norm = goodness.iter().map(|g| g * g).sum::<f64>().sqrt();
    let pull = if norm > 0.0 { lambda / norm } else { 0.0 };
    let total = mean(goodness.iter().map(|g| (1.0 + (theta - g).exp()).ln())) + lambda * norm;
    let slope = |g: &f64| (pull * g - 1.0 / (1.0 + (g - theta).exp()) / count) / pairs;
    (total / pairs, goodness.iter().map(slope).collect())
}

/// The same of a negative pair.
fn negative(goodness: &[f64], loss: &LossParameters, pairs: f64) -> (f64, Vec<f64>) {
    let theta = f64::from(loss.theta_neg);
    let count = goodness.len() as f64;
    let total = mean(goodness.iter().map(|g| (1.0 + (g - theta).exp()).ln()));
    let slope = |g: &f64| 1.0 / (1.0 + (theta - g).exp()) / count / pairs;
    (total / pairs, goodness.iter().map(slope).collect())
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
