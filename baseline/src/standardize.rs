//! Standardisation, as in `scff::normalize`, with its gradient.
//!
//! y = (x - m) / d,   d = 1e-10 + s,   s = sqrt(sum (x - m)^2 k / (k n - 1))
//!
//! dx = h - mean h,   h = g / d - (x - m) (sum g (x - m)) k / ((k n - 1) s d^2)

use candle_core::{Result, Tensor};
use scff::normalize::EPSILON;

use crate::operation::{OfRows, of_rows};

/// Added to variances: the square root has no slope at zero. Of deviations above 0.001 it changes less than a millionth.
const LEAST_VARIANCE: f64 = 1e-12;

/// Subtracts the mean of each row, (rows, elements), and divides by 1e-10 plus the unbiased deviation of so many `copies` of
/// the row, side by side.
pub fn standardize(rows: &Tensor, copies: usize) -> Result<Tensor> {
    of_rows(Standardization { elements: rows.dim(1)?, copies }, rows)
}

struct Standardization {
    /// n
    elements: usize,
    /// k
    copies: usize,
}

impl Standardization {
    /// k / (k n - 1)
    fn share(&self) -> f64 {
        let copies = self.copies as f64;
        copies / (copies * self.elements as f64 - 1.0).max(1.0)
    }

    /// m and s.
    fn moments(&self, row: &[f32]) -> (f64, f64) {
        let mean = mean(row);
        let squares: f64 = row.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
        (mean, (squares * self.share() + LEAST_VARIANCE).sqrt())
    }
}

impl OfRows for Standardization {
    const NAME: &'static str = "standardisation";

    fn inputs(&self) -> usize {
        self.elements
    }

    fn outputs(&self) -> usize {
        self.elements
    }

    fn forward(&self, row: &[f32], out: &mut [f32]) {
        let (mean, deviation) = self.moments(row);
        let (mean, scale) = (mean as f32, (1.0 / (deviation + EPSILON)) as f32);
        for (out, value) in out.iter_mut().zip(row) {
            *out = (value - mean) * scale;
        }
    }

    fn backward(&self, row: &[f32], _result: &[f32], gradient: &[f32], out: &mut [f32]) {
        let (mean_of_row, deviation) = self.moments(row);
        let divisor = deviation + EPSILON;
        let product = |(&value, &slope): (&f32, &f32)| (f64::from(value) - mean_of_row) * f64::from(slope);
        let products: f64 = row.iter().zip(gradient).map(product).sum();
        let towards = products * self.share() / (deviation * divisor * divisor);
        // The mean of x - m is zero.
        let mean_of_gradient = mean(gradient);
        for ((out, value), slope) in out.iter_mut().zip(row).zip(gradient) {
            let centred = f64::from(*value) - mean_of_row;
            *out = ((f64::from(*slope) - mean_of_gradient) / divisor - centred * towards) as f32;
        }
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::tests::{check_gradients, distinct};

    #[test]
    fn gradients_are_finite_differences() {
        for copies in [1, 2] {
            check_gradients(&[distinct(3, 7)], |inputs| standardize(&inputs[0], copies).unwrap());
        }
    }
}
