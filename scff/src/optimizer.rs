//! AdamW (decoupled weight decay, bias correction) and the step schedule of the learning rate.

use multiversion::multiversion;
use ndarray::{Array1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::batch::Step;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
// Not `1.0 - BETA`: in f32 that is off by 1e-5 of its value.
const ONE_MINUS_BETA1: f32 = 0.1;
const ONE_MINUS_BETA2: f32 = 0.001;
const EPSILON: f32 = 1e-8;

/// How a layer's parameters are updated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerParameters {
    /// Learning rate of the first step.
    pub learning_rate: f64,
    /// Decoupled weight decay; it applies to biases too.
    pub weight_decay: f64,
    /// The learning rate is multiplied by this ...
    pub gamma: f64,
    /// ... every so many steps.
    pub period: u64,
}

impl OptimizerParameters {
    /// The learning rate in use at `step`: lr * gamma^floor(n / period), n counted from 1 over all epochs.
    pub fn learning_rate(&self, step: Step) -> f64 {
        let decays = (step.0 + 1) / self.period;
        self.learning_rate * libm::pow(self.gamma, decays as f64)
    }

    /// The numbers that one update at `step` needs.
    pub fn update(&self, step: Step) -> Update {
        Update::new(self.learning_rate(step), self.weight_decay, step)
    }
}

/// The numbers of one AdamW update that are the same for every parameter.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    keep: f32,
    rate: f32,
    second_scale: f32,
}

impl Update {
    /// With weight decay 0 this is Adam.
    pub fn new(learning_rate: f64, weight_decay: f64, step: Step) -> Self {
        let count = step.0 as f64 + 1.0;
        let first_correction = 1.0 - libm::pow(0.9, count);
        let second_correction = 1.0 - libm::pow(0.999, count);
        Self {
            keep: (1.0 - learning_rate * weight_decay) as f32,
            rate: (learning_rate / first_correction) as f32,
            second_scale: (1.0 / second_correction.sqrt()) as f32,
        }
    }

    /// Updates `values` and their moments with `gradient + shift`, and returns the sum of the new values, which is
    /// [`sum`] of them to the last bit.
    ///
    /// m = .9 m + .1 G;  v = .999 v + .001 G^2;  p = p (1 - lr wd) - lr/(1-.9^t) m / (sqrt(v)/sqrt(1-.999^t) + 1e-8)
    pub fn apply(
        &self,
        values: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
        shift: f32,
    ) -> f32 {
        apply(self, values, first, second, gradient, shift)
    }
}

/// Numbers are summed in so many lanes.
const LANES: usize = 16;

/// w of each channel: the sums of the rows of a weight, (channels, fan-in).
///
/// In the order in which an update sums them, so that a layer that is taken up again has the bits of one that was never
/// put down.
pub(crate) fn weight_sums(weight: ArrayView2<'_, f32>) -> Array1<f32> {
    weight.outer_iter().map(|row| sum(row.to_slice().expect("weights are contiguous"))).collect()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    for value in rest {
        sums[0] += value;
    }
    sums.iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn apply(
    update: &Update,
    values: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    gradient: &[f32],
    shift: f32,
) -> f32 {
    let Update { keep, rate, second_scale } = *update;
    let one = |p: &mut f32, m: &mut f32, v: &mut f32, g: f32| {
        let g = g + shift;
        *m = BETA1 * *m + ONE_MINUS_BETA1 * g;
        *v = BETA2 * *v + ONE_MINUS_BETA2 * (g * g);
        *p = *p * keep - rate * *m / (v.sqrt() * second_scale + EPSILON);
        *p
    };
    let mut sums = [0.0_f32; LANES];
    let whole = values.len() / LANES * LANES;
    let (values, values_rest) = values.split_at_mut(whole);
    let (first, first_rest) = first.split_at_mut(whole);
    let (second, second_rest) = second.split_at_mut(whole);
    let (gradient, gradient_rest) = gradient.split_at(whole);
    for (((p, m), v), g) in values
        .chunks_exact_mut(LANES)
        .zip(first.chunks_exact_mut(LANES))
        .zip(second.chunks_exact_mut(LANES))
        .zip(gradient.chunks_exact(LANES))
    {
        for lane in 0..LANES {
            sums[lane] += one(&mut p[lane], &mut m[lane], &mut v[lane], g[lane]);
        }
    }
    for (((p, m), v), &g) in values_rest.iter_mut().zip(first_rest).zip(second_rest).zip(gradient_rest) {
        sums[0] += one(p, m, v, g);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "they are the same to the last bit")]
    fn an_update_sums_what_it_leaves_as_sum_does() {
        for length in [1, 15, 16, 75, 864, 3456] {
            let numbers = |salt: usize| -> Vec<f32> {
                (0..length).map(|i| (i * salt * 7919 % 1009) as f32 / 1009.0 - 0.4).collect()
            };
            let (mut values, mut first, mut second) = (numbers(1), numbers(2), vec![0.1; length]);
            let update = Update::new(0.01, 1e-4, Step(3));
            let found = update.apply(&mut values, &mut first, &mut second, &numbers(3), 0.01);
            assert_eq!(found, sum(&values), "{length} values");
        }
    }
}
