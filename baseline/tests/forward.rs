//! What a network computes here equals what its frozen layers and its readout compute, for every kind of layer.

use std::sync::Arc;

use baseline::network::Network;
use ndarray::{Array2, ArrayView2};
use scff::batch::{Epoch, LayerIndex, Step};
use scff::frozen::{FrozenLayer, features};
use scff::layer::{
    Algorithm, BiRnn, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind,
    SequencePadding, Summary, Tensors, Transmit,
};
use scff::readout::Readout;
use scff::samples::Samples;
use scff::seed::{Purpose, Seed, symmetric};
use scff::sequences::Sequences;

const SEED: Seed = Seed(5);
const CLASSES: usize = 4;

fn layer(map: LayerMap, pairs: PairSource, transmit: Transmit) -> LayerSpec {
    LayerSpec { name: "layer".to_owned(), map, pairs, transmit, pool: None, readout_pool: None, block: 64 }
}

fn random(rows: usize, columns: usize) -> Array2<f32> {
    let mut random = SEED.stream(Purpose::Samples, LayerIndex(0), Epoch(0), Step(0));
    Array2::from_shape_simple_fn((rows, columns), || symmetric(&mut random, 1.0))
}

fn initial(specs: &[LayerSpec]) -> Vec<(LayerSpec, Tensors)> {
    let initial = |(index, spec): (usize, &LayerSpec)| {
        let mut random = SEED.stream(Purpose::Initialization, LayerIndex(index as u32), Epoch(0), Step(0));
        (spec.clone(), LayerState::initial(&spec.map, &mut random).parameters)
    };
    specs.iter().enumerate().map(initial).collect()
}

/// The largest difference, as a share of the largest number.
fn difference(found: ArrayView2<'_, f32>, expected: ArrayView2<'_, f32>) -> f32 {
    assert_eq!(found.dim(), expected.dim());
    let largest =
        |values: Array2<f32>| values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    largest(&found - &expected) / largest(expected.to_owned())
}

fn array(tensor: &candle_core::Tensor) -> Array2<f32> {
    let values = tensor.flatten_all().unwrap().to_vec1().unwrap();
    Array2::from_shape_vec(tensor.dims2().unwrap(), values).unwrap()
}

/// Compares features and logits of layers that are all read; the result does not depend on how the samples are given.
fn check(specs: &[LayerSpec], samples: impl Into<Samples>) {
    let samples = samples.into();
    let layers = initial(specs);
    let taps = vec![true; specs.len()];
    let frozen: Vec<_> = layers
        .iter()
        .map(|(spec, tensors)| Arc::new(FrozenLayer::new(spec.clone(), tensors.clone()).unwrap()))
        .collect();
    let expected = features(&frozen, &taps, samples.clone());
    let readout = Readout::new(CLASSES, expected.ncols(), SEED);
    let network = Network::new(layers.clone(), taps, &readout.parameters()).unwrap();
    let found = network.features(&samples).unwrap();
    let logits = network.logits(&found).unwrap();
    assert!(difference(array(&found).view(), expected.view()) < 1e-4, "features");
    assert!(difference(array(&logits).view(), readout.logits(expected.view()).view()) < 1e-4, "logits");
    // What was read in comes out again, to the last bit.
    assert_eq!(network.layers().unwrap(), layers);
    assert_eq!(network.readout().unwrap(), readout.parameters());
}

#[test]
fn dense_layers_of_both_algorithms() {
    let first = LayerMap::Dense(Dense { inputs: 30, outputs: 50 });
    let second = LayerMap::Dense(Dense { inputs: 50, outputs: 40 });
    for (pairs, transmit) in [(PairSource::Takes, Transmit::Triangle), (PairSource::Makes, Transmit::Relu)] {
        let specs = [layer(first, PairSource::Makes, Transmit::Triangle), layer(second, pairs, transmit)];
        check(&specs, random(9, 30));
    }
}

/// Two convolutions on maps of 9 x 7, of both algorithms, with any pooling upon the first.
fn check_convolutions(pool: Option<Pool>, readout_pool: Option<Pool>) {
    let input = MapShape { height: 9, width: 7, channels: 3 };
    let first =
        LayerMap::Conv(Conv { input, channels: 10, kernel: 5, padding: 2, algorithm: Algorithm::Direct });
    let first = LayerSpec { pool, readout_pool, ..layer(first, PairSource::Makes, Transmit::Triangle) };
    for (pairs, padding) in [(PairSource::Takes, 1), (PairSource::Makes, 0)] {
        let second = LayerMap::Conv(Conv {
            input: first.output(),
            channels: 12,
            kernel: 3,
            padding,
            algorithm: Algorithm::Direct,
        });
        check(&[first.clone(), layer(second, pairs, Transmit::Relu)], random(5, input.len()));
    }
}

#[test]
fn convolutions_of_both_algorithms() {
    check_convolutions(None, None);
}

#[test]
fn pooling_that_overlaps_and_reaches_beyond_the_map() {
    for kind in [PoolKind::Max, PoolKind::Average] {
        for (size, stride, padding) in [(4, 2, 1), (2, 2, 0), (3, 2, 0), (3, 3, 1), (2, 1, 1)] {
            let pool = Pool { kind, size, stride, padding };
            check_convolutions(
                Some(pool),
                Some(Pool { kind: PoolKind::Average, size: 2, stride: 2, padding: 0 }),
            );
        }
    }
}

#[test]
fn recurrent_layers_on_sequences_of_different_lengths() {
    let lengths = [7, 1, 12, 2, 7];
    let sequences = Sequences::new(random(lengths.iter().sum(), 6), lengths);
    for summary in [Summary::Last, Summary::Mean, Summary::Thirds] {
        let birnn = |features: usize, hidden: usize| {
            let input = MapShape { height: 12, width: 1, channels: features };
            LayerMap::BiRnn(BiRnn { input, hidden, padding: SequencePadding::Masked, summary })
        };
        for pairs in [PairSource::Takes, PairSource::Makes] {
            let specs = [
                layer(birnn(6, 20), PairSource::Makes, Transmit::Standardized),
                layer(birnn(40, 15), pairs, Transmit::Standardized),
            ];
            check(&specs, sequences.clone());
        }
    }
}
