//! Which samples are close to each other, and whether two layers agree on that.

use std::cmp::Ordering;
use std::collections::HashSet;

use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView1, Axis};

/// The nearest neighbours of every sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// (samples, k), the nearest first.
    indices: Array2<u32>,
}

impl Neighbours {
    /// The `k` samples nearest to each by Euclidean distance of features (samples, features), itself not among them; of
    /// samples at the same distance those that come first.
    ///
    /// # Panics
    /// Where there are not more samples than `k`, or `k` is 0.
    pub fn of(features: &Array2<f32>, k: usize) -> Self {
        let samples = features.nrows();
        assert!((1..samples).contains(&k), "{k} neighbours of {samples} samples");
        let features = features.mapv(f64::from);
        let norms = features.map_axis(Axis(1), |row| row.dot(&row));
        let products = features.dot(&features.t());
        let mut indices = Array2::zeros((samples, k));
        indices.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(sample, mut out)| {
            let nearest = nearest(sample, products.row(sample), &norms, k);
            out.iter_mut().zip(nearest).for_each(|(out, index)| *out = index);
        });
        Self { indices }
    }
}

/// `products`: those of the sample's features with everybody's; `norms`: everybody's with themselves.
fn nearest(sample: usize, products: ArrayView1<'_, f64>, norms: &Array1<f64>, k: usize) -> Vec<u32> {
    // The sample's own norm is the same in all of its distances.
    let distance = |other: usize| norms[other] - 2.0 * products[other];
    let mut others: Vec<(f64, u32)> = (0..norms.len())
        .filter(|&other| other != sample)
        .map(|other| (distance(other), other as u32))
        .collect();
    let nearer = |one: &(f64, u32), other: &(f64, u32)| -> Ordering {
        one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
    };
    others.select_nth_unstable_by(k - 1, nearer);
    others.truncate(k);
    others.sort_unstable_by(nearer);
    others.into_iter().map(|(_, other)| other).collect()
}

/// The mean share of a sample's k nearest neighbours by one set of features that are among its k nearest by another (the mutual
/// nearest neighbours of Huh et al., "The Platonic Representation Hypothesis", ICML 2024): 1 where both order samples alike,
/// k / (samples - 1) by chance.
///
/// # Panics
/// Where the two are not as many neighbours of as many samples.
pub fn agreement(one: &Neighbours, other: &Neighbours) -> f64 {
    assert_eq!(one.indices.dim(), other.indices.dim(), "as many neighbours of the same samples");
    let shared: usize = one
        .indices
        .outer_iter()
        .zip(other.indices.outer_iter())
        .map(|(one, other)| {
            let other: HashSet<u32> = other.iter().copied().collect();
            one.iter().filter(|index| other.contains(index)).count()
        })
        .sum();
    shared as f64 / one.indices.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features that look random.
    fn features(samples: usize, width: usize, salt: usize) -> Array2<f32> {
        Array2::from_shape_fn((samples, width), |(sample, feature)| {
            ((sample * 7919 + feature * 104_729 + salt * 1_299_709).pow(2) % 2003) as f32 / 2003.0
        })
    }

    /// Every other sample, sorted by its distance.
    fn naive(features: &Array2<f32>, k: usize) -> Vec<Vec<u32>> {
        let distance = |one: usize, other: usize| -> f64 {
            let pairs = features.row(one).into_iter().zip(features.row(other));
            pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let sorted = |sample: usize| {
            let mut others: Vec<usize> = (0..features.nrows()).filter(|&other| other != sample).collect();
            others.sort_by(|&a, &b| distance(sample, a).total_cmp(&distance(sample, b)));
            others.into_iter().take(k).map(|other| other as u32).collect()
        };
        (0..features.nrows()).map(sorted).collect()
    }

    #[test]
    fn the_nearest_are_those_of_every_distance_sorted() {
        let features = features(60, 7, 0);
        let found = Neighbours::of(&features, 5);
        let found: Vec<Vec<u32>> = found.indices.outer_iter().map(|row| row.to_vec()).collect();
        assert_eq!(found, naive(&features, 5));
    }

    #[test]
    fn layers_agree_as_far_as_their_neighbours_are_the_same() {
        let [one, other] = [0, 1].map(|salt| features(60, 7, salt));
        let (found, expected) =
            ([&one, &other].map(|f| Neighbours::of(f, 5)), [&one, &other].map(|f| naive(f, 5)));
        let shared: usize = (0..60)
            .map(|sample| {
                expected[0][sample].iter().filter(|index| expected[1][sample].contains(index)).count()
            })
            .sum();
        assert!((agreement(&found[0], &found[1]) - shared as f64 / 300.0).abs() < 1e-12);
        // Neither scale nor order of features matters to what is near.
        let scaled = Neighbours::of(&one.slice(ndarray::s![.., ..;-1]).mapv(|value| 4.0 * value), 5);
        assert!((agreement(&found[0], &scaled) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn of_samples_that_are_equally_near_the_first_are_taken() {
        let alike = Neighbours::of(&Array2::from_elem((5, 2), 1.0), 2);
        assert_eq!(alike.indices.row(0).to_vec(), [1, 2]);
        assert_eq!(alike.indices.row(4).to_vec(), [0, 1]);
    }
}
