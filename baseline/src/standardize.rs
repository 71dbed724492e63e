//! Standardisation, as in `scff::normalize`, with its gradient.

use candle_core::{Result, Tensor};
use scff::normalize::EPSILON;

/// Added to variances: the square root has no slope at zero. Of deviations above 0.001 it changes less than a millionth.
const LEAST_VARIANCE: f64 = 1e-12;

/// Subtracts the mean of each row, (rows, elements), and divides by 1e-10 plus the unbiased deviation of so many `copies` of
/// the row, side by side.
pub fn standardize(rows: &Tensor, copies: usize) -> Result<Tensor> {
    let count = (copies * rows.dim(1)?) as f64;
    let centred = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
    let variance =
        centred.sqr()?.sum_keepdim(1)?.affine(copies as f64 / (count - 1.0).max(1.0), LEAST_VARIANCE)?;
    centred.broadcast_div(&(variance.sqrt()? + EPSILON)?)
}
