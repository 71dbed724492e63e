//! How many directions features have that matter.

use ndarray::{Array2, Axis};
use ndarray_linalg::error::LinalgError;
use ndarray_linalg::{EigValshInto, SVD, UPLO};

/// The effective rank of features (samples, features): exp of the entropy of their normalised singular values
/// (`RankMe`, Garrido et al. 2023, equation 1). Between 1 and min(samples, features); a layer whose units all
/// say the same has a small one.
pub fn effective_rank(features: &Array2<f32>) -> Result<f64, LinalgError> {
    let (_, singular_values, _) = features.svd(false, false)?;
    Ok(exp_of_entropy(singular_values.iter().map(|&value| f64::from(value))))
}

/// The effective rank of the covariance of features (samples, features): exp of the entropy of its normalised eigenvalues
/// (Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, equation 4; of a covariance
/// singular values are eigenvalues). Between 1 and min(samples - 1, features), and 0 where nothing varies. What all samples
/// have in common does not count, and strong directions count more than by [`effective_rank`]: eigenvalues are squares.
pub fn effective_rank_of_covariance(features: &Array2<f32>) -> Result<f64, LinalgError> {
    let mut centred = features.mapv(f64::from);
    let Some(mean) = centred.mean_axis(Axis(0)) else { return Ok(0.0) };
    centred -= &mean;
    let (samples, width) = centred.dim();
    // Both products have the same eigenvalues, but for zeros.
    let product = if width <= samples { centred.t().dot(&centred) } else { centred.dot(&centred.t()) };
    let eigenvalues = product.eigvalsh_into(UPLO::Lower)?;
    Ok(exp_of_entropy(eigenvalues.iter().map(|&value| value.max(0.0))))
}

/// exp of the entropy of numbers that are not negative, divided by their sum; 0 where that is.
fn exp_of_entropy(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let total: f64 = values.clone().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let shares = values.map(|value| value / total).filter(|&share| share > 0.0);
    shares.map(|share| -share * share.ln()).sum::<f64>().exp()
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

    /// Features of independent directions, as the sines of different frequencies are over whole periods; each of its strength,
    /// around a mean that is not zero.
    fn sines(samples: usize, strengths: &[f64]) -> Array2<f32> {
        Array2::from_shape_fn((samples, strengths.len()), |(sample, frequency)| {
            let angle = std::f64::consts::TAU * (sample * (frequency + 1)) as f64 / samples as f64;
            (5.0 + strengths[frequency] * angle.sin()) as f32
        })
    }

    #[test]
    fn the_effective_rank_of_a_covariance_is_that_of_its_known_eigenvalues() {
        let strengths = [3.0, 2.0, 1.0, 0.5];
        let total: f64 = strengths.iter().map(|strength| strength * strength).sum();
        // Each eigenvalue is in proportion to the square of a strength.
        let expected = strengths
            .iter()
            .map(|strength| (strength * strength / total).powf(-strength * strength / total))
            .product::<f64>();
        let tall = sines(64, &strengths);
        assert!((effective_rank_of_covariance(&tall).unwrap() - expected).abs() < 1e-4);
        // The same features, many times over: more of them than samples.
        let copies: Vec<_> = (0..20).map(|_| tall.view()).collect();
        let wide = ndarray::concatenate(Axis(1), &copies).unwrap();
        assert!((effective_rank_of_covariance(&wide).unwrap() - expected).abs() < 1e-4);
    }

    #[test]
    fn where_nothing_varies_there_is_no_direction() {
        assert!(effective_rank_of_covariance(&Array2::from_elem((9, 4), 2.5)).unwrap() < 1e-9);
        assert!(effective_rank_of_covariance(&Array2::zeros((0, 4))).unwrap() < 1e-9);
    }
}
