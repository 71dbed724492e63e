//! Label-free measures of features.

use ndarray::Array2;
use ndarray_linalg::SVD;
use ndarray_linalg::error::LinalgError;

/// The effective rank of features (samples, features): exp of the entropy of their normalised singular values
/// (`RankMe`, Garrido et al. 2023, equation 1). Between 1 and min(samples, features); a layer whose units all
/// say the same has a small one.
pub fn effective_rank(features: &Array2<f32>) -> Result<f64, LinalgError> {
    let (_, singular_values, _) = features.svd(false, false)?;
    let total: f64 = singular_values.iter().map(|&value| f64::from(value)).sum();
    if total <= 0.0 {
        return Ok(0.0);
    }
    let entropy: f64 = singular_values
        .iter()
        .map(|&value| f64::from(value) / total)
        .filter(|&share| share > 0.0)
        .map(|share| -share * share.ln())
        .sum();
    Ok(entropy.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_rank_counts_equally_strong_directions() {
        let identity = Array2::<f32>::eye(6);
        assert!((effective_rank(&identity).unwrap() - 6.0).abs() < 1e-4);
        let copies = Array2::from_shape_fn((8, 5), |(sample, _)| sample as f32 + 1.0);
        assert!((effective_rank(&copies).unwrap() - 1.0).abs() < 1e-2);
    }
}
