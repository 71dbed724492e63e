//! Which features a step leaves out.

use multiversion::multiversion;
use ndarray::Array2;
use rand_chacha::rand_core::Rng;

use crate::batch::{Epoch, LayerIndex, Step};
use crate::layer::ChannelRange;
use crate::seed::{Purpose, Seed};

/// The dropout mask of one step.
pub struct Dropout {
    /// What it follows from, with epoch and step.
    pub seed: Seed,
    /// The epoch.
    pub epoch: Epoch,
    /// The step within it.
    pub step: Step,
    /// That a feature is dropped.
    pub probability: f32,
}

impl Dropout {
    /// Drops each feature of a block, (batch, range), with the given probability (to 1/65536) and scales the others by 1 / (1 - p).
    pub fn apply(&self, range: ChannelRange, inputs: &mut Array2<f32>) {
        if self.probability == 0.0 {
            return;
        }
        let stream = LayerIndex(range.start as u32);
        let mut random = self.seed.stream(Purpose::Dropout, stream, self.epoch, self.step);
        let threshold = (self.probability * 65536.0).round() as u16;
        let scale = 1.0 / (1.0 - self.probability);
        let mut bytes = vec![0_u8; 2 * inputs.ncols()];
        for mut row in inputs.outer_iter_mut() {
            random.fill_bytes(&mut bytes);
            drop_below(threshold, scale, bytes.as_chunks().0, row.as_slice_mut().expect("contiguous"));
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn drop_below(threshold: u16, scale: f32, draws: &[[u8; 2]], values: &mut [f32]) {
    for (value, draw) in values.iter_mut().zip(draws) {
        *value *= if u16::from_le_bytes(*draw) >= threshold { scale } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_drops_the_given_share_and_keeps_the_mean() {
        let dropout = Dropout { seed: Seed(1), epoch: Epoch(2), step: Step(3), probability: 0.2 };
        let mut inputs = Array2::from_elem((64, 1024), 1.0);
        dropout.apply(ChannelRange { start: 0, end: 1024 }, &mut inputs);
        let dropped = inputs.iter().filter(|&&value| value == 0.0).count() as f64 / 65536.0;
        // Five standard deviations: 5 * sqrt(0.2 * 0.8 / 65536) = 0.008.
        assert!((dropped - 0.2).abs() < 0.008, "{dropped}");
        assert!(inputs.iter().all(|&value| value == 0.0 || (value - 1.25).abs() < 1e-6));
    }
}
