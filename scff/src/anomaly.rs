//! How unlike other samples a sample is, by its features or its goodness; and how well that tells two sets apart.
//!
//! - [`Principal`]: the Mahalanobis distance over principal components with shrunk variances. With the mean m of n samples
//!   and their covariance C = V diag(lambda) V^T, of which the k components of the largest variances are kept,
//!   lambda'_i = (1 - a) lambda_i + a mean(lambda), and the distance of x is sqrt(sum_i (v_i (x - m))^2 / lambda'_i).
//! - [`nearest`]: the mean distance to the nearest of other samples.
//! - [`Typical`]: how many deviations numbers lie from what is usual, such as a sample's goodness in each layer.
//! - [`auroc`]: the area under the curve of true over false alarms.

use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use ndarray_linalg::error::LinalgError;
use ndarray_linalg::{Eigh, UPLO};

use crate::blas::product;

/// Shrinkage a of variances towards their mean.
pub const SHRINKAGE: f64 = 0.01;
/// Principal components k, at most.
pub const COMPONENTS: usize = 1024;
/// Samples of one product.
const ROWS_PER_CALL: usize = 96;

/// A mean, the directions of the largest variances about it, and those variances, shrunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// m, (features).
    pub mean: Array1<f32>,
    /// v_i / sqrt(lambda'_i), (components, features).
    pub whitening: Array2<f32>,
}

impl Principal {
    /// Those of samples (samples, features), two at least.
    pub fn of(samples: ArrayView2<'_, f32>) -> Result<Self, LinalgError> {
        let (count, features) = samples.dim();
        assert!(count > 1, "a variance takes two samples");
        let mut centred = samples.mapv(f64::from);
        let mean = centred.mean_axis(Axis(0)).expect("samples");
        centred -= &mean;
        let kept = COMPONENTS.min(features).min(count - 1);
        // Of the two products of the samples with themselves, the smaller one: their variances are the same.
        let (variances, directions) = if features <= count {
            eigen(centred.t().dot(&centred) / (count - 1) as f64, kept)?
        } else {
            let (variances, weights) = eigen(centred.dot(&centred.t()) / (count - 1) as f64, kept)?;
            let mut directions = weights.dot(&centred);
            for mut direction in directions.outer_iter_mut() {
                let length = direction.dot(&direction).sqrt();
                direction /= length.max(f64::MIN_POSITIVE);
            }
            (variances, directions)
        };
        let mean_variance = variances.mean().unwrap_or(0.0);
        let mut whitening = directions;
        for (mut direction, variance) in whitening.outer_iter_mut().zip(&variances) {
            let shrunk = (1.0 - SHRINKAGE) * variance.max(0.0) + SHRINKAGE * mean_variance;
            // Samples that are all alike have no variance: whatever is unlike them is far away.
            direction /= shrunk.max(f64::from(f32::MIN_POSITIVE)).sqrt();
        }
        Ok(Self { mean: mean.mapv(|value| value as f32), whitening: whitening.mapv(|value| value as f32) })
    }

    /// The distance of each of some samples (samples, features).
    pub fn distances(&self, samples: ArrayView2<'_, f32>) -> Vec<f32> {
        let centred = &samples - &self.mean;
        let whitened = by_chunks(centred.view(), self.whitening.view());
        whitened.outer_iter().map(|row| row.dot(&row).sqrt()).collect()
    }
}

/// The largest eigenvalues of a symmetric matrix, falling, and their eigenvectors, (kept, size).
fn eigen(matrix: Array2<f64>, kept: usize) -> Result<(Array1<f64>, Array2<f64>), LinalgError> {
    let (values, vectors) = matrix.eigh(UPLO::Lower)?;
    let first = values.len() - kept;
    let values = values.slice(s![first..;-1]).to_owned();
    Ok((values, vectors.slice(s![.., first..;-1]).t().as_standard_layout().into_owned()))
}

/// `samples` (samples, features) times `others` (others, features) transposed, some samples on each thread.
fn by_chunks(samples: ArrayView2<'_, f32>, others: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut result = Array2::zeros((samples.nrows(), others.nrows()));
    result
        .axis_chunks_iter_mut(Axis(0), ROWS_PER_CALL)
        .into_par_iter()
        .zip(samples.axis_chunks_iter(Axis(0), ROWS_PER_CALL))
        .for_each(|(mut result, samples)| product(samples, others, &mut result));
    result
}

/// The mean distance of each of some samples (samples, features) to the `count` nearest of `others` (others, features).
///
/// Distances are those of single precision: of samples that are far from zero and near to each other they are coarse.
pub fn nearest(samples: ArrayView2<'_, f32>, others: ArrayView2<'_, f32>, count: usize) -> Vec<f32> {
    let squares = |row: ArrayView1<'_, f32>| row.dot(&row);
    let lengths: Vec<f32> = others.outer_iter().map(squares).collect();
    let products = by_chunks(samples, others);
    let count = count.min(others.nrows()).max(1);
    let distance = |(sample, products): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
        let own = squares(sample);
        let distance = |(length, product): (&f32, &f32)| (own + length - 2.0 * product).max(0.0);
        let mut distances: Vec<f32> = lengths.iter().zip(products).map(distance).collect();
        let (near, last, _) = distances.select_nth_unstable_by(count - 1, f32::total_cmp);
        let sum: f64 = near.iter().chain([&*last]).map(|square| f64::from(*square).sqrt()).sum();
        (sum / count as f64) as f32
    };
    samples.axis_iter(Axis(0)).into_par_iter().zip(products.axis_iter(Axis(0))).map(distance).collect()
}

/// Means and deviations of some numbers of each of many samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Typical {
    /// (numbers)
    pub means: Array1<f32>,
    /// (numbers)
    pub deviations: Array1<f32>,
}

impl Typical {
    /// Those of numbers (samples, numbers).
    pub fn of(numbers: ArrayView2<'_, f64>) -> Self {
        let means = numbers.mean_axis(Axis(0)).expect("samples").mapv(|mean| mean as f32);
        Self { deviations: numbers.std_axis(Axis(0), 0.0).mapv(|deviation| deviation as f32), means }
    }

    /// The root mean square, over the numbers of each sample, of how many deviations each lies from its mean.
    pub fn distances(&self, numbers: ArrayView2<'_, f64>) -> Vec<f32> {
        let distance = |row: ArrayView1<'_, f64>| {
            let usual = self.means.iter().zip(&self.deviations);
            let squares = row.iter().zip(usual).map(|(number, (mean, deviation))| {
                ((number - f64::from(*mean)) / f64::from(deviation.max(f32::MIN_POSITIVE))).powi(2)
            });
            (squares.sum::<f64>() / row.len() as f64).sqrt() as f32
        };
        numbers.outer_iter().map(distance).collect()
    }
}

/// The probability that a score of `positives` is above one of `negatives`, ties counted half: the area under the receiver
/// operating characteristic. None where one of them is empty.
pub fn auroc(positives: &[f32], negatives: &[f32]) -> Option<f64> {
    let pairs = positives.len() as f64 * negatives.len() as f64;
    let mut sorted = negatives.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let below = |score: &f32| {
        let below = sorted.partition_point(|negative| negative < score);
        let up_to = sorted.partition_point(|negative| negative <= score);
        (below + up_to) as f64 / 2.0
    };
    (pairs > 0.0).then(|| positives.iter().map(below).sum::<f64>() / pairs)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::batch::{Epoch, Step};
    use crate::seed::{NO_LAYER, Purpose, Seed, symmetric};

    fn random() -> ChaCha8Rng {
        Seed(3).stream(Purpose::Order, NO_LAYER, Epoch(0), Step(0))
    }

    /// Numbers that look random, with a variance that falls from feature to feature.
    fn samples(count: usize, features: usize, random: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_simple_fn((count, features), || symmetric(random, 1.0))
            / &Array1::from_iter((1..=features).map(|feature| feature as f32))
            + 0.5
    }

    /// The same by the covariance's inverse, all components kept and shrunk: lambda' as matrices.
    fn naive_distance(samples: &Array2<f32>, sample: ArrayView1<'_, f32>) -> f64 {
        use ndarray_linalg::Solve;
        let (count, features) = samples.dim();
        let samples = samples.mapv(f64::from);
        let mean = samples.mean_axis(Axis(0)).unwrap();
        let mut covariance = Array2::<f64>::zeros((features, features));
        for row in samples.outer_iter() {
            for (i, j) in (0..features).flat_map(|i| (0..features).map(move |j| (i, j))) {
                covariance[[i, j]] += (row[i] - mean[i]) * (row[j] - mean[j]) / (count - 1) as f64;
            }
        }
        let mean_variance = covariance.diag().sum() / features as f64;
        let shrunk =
            covariance * (1.0 - SHRINKAGE) + Array2::<f64>::eye(features) * (SHRINKAGE * mean_variance);
        let centred = sample.mapv(f64::from) - &mean;
        centred.dot(&shrunk.solve(&centred).unwrap()).sqrt()
    }

    #[test]
    fn distances_over_all_components_are_those_of_the_inverse_covariance() {
        let mut random = random();
        let known = samples(300, 6, &mut random);
        let principal = Principal::of(known.view()).unwrap();
        assert_eq!(principal.whitening.dim(), (6, 6));
        let others = samples(20, 6, &mut random) * 3.0;
        for (found, sample) in principal.distances(others.view()).into_iter().zip(others.outer_iter()) {
            let expected = naive_distance(&known, sample);
            assert!((f64::from(found) / expected - 1.0).abs() < 1e-4, "{found}, {expected}");
        }
    }

    #[test]
    fn few_samples_of_many_features_give_the_components_of_their_covariance() {
        let mut random = random();
        let few = samples(12, 30, &mut random);
        let principal = Principal::of(few.view()).unwrap();
        assert_eq!(principal.whitening.dim(), (11, 30));
        // The same eigenvectors of the large matrix.
        let centred = few.mapv(f64::from) - &few.mapv(f64::from).mean_axis(Axis(0)).unwrap();
        let (variances, directions) = eigen(centred.t().dot(&centred) / 11.0, 11).unwrap();
        for (found, (expected, variance)) in
            principal.whitening.outer_iter().zip(directions.outer_iter().zip(&variances))
        {
            let shrunk = 0.99 * variance + 0.01 * variances.mean().unwrap();
            let along = found.mapv(f64::from).dot(&expected).abs() * shrunk.sqrt();
            assert!((along - 1.0).abs() < 1e-4, "{along}");
        }
        // What lies out of their span does not count; samples that are all alike are told from others.
        let alike = Array2::from_elem((5, 3), 2.0_f32);
        let principal = Principal::of(alike.view()).unwrap();
        assert!(principal.distances(alike.view()).iter().all(|&distance| distance < 1e-6));
    }

    #[test]
    fn the_nearest_are_those_that_a_search_of_all_finds() {
        let mut random = random();
        let (others, found) = (samples(150, 5, &mut random), samples(130, 5, &mut random));
        for count in [1, 4] {
            let nearest = nearest(found.view(), others.view(), count);
            for (nearest, sample) in nearest.into_iter().zip(found.outer_iter()) {
                let distance = |other: ArrayView1<'_, f32>| (&other - &sample).mapv(|v| v * v).sum().sqrt();
                let mut distances: Vec<f32> = others.outer_iter().map(distance).collect();
                distances.sort_unstable_by(f32::total_cmp);
                let expected = distances[..count].iter().sum::<f32>() / count as f32;
                assert!((nearest - expected).abs() < 1e-3, "{nearest}, {expected}");
            }
        }
        assert!(nearest(others.view(), others.view(), 1).iter().all(|&distance| distance < 1e-3));
    }

    #[test]
    fn deviations_from_what_is_typical_go_both_ways() {
        let typical = Typical::of(ndarray::array![[1.0, 10.0], [3.0, 30.0]].view());
        let found = typical.distances(ndarray::array![[2.0, 20.0], [4.0, 20.0], [0.0, 0.0]].view());
        assert_eq!(found, [0.0, 2.0_f32.sqrt(), 2.0]);
    }

    #[test]
    fn the_auroc_is_the_share_of_pairs_in_the_right_order() {
        let mut random = random();
        let mut draw = |count: usize, more: f32| -> Vec<f32> {
            // Few values, so that there are ties.
            (0..count).map(|_| (symmetric(&mut random, 3.0) + more).round()).collect()
        };
        let (positives, negatives) = (draw(40, 1.0), draw(70, 0.0));
        let mut naive = 0.0;
        for (positive, negative) in positives.iter().flat_map(|p| negatives.iter().map(move |n| (p, n))) {
            naive += match positive.partial_cmp(negative).expect("numbers") {
                Ordering::Greater => 1.0,
                Ordering::Equal => 0.5,
                Ordering::Less => 0.0,
            };
        }
        let expected = naive / (40.0 * 70.0);
        assert!((auroc(&positives, &negatives).unwrap() - expected).abs() < 1e-12);
        assert_eq!(auroc(&[], &negatives), None);
    }
}
