//! A readout for few labels: multinomial logistic regression with an L2 penalty, whose strength cross-validation chooses.
//!
//! It minimises, over weights W (classes, features) and a bias b (classes) of n samples x_i with labels y_i,
//!
//! ```text
//! J(W, b) = 1/n sum_i -log softmax(W x_i + b)[y_i]  +  strength / 2 ||W||²
//! ```
//!
//! where the x_i are centred and scaled, all by one number, to a mean squared norm of 1, so that a strength means the same
//! whatever the features are. The minimum is one point, but for a number added to all biases, and W lies in the span of the
//! samples. Where there are more features than samples they are first rotated into that span ([`span`]), which changes no product
//! of two samples and no norm of W: the problem is then as small as the samples are few. L-BFGS finds the minimum ([`lbfgs`]). All is
//! in double precision, and the same labels in the same order give the same bits on one kernel of BLAS.

mod classifier;
mod cross_validation;
mod lbfgs;
mod objective;
mod span;

use ndarray::ArrayView2;
use ndarray_linalg::error::LinalgError;

use crate::layer::Tensors;
use crate::seed::Seed;

pub use cross_validation::CrossValidation;

use classifier::Classifier;
use cross_validation::cross_validate;
use objective::{fit, largest};
use span::Span;

/// The strength where nothing can be held out to choose one by: in the middle of those that are tried, on a scale of exponents.
pub const STRENGTH: f64 = 1e-3;

/// What was learned of few labels.
#[derive(Clone, Debug)]
pub struct FewLabels {
    /// The weights (classes, features) and the bias (classes), for features as they came.
    pub parameters: Tensors,
    /// The strength of the penalty.
    pub strength: f64,
    /// How it was chosen; absent where no class has two samples, and [`STRENGTH`] was taken.
    pub cross_validation: Option<CrossValidation>,
    /// Share of the labelled samples that are classified as labelled.
    pub train_accuracy: f64,
}

/// Features in whose span nothing can be learned.
#[derive(Debug, thiserror::Error)]
#[error("the span of the labelled samples' features is not found: {0}")]
pub struct NoSpan(#[from] LinalgError);

/// Learns a readout of features (samples, features) and their labels, each below `classes`; `seed`: which samples are held out
/// together follows from it.
///
/// # Errors
/// Where the samples' span is not found, as where a feature is not finite.
///
/// # Panics
/// Where there is not a label for each sample.
pub fn learn(
    features: ArrayView2<'_, f32>,
    labels: &[u32],
    classes: usize,
    seed: Seed,
) -> Result<FewLabels, NoSpan> {
    assert_eq!(features.nrows(), labels.len(), "a label for each sample");
    let span = Span::of(features)?;
    let cross_validation = cross_validate(&span.inputs, labels, classes, seed);
    let strength = cross_validation.as_ref().map_or(STRENGTH, |chosen| chosen.strength);
    let classifier = fit(&span.inputs, labels, strength, Classifier::zeros(span.inputs.ncols(), classes));
    let logits = classifier.logits(&span.inputs);
    let correct =
        logits.outer_iter().zip(labels).filter(|(row, label)| largest(*row) == **label as usize).count();
    Ok(FewLabels {
        parameters: span.parameters(features, &classifier),
        strength,
        cross_validation,
        train_accuracy: correct as f64 / labels.len().max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;

    /// Features that look random and tell their class a little.
    pub(super) fn few(samples: usize, width: usize, classes: usize) -> (Array2<f32>, Vec<u32>) {
        let labels: Vec<u32> = (0..samples).map(|sample| (sample % classes) as u32).collect();
        let features = Array2::from_shape_fn((samples, width), |(sample, feature)| {
            let noise = ((sample * 7919 + feature * 104_729 + 17).pow(2) % 2003) as f32 / 2003.0;
            let told = feature % classes == labels[sample] as usize;
            3.0 + noise + if told { 0.3 } else { 0.0 }
        });
        (features, labels)
    }

    /// The gradient of J with respect to W and b, sample by sample and feature by feature, for features as they are.
    fn naive_gradient(
        features: &Array2<f64>,
        labels: &[u32],
        (weight, bias): (&Array2<f64>, &Array1<f64>),
        strength: f64,
    ) -> (Array2<f64>, Array1<f64>) {
        let (mut of_weight, mut of_bias) = (weight * strength, Array1::zeros(bias.len()));
        for (x, &label) in features.outer_iter().zip(labels) {
            let logits: Vec<f64> =
                (0..bias.len()).map(|class| weight.row(class).dot(&x) + bias[class]).collect();
            let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
            for class in 0..bias.len() {
                let target = f64::from(u8::from(class == label as usize));
                let residual = (logits[class].exp() / total - target) / labels.len() as f64;
                of_bias[class] += residual;
                for (gradient, value) in of_weight.row_mut(class).iter_mut().zip(x) {
                    *gradient += residual * value;
                }
            }
        }
        (of_weight, of_bias)
    }

    /// Samples centred and scaled as the objective has them, and by what they were.
    fn scaled(features: &Array2<f32>) -> (Array2<f64>, f64) {
        let mut scaled = features.mapv(f64::from);
        scaled -= &scaled.mean_axis(ndarray::Axis(0)).unwrap();
        let scale = (scaled.iter().map(|value| value * value).sum::<f64>() / features.nrows() as f64).sqrt();
        (scaled / scale, scale)
    }

    #[test]
    fn the_gradient_vanishes_where_it_ends_with_fewer_features_than_samples_and_with_more() {
        for (samples, width) in [(60, 9), (24, 200)] {
            let (features, labels) = few(samples, width, 3);
            let learned = learn(features.view(), &labels, 3, Seed(1)).unwrap();
            let (inputs, scale) = scaled(&features);
            // Of scaled samples: W x = (W scale) (x / scale); the bias takes the mean.
            let weight = learned.parameters.weight().mapv(f64::from);
            let mean = features.mapv(f64::from).mean_axis(ndarray::Axis(0)).unwrap();
            let bias = learned.parameters.bias().mapv(f64::from) + weight.dot(&mean);
            let weight = weight * scale;
            let (of_weight, of_bias) = naive_gradient(&inputs, &labels, (&weight, &bias), learned.strength);
            let largest = of_weight.iter().chain(&of_bias).fold(0.0_f64, |most, value| most.max(value.abs()));
            // Weights and bias are rounded to single precision.
            assert!(largest < 2e-6, "{samples}x{width}: {largest}");
        }
    }

    #[test]
    fn what_is_learned_in_the_span_is_what_gradient_descent_learns_of_all_features() {
        let (features, labels) = few(12, 30, 2);
        let (inputs, _) = scaled(&features);
        let strength = 0.05;
        let (mut weight, mut bias) = (Array2::zeros((2, 30)), Array1::zeros(2));
        for _ in 0..20_000 {
            let (of_weight, of_bias) = naive_gradient(&inputs, &labels, (&weight, &bias), strength);
            weight.scaled_add(-1.0, &of_weight);
            bias.scaled_add(-1.0, &of_bias);
        }
        let span = Span::of(features.view()).unwrap();
        let found = fit(&span.inputs, &labels, strength, Classifier::zeros(span.inputs.ncols(), 2));
        assert!(span.inputs.ncols() <= 12, "no more dimensions than samples");
        let (naive, quick) = (inputs.dot(&weight.t()) + &bias, found.logits(&span.inputs));
        for (naive, quick) in naive.iter().zip(&quick) {
            assert!((naive - quick).abs() < 1e-5, "{quick}, not {naive}");
        }
    }

    #[test]
    fn classes_that_can_be_told_apart_are_and_cross_validation_says_so() {
        let (features, labels) = few(60, 200, 3);
        let learned = learn(features.view(), &labels, 3, Seed(1)).unwrap();
        let cross_validation = learned.cross_validation.unwrap();
        assert!((learned.train_accuracy - 1.0).abs() < f64::EPSILON);
        assert_eq!((cross_validation.folds, cross_validation.alone), (5, 0));
        assert!(cross_validation.accuracy > 0.9, "{cross_validation:?}");
        // Labels that mean nothing are not learned.
        let shuffled: Vec<u32> = (0..60_u32).map(|sample| sample * sample % 7 % 3).collect();
        let learned = learn(features.view(), &shuffled, 3, Seed(1)).unwrap();
        let cross_validation = learned.cross_validation.unwrap();
        assert!(cross_validation.accuracy < 0.7 && learned.strength > 1e-3, "{cross_validation:?}");
    }

    #[test]
    fn a_single_label_of_each_class_is_learned_without_cross_validation() {
        let (features, labels) = few(3, 50, 3);
        let learned = learn(features.view(), &labels, 3, Seed(1)).unwrap();
        assert_eq!(learned.cross_validation, None);
        assert!((learned.strength - STRENGTH).abs() < f64::EPSILON);
        assert!((learned.train_accuracy - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_same_labels_give_the_same_bits() {
        let (features, labels) = few(40, 100, 4);
        let learn = || learn(features.view(), &labels, 4, Seed(3)).unwrap().parameters;
        assert_eq!(learn(), learn());
    }
}
