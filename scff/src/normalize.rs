//! Standardisation: a sample's elements minus their mean, divided by 1e-10 plus their unbiased deviation.
//!
//! x' = (x - m) / (1e-10 + s),  m = sum x / n,  s = sqrt(sum (x - m)^2 / (n - 1))
//!
//! Sums are taken in f64, in eight lanes, so that a constant sample becomes exactly zero.

use multiversion::multiversion;
use ndarray::Array2;
use ndarray::parallel::prelude::*;

/// Added to every deviation before dividing by it (paper's code: `1e-10`).
pub const EPSILON: f64 = 1e-10;

/// The sum of a row's elements and the sum of their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Sum of the elements.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
}

/// Standardises every row of `rows` (samples, elements) in place and returns each result's moments.
pub fn standardize_rows(rows: &mut Array2<f32>) -> Vec<Moments> {
    rows.outer_iter_mut()
        .into_par_iter()
        .map(|mut row| standardize(row.as_slice_mut().expect("rows are contiguous")))
        .collect()
}

/// Standardises one sample in place and returns the moments of the result.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub fn standardize(values: &mut [f32]) -> Moments {
    let count = values.len() as f64;
    let mean = lanes_sum(values, |x| x) / count;
    let variance = lanes_sum(values, |x| (x - mean) * (x - mean)) / (count - 1.0).max(1.0);
    let scale = 1.0 / (EPSILON + variance.sqrt());
    for value in values.iter_mut() {
        *value = ((f64::from(*value) - mean) * scale) as f32;
    }
    Moments { sum: lanes_sum(values, |x| x), squares: lanes_sum(values, |x| x * x) }
}

#[inline(always)]
fn lanes_sum(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += term(f64::from(value));
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += term(f64::from(value));
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_sample_becomes_zero() {
        let mut values = vec![0.1_f32; 784];
        let moments = standardize(&mut values);
        assert!(values.iter().all(|&value| value == 0.0));
        assert_eq!(moments, Moments::default());
    }

    #[test]
    fn a_standardised_sample_has_mean_zero_and_unbiased_deviation_one() {
        let mut values: Vec<f32> = (0..101).map(|i| (i * i % 37) as f32).collect();
        let moments = standardize(&mut values);
        assert!(moments.sum.abs() < 1e-5, "{moments:?}");
        assert!((moments.squares - 100.0).abs() < 1e-4, "{moments:?}");
    }
}
