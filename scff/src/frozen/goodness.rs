//! Goodness of pairs in frozen layers, as training would see it.

use std::sync::Arc;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, concatenate};

use super::layer::FrozenLayer;
use crate::layer::{LayerSpec, PairSource, Transmit};
use crate::pair::{PairActivations, PairedRows};

/// The goodness of pairs in every layer, (pairs, layers): of (x, y) where `partners` are given, otherwise of (x, x).
///
/// It is the mean of relu(z)^2 over channels and positions. Samples, and as many partners, are (samples, elements); no layer may
/// be recurrent.
pub fn goodness(
    layers: &[Arc<FrozenLayer>],
    samples: ArrayView2<'_, f32>,
    partners: Option<ArrayView2<'_, f32>>,
) -> Array2<f64> {
    let mut goodness = Array2::zeros((samples.nrows(), layers.len()));
    // What the layer below passes on: of samples alone, first halves before second halves, and of pairs.
    let mut alone = match partners {
        Some(partners) => concatenate(Axis(0), &[samples, partners]).expect("partners of the same shape"),
        None => samples.to_owned(),
    };
    let mut pairs: Option<PairActivations> = None;
    for (layer, mut goodness) in layers.iter().zip(goodness.columns_mut()) {
        let map = &layer.spec().map;
        let input = match (layer.spec().pairs, pairs.take()) {
            (PairSource::Takes, Some(pairs)) => PairedRows::take(pairs, map),
            _ => PairedRows::make(alone.clone(), map, partners.is_some(), &[]),
        };
        let activated = before_pooling(layer).transform_pairs(&input).rows;
        let squares = activated
            .axis_iter(Axis(0))
            .into_par_iter()
            .map(|row| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / row.len() as f64);
        for (goodness, mean) in goodness.iter_mut().zip(squares.collect::<Vec<_>>()) {
            *goodness = mean;
        }
        pairs = Some(layer.transform_pairs(&input));
        alone = layer.transform(alone.view());
    }
    goodness
}

/// The same layer, which passes on relu(z) at every position.
fn before_pooling(layer: &FrozenLayer) -> FrozenLayer {
    let spec = LayerSpec { transmit: Transmit::Relu, pool: None, readout_pool: None, ..layer.spec().clone() };
    FrozenLayer::new(spec, layer.parameters().clone()).expect("the same tensors fit")
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;
    use crate::layer::{Dense, LayerMap, Tensors};

    fn layer(weight: Array2<f32>, pairs: PairSource) -> Arc<FrozenLayer> {
        let map = LayerMap::Dense(Dense { inputs: weight.ncols(), outputs: weight.nrows() });
        let spec = LayerSpec {
            name: "dense".into(),
            map,
            pairs,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block: 2,
        };
        let bias = Array1::from_iter((0..weight.nrows()).map(|channel| 0.1 * channel as f32));
        Arc::new(FrozenLayer::new(spec, Tensors::linear(weight, bias)).unwrap())
    }

    /// Subtracts the mean and divides by the deviation.
    fn standardized(values: &[f32]) -> Vec<f32> {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square =
            values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / (values.len() - 1) as f32;
        values.iter().map(|value| (value - mean) / square.sqrt()).collect()
    }

    /// relu(z) of one row of a linear map.
    fn mapped(layer: &FrozenLayer, input: &[f32], biases: f32) -> Vec<f32> {
        let (weight, bias) = (layer.parameters().weight(), layer.parameters().bias());
        let product = |channel: usize| -> f32 {
            // Both halves of a pair share the weights.
            input
                .iter()
                .enumerate()
                .map(|(place, value)| weight[[channel, place % weight.ncols()]] * value)
                .sum()
        };
        (0..weight.nrows()).map(|channel| (product(channel) + biases * bias[channel]).max(0.0)).collect()
    }

    fn mean_square(values: &[f32]) -> f64 {
        values.iter().map(|value| f64::from(value * value)).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn goodness_is_the_mean_square_of_what_a_pair_activates_in_layers_of_both_kinds() {
        let first = layer(array![[0.5, -1.0, 0.25], [1.5, 0.5, -0.5]], PairSource::Makes);
        let second = layer(array![[1.0, -0.5], [-2.0, 0.5], [0.3, 0.4]], PairSource::Takes);
        let (x, y) = (array![[1.0, 2.0, 4.0], [0.0, -1.0, 1.5]], array![[3.0, 0.5, -1.0], [2.0, 2.5, 0.0]]);
        for partners in [None, Some(&y)] {
            let found = goodness(
                &[first.clone(), second.clone()],
                x.view(),
                partners.map(|partners| partners.view()),
            );
            for (row, found) in found.outer_iter().enumerate() {
                let halves = [&x, partners.unwrap_or(&x)].map(|half| standardized(&half.row(row).to_vec()));
                let activated = mapped(&first, &standardized(&halves.concat()), 2.0);
                let above = mapped(&second, &standardized(&activated), 1.0);
                for (found, expected) in found.iter().zip([mean_square(&activated), mean_square(&above)]) {
                    assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
                }
            }
        }
    }
}
