//! Mel filters over a power spectrum, and the cosine transform of what they pass on.

use std::f64::consts::PI;

/// A filter: a triangle over neighbouring bins.
pub struct Filter {
    /// The first bin that it passes.
    first: usize,
    /// How much it passes of each bin from there on.
    weights: Vec<f64>,
}

impl Filter {
    /// What it passes of a power spectrum.
    pub fn of(&self, power: &[f64]) -> f64 {
        self.weights.iter().zip(&power[self.first..]).map(|(weight, power)| weight * power).sum()
    }
}

/// `count` triangles of height 1, evenly spaced on the mel scale m = 2595 log10(1 + f/700) from 0 to `highest` Hz, over
/// `bins` evenly spaced frequencies from 0 to `highest`. A filter that lies between two bins passes nothing.
pub fn filters(count: usize, bins: usize, highest: f64) -> Vec<Filter> {
    let top = 2595.0 * libm::log10(1.0 + highest / 700.0);
    let corner = |m: usize| {
        let mel = top * m as f64 / (count + 1) as f64;
        700.0 * (libm::pow(10.0, mel / 2595.0) - 1.0)
    };
    let frequency = |bin: usize| highest * bin as f64 / (bins - 1) as f64;
    let filter = |m: usize| {
        let [left, middle, right] = [m, m + 1, m + 2].map(corner);
        let weight = |bin: usize| {
            let rising = (frequency(bin) - left) / (middle - left);
            let falling = (right - frequency(bin)) / (right - middle);
            rising.min(falling).max(0.0)
        };
        let first = (0..bins).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        let weights = (first..bins).map(weight).take_while(|&weight| weight > 0.0).collect();
        Filter { first, weights }
    };
    (0..count).map(filter).collect()
}

/// The first `count` rows of the orthonormal cosine transform (DCT-II) of `inputs` numbers, (count, inputs).
pub fn cosine_transform(count: usize, inputs: usize) -> Vec<Vec<f64>> {
    let n = inputs as f64;
    let row = |k: usize| {
        let scale = libm::sqrt(if k == 0 { 1.0 / n } else { 2.0 / n });
        (0..inputs).map(|i| scale * libm::cos(PI / n * (i as f64 + 0.5) * k as f64)).collect()
    };
    (0..count).map(row).collect()
}
