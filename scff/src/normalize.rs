//! Standardisation: a sample's elements minus their mean, divided by 1e-10 plus their unbiased deviation.
//!
//! x' = (x - m) / (1e-10 + s),  m = sum x / n,  s = sqrt(sum (x - m)^2 / (n - 1))
//!
//! Sums are taken in f64, in eight lanes, so that a constant sample becomes exactly zero. A reflect-padded map is never
//! made for its statistics: its positions are counted as often as they stand in it ([`Counting`]).

use multiversion::multiversion;
use ndarray::Array2;
use ndarray::parallel::prelude::*;

use crate::layer::LayerMap;

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

/// How often each element of a row counts in its moments.
#[derive(Clone, Debug)]
pub enum Counting {
    /// Once.
    Once,
    /// As often as its position stands in the padded map.
    Padded {
        /// Of each position.
        multiplicities: Vec<f64>,
        /// Elements of a position.
        channels: usize,
    },
    /// The same of a map of so few channels that they fill no lanes: how often each element counts.
    Narrow(Vec<f64>),
}

/// Sums are taken in so many lanes.
const LANES: usize = 8;

impl Counting {
    /// How the elements of what `map` reads count.
    pub fn of(map: &LayerMap) -> Self {
        match map {
            LayerMap::Conv(conv) if conv.padding > 0 => {
                let (multiplicities, channels) = (conv.multiplicities(), conv.input.channels);
                if channels < LANES {
                    let of_position = |multiplicity| std::iter::repeat_n(multiplicity, channels);
                    return Self::Narrow(multiplicities.into_iter().flat_map(of_position).collect());
                }
                Self::Padded { multiplicities, channels }
            }
            _ => Self::Once,
        }
    }

    /// How many elements a row of `length` elements counts as.
    pub fn count(&self, length: usize) -> f64 {
        match self {
            Self::Once => length as f64,
            Self::Padded { multiplicities, channels } => {
                multiplicities.iter().sum::<f64>() * *channels as f64
            }
            Self::Narrow(multiplicities) => multiplicities.iter().sum(),
        }
    }
}

/// Standardises every row of `rows` (samples, elements) in place.
pub fn standardize_rows(rows: &mut Array2<f32>, counting: &Counting) {
    rows.outer_iter_mut().into_par_iter().for_each(|mut row| {
        standardize(row.as_slice_mut().expect("rows are contiguous"), counting);
    });
}

/// Standardises one sample in place, by the mean and the deviation of what its elements count as.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub fn standardize(values: &mut [f32], counting: &Counting) {
    let count = counting.count(values.len());
    let mean = sum(values, counting, |x| x) / count;
    let variance = sum(values, counting, |x| (x - mean) * (x - mean)) / (count - 1.0).max(1.0);
    let scale = 1.0 / (EPSILON + variance.sqrt());
    for value in values.iter_mut() {
        *value = ((f64::from(*value) - mean) * scale) as f32;
    }
}

/// The moments of what a row's elements count as.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
pub fn moments(values: &[f32], counting: &Counting) -> Moments {
    Moments { sum: sum(values, counting, |x| x), squares: sum(values, counting, |x| x * x) }
}

#[inline(always)]
fn sum(values: &[f32], counting: &Counting, term: impl Fn(f64) -> f64) -> f64 {
    match counting {
        Counting::Once => lanes_sum(values, term),
        Counting::Padded { multiplicities, channels } => {
            // A loop: what an iterator calls may be compiled apart, for no instruction set in particular.
            let mut sum = 0.0;
            for (position, multiplicity) in values.chunks_exact(*channels).zip(multiplicities) {
                sum += multiplicity * lanes_sum(position, &term);
            }
            sum
        }
        Counting::Narrow(multiplicities) => {
            let mut lanes = [0.0_f64; LANES];
            let mut add = |lane: usize, value: f32, multiplicity: f64| {
                lanes[lane] += multiplicity * term(f64::from(value));
            };
            let (values, last_values) = values.as_chunks::<LANES>();
            let (multiplicities, last) = multiplicities.as_chunks::<LANES>();
            for (values, multiplicities) in values.iter().zip(multiplicities) {
                for lane in 0..LANES {
                    add(lane, values[lane], multiplicities[lane]);
                }
            }
            for (lane, (&value, &multiplicity)) in last_values.iter().zip(last).enumerate() {
                add(lane, value, multiplicity);
            }
            lanes.iter().sum()
        }
    }
}

#[inline(always)]
fn lanes_sum(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let chunks = values.chunks_exact(LANES);
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
    use crate::layer::{Algorithm, Conv, MapShape};

    #[test]
    fn a_constant_sample_becomes_zero() {
        let mut values = vec![0.1_f32; 784];
        standardize(&mut values, &Counting::Once);
        assert!(values.iter().all(|&value| value == 0.0));
        assert_eq!(moments(&values, &Counting::Once), Moments::default());
    }

    #[test]
    fn a_padded_map_counts_as_if_it_were_made_however_many_channels_it_has() {
        const ROWS: [usize; 9] = [2, 1, 0, 1, 2, 3, 4, 3, 2];
        const COLUMNS: [usize; 8] = [2, 1, 0, 1, 2, 3, 2, 1];
        for channels in [1, 3, 8, 11] {
            let input = MapShape { height: 5, width: 4, channels };
            let conv = Conv { input, channels: 2, kernel: 5, padding: 2, algorithm: Algorithm::Direct };
            let counting = Counting::of(&LayerMap::Conv(conv));
            let values: Vec<f32> = (0..input.len()).map(|i| (i * i % 37) as f32).collect();
            let positions = ROWS.iter().flat_map(|row| COLUMNS.iter().map(move |column| row * 4 + column));
            let padded: Vec<f32> =
                positions.flat_map(|position| &values[position * channels..][..channels]).copied().collect();
            assert_eq!(counting.count(values.len()) as usize, padded.len());
            // Sums of whole numbers are exact in any order.
            assert_eq!(moments(&values, &counting), moments(&padded, &Counting::Once), "{channels} channels");
        }
    }

    #[test]
    fn a_standardised_sample_has_mean_zero_and_unbiased_deviation_one() {
        let mut values: Vec<f32> = (0..101).map(|i| (i * i % 37) as f32).collect();
        standardize(&mut values, &Counting::Once);
        let moments = moments(&values, &Counting::Once);
        assert!(moments.sum.abs() < 1e-5, "{moments:?}");
        assert!((moments.squares - 100.0).abs() < 1e-4, "{moments:?}");
    }
}
