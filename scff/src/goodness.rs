//! Goodness, the loss of a batch, and its gradient with respect to goodness.
//!
//! g = mean over channels of relu(z)^2: one number per pair (dense), per position or per time step. The loss is
//!
//! mean log(1 + exp(theta_pos - g_pos)) + mean log(1 + exp(g_neg - theta_neg)) + lambda * mean ||g_pos||_2
//!
//! with the norm over a sample's positions; means are over pairs and their positions. dL/dz_c = (2 / C) relu(z_c) dL/dg, so goodness is all that ties the
//! channels of a layer together: it is what those exchange who have different channels, and the only thing.

use std::ops::{Add, AddAssign};

use multiversion::multiversion;
use ndarray::Array2;
use ndarray::parallel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::pair_order::PairOrder;
use crate::softplus::{LANES, NOTHING, Softplus};

/// Thresholds and penalty of a layer's loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossParameters {
    /// Positive pairs are pushed above this goodness.
    pub theta_pos: f32,
    /// Negative pairs are pushed below this goodness.
    pub theta_neg: f32,
    /// Weight of the penalty on the norm of positive goodness.
    pub lambda: f32,
}

/// Goodness of every pair: (pairs, positions).
#[derive(Clone, Debug, PartialEq)]
pub struct Goodness(pub Array2<f32>);

impl Goodness {
    /// Of the sums over all blocks of `channels` channels, (pairs * positions).
    pub fn of_sums(sums: Vec<f32>, channels: usize, pairs: usize) -> Self {
        let positions = sums.len() / pairs;
        let means = sums.into_iter().map(|sum| sum / channels as f32).collect();
        Self(Array2::from_shape_vec((pairs, positions), means).expect("positions divide the sums"))
    }
}

/// The loss of one batch and what it was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Mean softplus(theta_pos - g) over the positive pairs.
    pub positive: f64,
    /// Mean softplus(g - theta_neg) over the negative pairs.
    pub negative: f64,
    /// lambda times the mean norm of positive goodness.
    pub penalty: f64,
    /// Mean goodness of the positive pairs.
    pub goodness_pos: f64,
    /// Mean goodness of the negative pairs.
    pub goodness_neg: f64,
}

impl Loss {
    /// The sum of the three terms.
    pub fn total(&self) -> f64 {
        self.positive + self.negative + self.penalty
    }

    /// Whether all of it is finite; where it is not, the learning rate was too high for the layer.
    pub fn is_finite(&self) -> bool {
        [self.total(), self.goodness_pos, self.goodness_neg].into_iter().all(f64::is_finite)
    }
}

impl AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.positive += other.positive;
        self.negative += other.negative;
        self.penalty += other.penalty;
        self.goodness_pos += other.goodness_pos;
        self.goodness_neg += other.goodness_neg;
    }
}

impl Add for Loss {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// The loss of a batch whose first `positives` pairs are positive, and dL/dg: (pairs, positions).
pub fn loss_and_gradient(
    goodness: &Goodness,
    positives: usize,
    loss: &LossParameters,
) -> (Loss, Array2<f32>) {
    let pairs = goodness.0.nrows();
    let objective = Objective { positives, negatives: pairs - positives, parameters: *loss };
    let (losses, gradient) = objective.of_pairs(goodness, (0..pairs).map(|pair| pair < positives));
    (in_order(&losses), gradient)
}

/// The losses of groups of a batch's pairs, and dL/dg of all that are there: (pairs, positions).
pub(crate) fn losses_and_gradient(
    goodness: &Goodness,
    order: &PairOrder,
    loss: &LossParameters,
) -> (Vec<Loss>, Array2<f32>) {
    let (losses, gradient) = Objective::new(order, loss).of_pairs(goodness, order.positive());
    (order.groups().map(|group| in_order(&losses[group])).collect(), gradient)
}

/// The loss of a batch of pairs of sequences, and dL/dg: each of so many frames, one pair after another.
///
/// The means over frames are taken pair by pair and then over pairs, so that what a pair adds does not depend on how long
/// others are; where all are of one length, it is the mean over all.
pub fn sequence_loss_and_gradient(
    goodness: &[f32],
    lengths: &[usize],
    positives: usize,
    loss: &LossParameters,
) -> (Loss, Vec<f32>) {
    let mut gradient = vec![0.0; goodness.len()];
    let (mut g, mut slots) = (goodness, gradient.as_mut_slice());
    let mut pairs = Vec::with_capacity(lengths.len());
    for (pair, &length) in lengths.iter().enumerate() {
        let (own, slot);
        (own, g) = g.split_at(length);
        (slot, slots) = std::mem::take(&mut slots).split_at_mut(length);
        pairs.push((pair < positives, own, slot));
    }
    let objective = Objective { positives, negatives: lengths.len() - positives, parameters: *loss };
    let loss = in_order(&objective.losses(pairs));
    (loss, gradient)
}

/// The sum of losses, in their order, whoever computed them.
fn in_order(losses: &[Loss]) -> Loss {
    losses.iter().fold(Loss::default(), |sum, loss| sum + *loss)
}

/// What the loss of a batch is of its pairs.
#[derive(Clone, Copy)]
pub(crate) struct Objective {
    /// Positive pairs of the batch.
    positives: usize,
    /// Its negative pairs.
    negatives: usize,
    parameters: LossParameters,
}

impl Objective {
    /// Of a batch some of whose pairs stand in `order`.
    pub(crate) fn new(order: &PairOrder, loss: &LossParameters) -> Self {
        let (positives, negatives) = order.of_batch();
        Self { positives, negatives, parameters: *loss }
    }

    /// A pair's part of the loss, and dL/dg, of its goodness: (positions).
    pub(crate) fn of_pair(&self, positive: bool, g: &[f32], gradient: &mut [f32]) -> Loss {
        if positive {
            positive_pair(g, gradient, self.positives as f64, &self.parameters)
        } else {
            negative_pair(g, gradient, self.negatives as f64, &self.parameters)
        }
    }

    /// Each pair's part, and dL/dg of all: (pairs, positions).
    fn of_pairs(
        &self,
        goodness: &Goodness,
        positive: impl Iterator<Item = bool>,
    ) -> (Vec<Loss>, Array2<f32>) {
        let mut gradient = Array2::zeros(goodness.0.dim());
        let pairs = goodness.0.outer_iter().map(|row| row.to_slice().expect("rows are contiguous"));
        let slots =
            gradient.outer_iter_mut().map(|row| row.into_slice().expect("a fresh array is contiguous"));
        let pairs = positive.zip(pairs).zip(slots).map(|((positive, g), slot)| (positive, g, slot));
        let losses = self.losses(pairs.collect());
        (losses, gradient)
    }

    /// Each pair's part; of each whether it is positive, its goodness, and where dL/dg is written.
    fn losses(&self, pairs: Vec<(bool, &[f32], &mut [f32])>) -> Vec<Loss> {
        let positions = pairs.first().map_or(1, |(_, g, _)| g.len().max(1));
        // A few thousand exponentials make a task.
        let together = (TASK / positions).max(1);
        let of_pair =
            |(positive, g, gradient): (bool, &[f32], &mut [f32])| self.of_pair(positive, g, gradient);
        pairs.into_par_iter().with_min_len(together).map(of_pair).collect()
    }
}

const TASK: usize = 2048;

/// One of `count` positive pairs: its part of the loss, and dL/dg.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn positive_pair(g: &[f32], gradient: &mut [f32], count: f64, loss: &LossParameters) -> Loss {
    let (theta, lambda) = (f64::from(loss.theta_pos), f64::from(loss.lambda));
    let norm = sum(g, |g| g * g).sqrt();
    let pull = if norm > 0.0 { lambda / (count * norm) } else { 0.0 };
    let all = count * g.len() as f64;
    let softplus = slopes(g, gradient, |g| theta - g, |g, slope| pull * g - slope / all);
    Loss {
        positive: softplus / all,
        goodness_pos: sum(g, |g| g) / all,
        penalty: lambda * norm / count,
        ..Loss::default()
    }
}

/// One of `count` negative pairs: its part of the loss, and dL/dg.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn negative_pair(g: &[f32], gradient: &mut [f32], count: f64, loss: &LossParameters) -> Loss {
    let theta = f64::from(loss.theta_neg);
    let all = count * g.len() as f64;
    let softplus = slopes(g, gradient, |g| g - theta, |_, slope| slope / all);
    Loss { negative: softplus / all, goodness_neg: sum(g, |g| g) / all, ..Loss::default() }
}

/// The sum of log(1 + exp(u(g))); writes what is `made` of each g and the derivative at u.
#[inline(always)]
fn slopes(g: &[f32], gradient: &mut [f32], u: impl Fn(f64) -> f64, made: impl Fn(f64, f64) -> f64) -> f64 {
    let mut softplus = Softplus::default();
    let (g, g_rest) = g.as_chunks::<LANES>();
    let (gradient, gradient_rest) = gradient.as_chunks_mut::<LANES>();
    for (g, slots) in g.iter().zip(gradient) {
        let g = g.map(f64::from);
        let slopes = softplus.add(g.map(&u));
        for lane in 0..LANES {
            slots[lane] = made(g[lane], slopes[lane]) as f32;
        }
    }
    if !g_rest.is_empty() {
        let mut last = [NOTHING; LANES];
        last.iter_mut().zip(g_rest).for_each(|(last, &g)| *last = u(f64::from(g)));
        let slopes = softplus.add(last);
        for ((slot, &g), slope) in gradient_rest.iter_mut().zip(g_rest).zip(slopes) {
            *slot = made(f64::from(g), slope) as f32;
        }
    }
    softplus.sum()
}

/// The sum of what each g adds.
#[inline(always)]
fn sum(g: &[f32], added: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = g.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += added(f64::from(chunk[lane]));
        }
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &g)| *lane += added(f64::from(g)));
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    const LOSS: LossParameters = LossParameters { theta_pos: 1.0, theta_neg: 2.0, lambda: 0.1 };

    #[test]
    fn a_huge_goodness_gives_a_finite_loss() {
        let (loss, gradient) = loss_and_gradient(&Goodness(array![[1e6], [1e6]]), 1, &LOSS);
        assert!((loss.negative - (1e6 - 2.0)).abs() < 1e-3 && loss.positive == 0.0, "{loss:?}");
        assert!(gradient.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_loss_is_finite_where_all_its_parts_are() {
        let (loss, _) = loss_and_gradient(&Goodness(array![[1.0], [1e30]]), 1, &LOSS);
        assert!(loss.is_finite());
        for goodness in [f32::INFINITY, f32::NAN] {
            for goodness in [array![[goodness], [1.0]], array![[1.0], [goodness]]] {
                let (loss, _) = loss_and_gradient(&Goodness(goodness), 1, &LOSS);
                assert!(!loss.is_finite(), "{loss:?}");
            }
        }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let goodness = Goodness(array![[0.5, 1.5], [2.0, 0.1], [0.3, 3.0], [1.0, 0.0]]);
        let (_, gradient) = loss_and_gradient(&goodness, 2, &LOSS);
        for index in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)] {
            let nudged = |by: f32| {
                let mut goodness = goodness.clone();
                goodness.0[index] += by;
                loss_and_gradient(&goodness, 2, &LOSS).0.total()
            };
            let slope = (nudged(1e-3) - nudged(-1e-3)) / 2e-3;
            assert!(
                (slope - f64::from(gradient[index])).abs() < 1e-4,
                "{index:?}: {slope} {}",
                gradient[index]
            );
        }
    }

    #[test]
    fn the_norm_of_zero_goodness_has_no_slope() {
        let (_, gradient) = loss_and_gradient(&Goodness(array![[0.0], [0.0]]), 1, &LOSS);
        assert!((gradient[(0, 0)] + 1.0 / (1.0 + (-1.0_f32).exp())).abs() < 1e-6);
    }
}
