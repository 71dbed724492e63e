//! Samples in their own span: the same lengths and angles in no more dimensions than there are samples.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use ndarray_linalg::error::LinalgError;
use ndarray_linalg::{EighInto, UPLO};

use super::classifier::Classifier;
use crate::layer::Tensors;

/// Features that are taken into double precision at a time.
const CHUNK: usize = 1024;
/// Squared lengths below this share of the longest are rounding.
const NEGLIGIBLE: f64 = 1e-12;

/// Samples, centred, scaled and rotated, and the way back.
pub struct Span {
    /// (samples, dimensions), of mean 0 and a mean squared norm of 1.
    pub inputs: Array2<f64>,
    mean: Array1<f64>,
    scale: f64,
    /// (samples, dimensions): what the samples are to be weighed by to give a dimension's direction. None where inputs are the
    /// features themselves.
    directions: Option<Array2<f64>>,
}

impl Span {
    /// The span of features (samples, features).
    pub fn of(features: ArrayView2<'_, f32>) -> Result<Self, LinalgError> {
        let (samples, width) = features.dim();
        let mean = features.map_axis(Axis(0), |column| {
            column.iter().map(|&value| f64::from(value)).sum::<f64>() / samples.max(1) as f64
        });
        if width <= samples {
            let mut inputs = Array2::zeros((samples, width));
            for start in (0..width).step_by(CHUNK) {
                let chunk = chunk(features, &mean, start);
                inputs.slice_mut(s![.., start..start + chunk.ncols()]).assign(&chunk);
            }
            let scale = scale(inputs.iter().map(|value| value * value).sum(), samples);
            return Ok(Self { inputs: inputs / scale, mean, scale, directions: None });
        }
        let mut products = Array2::zeros((samples, samples));
        for start in (0..width).step_by(CHUNK) {
            let chunk = chunk(features, &mean, start);
            products += &chunk.dot(&chunk.t());
        }
        let scale = scale(products.diag().sum(), samples);
        products /= scale * scale;
        let (lengths, vectors) = products.eigh_into(UPLO::Lower)?;
        // Ascending: what counts stands at the end.
        let longest = lengths.last().copied().unwrap_or(0.0);
        let first = lengths.iter().take_while(|&&length| length <= NEGLIGIBLE * longest).count();
        let roots = lengths.slice(s![first..]).mapv(f64::sqrt);
        let vectors = vectors.slice(s![.., first..]);
        let inputs = (&vectors * &roots).as_standard_layout().into_owned();
        Ok(Self { inputs, mean, scale, directions: Some(&vectors / &roots) })
    }

    /// A classifier of the inputs as one of the features that they were made of: weights (classes, features), bias (classes).
    pub fn parameters(&self, features: ArrayView2<'_, f32>, classifier: &Classifier) -> Tensors {
        let width = features.ncols();
        let classes = classifier.bias.len();
        let weight = match &self.directions {
            None => classifier.weight.t().to_owned(),
            Some(directions) => {
                let by_sample = directions.dot(&classifier.weight);
                let mut weight = Array2::zeros((classes, width));
                for start in (0..width).step_by(CHUNK) {
                    let chunk = chunk(features, &self.mean, start) / self.scale;
                    weight.slice_mut(s![.., start..start + chunk.ncols()]).assign(&by_sample.t().dot(&chunk));
                }
                weight
            }
        } / self.scale;
        let bias = &classifier.bias - &weight.dot(&self.mean);
        let weight = weight.mapv(|value| value as f32).as_standard_layout().into_owned();
        Tensors::linear(weight, bias.mapv(|value| value as f32))
    }
}

/// Some of the features, centred.
fn chunk(features: ArrayView2<'_, f32>, mean: &Array1<f64>, start: usize) -> Array2<f64> {
    let range = s![start..(start + CHUNK).min(features.ncols())];
    let mut chunk = features.slice(s![.., start..(start + CHUNK).min(features.ncols())]).mapv(f64::from);
    chunk -= &mean.slice(range);
    chunk
}

/// The root of the mean squared norm; 1 where nothing varies.
fn scale(squares: f64, samples: usize) -> f64 {
    if squares > 0.0 { (squares / samples as f64).sqrt() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::few;
    use super::*;

    #[test]
    fn products_of_samples_are_kept_in_fewer_dimensions() {
        let (features, _) = few(20, 2500, 2);
        let span = Span::of(features.view()).unwrap();
        assert!(span.inputs.ncols() < 20, "centred samples span one dimension less than there are");
        let mut centred = features.mapv(f64::from);
        centred -= &centred.mean_axis(Axis(0)).unwrap();
        let expected = centred.dot(&centred.t());
        let expected = &expected / (expected.diag().sum() / 20.0);
        let found = span.inputs.dot(&span.inputs.t());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        }
    }

    #[test]
    fn a_classifier_of_the_span_is_the_same_one_of_the_features() {
        for width in [7, 2500] {
            let (features, _) = few(20, width, 2);
            let span = Span::of(features.view()).unwrap();
            let weight = Array2::from_shape_fn((span.inputs.ncols(), 3), |(row, class)| {
                (row * 7 + class) as f64 % 5.0
            });
            let classifier = Classifier { weight, bias: Array1::linspace(-1.0, 1.0, 3) };
            let parameters = span.parameters(features.view(), &classifier);
            let found = features.dot(&parameters.weight().t()) + parameters.bias();
            for (found, expected) in found.iter().zip(&classifier.logits(&span.inputs)) {
                assert!((f64::from(*found) - expected).abs() < 1e-3, "{found}, not {expected}");
            }
        }
    }

    #[test]
    fn samples_that_are_all_alike_span_nothing() {
        let span = Span::of(Array2::from_elem((4, 9), 2.0_f32).view()).unwrap();
        assert!(span.inputs.iter().all(|value| value.abs() < 1e-9));
    }
}
