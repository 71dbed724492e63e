//! How exact Winograd's algorithm is, over as many channels as CIFAR-10's third layer reads: against the slow twin in double
//! precision.

use ndarray::Array2;
use scff::batch::{Epoch, Step};
use scff::goodness::{Goodness, LossParameters};
use scff::layer::{Algorithm, Conv, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};
use scff::train::{Hyperparameters, Sharing, TrainingLayer};

use crate::naive::{Layer, Rows, widen};
use crate::naive_conv::{loss_and_gradient, make_pairs};

#[path = "common/naive.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod naive;
#[path = "common/naive_conv.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod naive_conv;

const CONV: Conv = Conv {
    input: MapShape { height: 8, width: 8, channels: 384 },
    channels: 20,
    kernel: 3,
    padding: 1,
    algorithm: Algorithm::Winograd,
};
const SAMPLES: usize = 4;
const LOSS: LossParameters = LossParameters { theta_pos: 1.0, theta_neg: 2.0, lambda: 1e-2 };

/// Root mean square of what elements are off by, and the most that one is, relative to the root mean square of `expected`.
fn errors(found: impl IntoIterator<Item = f32>, expected: &[f64]) -> (f64, f64) {
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    assert_eq!(found.len(), expected.len());
    let size = |numbers: &[f64]| (numbers.iter().map(|x| x * x).sum::<f64>() / numbers.len() as f64).sqrt();
    let off: Vec<f64> = found.iter().zip(expected).map(|(found, expected)| found - expected).collect();
    let most = off.iter().fold(0.0_f64, |most, off| most.max(off.abs()));
    (size(&off) / size(expected), most / size(expected))
}

fn check(what: &str, found: impl IntoIterator<Item = f32>, expected: &[f64]) {
    let (typical, most) = errors(found, expected);
    println!("{what}: off by {typical:.1e} (root mean square), {most:.1e} at most");
    assert!(typical < 5e-6 && most < 1e-4, "{what}: off by {typical:e} (root mean square), {most:e} at most");
}

#[test]
fn goodness_loss_and_gradients_of_many_channels_are_exact_to_five_millionths() {
    scff::blas::use_one_thread_per_call();
    let mut random = Seed(5).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
    let map = LayerMap::Conv(CONV);
    // What a layer reads is not negative, as what a layer passes on.
    let rows = Array2::from_shape_simple_fn((SAMPLES, map.inputs()), || symmetric(&mut random, 1.0).max(0.0));
    let spec = LayerSpec {
        name: "conv".into(),
        map,
        pairs: PairSource::Makes,
        transmit: Transmit::Relu,
        pool: None,
        readout_pool: None,
        block: 8,
    };
    let optimizer = OptimizerParameters { learning_rate: 1e-3, weight_decay: 0.0, gamma: 1.0, period: 1 };
    let hyperparameters = Hyperparameters { loss: LOSS, optimizer, sharing: Sharing::Channels };
    let mut layer =
        TrainingLayer::new(spec, hyperparameters, &LayerState::initial(&map, &mut random)).unwrap();

    let slow_rows: Rows = rows.outer_iter().map(widen).collect();
    let slow_pairs = make_pairs(&CONV, &slow_rows, &slow_rows, &[1]);
    let slow = Layer::new(&layer.state().parameters);
    let goodness: Vec<f64> = slow_pairs
        .iter()
        .flatten()
        .map(|halves| slow.outputs(halves).iter().map(|z| z.max(0.0).powi(2)).sum::<f64>() / 20.0)
        .collect();
    let (loss, gradient) = loss_and_gradient(&slow, &slow_pairs, SAMPLES, &LOSS);

    let input = PairedRows::make(rows, &map, false, &[1]);
    let found = Goodness::of_sums(layer.begin_step(&input).total().numbers, 20, 2 * SAMPLES);
    check("goodness", found.0, &goodness);
    let report = layer.step(&input);
    check("loss", [report.loss.total() as f32], &[loss]);
    // m = .1 G
    let moments = layer.state().first_moments;
    check("weight gradient", moments.weight().iter().map(|m| m * 10.0), &gradient.weight.concat());
    check("bias gradient", moments.bias().iter().map(|m| m * 10.0), &gradient.bias);
}
