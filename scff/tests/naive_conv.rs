//! Convolutions against their slow twin (`common/naive_conv.rs`), on shapes drawn at random.

use ndarray::Array2;
use scff::batch::{Epoch, Step};
use scff::frozen::FrozenLayer;
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, Conv, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind, Tensors, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::pair_order::PairOrder;
use scff::seed::{NO_LAYER, Purpose, Seed, below, distinct_shifts, symmetric};
use scff::train::{Hyperparameters, Sharing, TrainingLayer};

use crate::naive::{Halves, Layer, Rows, check, standardize, widen};
use crate::naive_conv::{Patches, loss_and_gradient, make_pair, make_pairs, passed_on, take_pair};

#[path = "common/naive.rs"]
#[allow(dead_code, reason = "the dense layers' tests use the rest of it")]
mod naive;
#[path = "common/naive_conv.rs"]
mod naive_conv;

const CASES: u64 = 40;

#[derive(Clone, Debug)]
struct Case {
    number: u64,
    batch: usize,
    conv: Conv,
    block: usize,
    shifts: Vec<usize>,
    two_views: bool,
    transmit: Transmit,
    pool: Option<Pool>,
    loss: LossParameters,
}

#[test]
fn a_training_step_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let input = case.pairs();
        check_step(case, PairSource::Makes, &input, &case.slow_pairs());
    });
}

#[test]
fn a_step_of_algorithm_1_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let rows = case.rows(1 + case.shifts.len());
        let slow: Patches = rows.outer_iter().map(|row| take_pair(&case.conv, &widen(row))).collect();
        let activations = scff::pair::PairActivations { rows, positives: case.batch };
        let input = PairedRows::take(activations, &LayerMap::Conv(case.conv));
        check_step(case, PairSource::Takes, &input, &slow);
    });
}

#[test]
fn what_is_passed_on_for_pairs_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let layer = FrozenLayer::new(case.spec(PairSource::Makes), case.state().parameters).unwrap();
        let slow = Layer::new(layer.parameters());
        let expected: Vec<f64> =
            case.slow_pairs().iter().flat_map(|pair| case.passed_on(&slow, pair)).collect();
        check("passed on", &layer.transform_pairs(&case.pairs()).rows, &expected);
    });
}

#[test]
fn transformed_samples_are_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let rows = case.rows(1);
        let layer = FrozenLayer::new(case.spec(PairSource::Makes), case.state().parameters).unwrap();
        let slow = Layer::new(layer.parameters());
        let alone = rows.outer_iter().map(|row| {
            let half = standardize(&widen(row));
            case.passed_on(&slow, &make_pair(&case.conv, &half, &half))
        });
        let expected: Vec<f64> = alone.flatten().collect();
        check("transformed", &layer.transform(rows.view()), &expected);
    });
}

fn for_random_cases(check: impl Fn(&Case)) {
    scff::blas::use_one_thread_per_call();
    for number in 0..CASES {
        let mut random = Seed(number).stream(Purpose::Order, NO_LAYER, Epoch(0), Step(0));
        let mut between = |low: u32, high: u32| (low + below(&mut random, high - low + 1)) as usize;
        let (height, width) = (between(3, 7), between(3, 7));
        let input = MapShape { height, width, channels: between(1, 5) };
        let padding = between(0, 2);
        let kernel = between(1, 3);
        let conv = Conv { input, channels: between(2, 20), kernel, padding, algorithm: Algorithm::Direct };
        let output = conv.output();
        let size = between(1, output.height.min(output.width) as u32);
        let pool = Pool {
            kind: [PoolKind::Max, PoolKind::Average][between(0, 1)],
            size,
            stride: between(1, size as u32),
            padding: between(0, size as u32 / 2),
        };
        let batch = between(3, 12);
        let negatives = between(1, 2);
        let case = Case {
            number,
            batch,
            conv,
            block: between(1, 20),
            shifts: distinct_shifts(
                &mut Seed(number).stream(Purpose::NegativePairs, NO_LAYER, Epoch(0), Step(0)),
                batch,
                negatives,
            ),
            two_views: between(0, 1) == 1,
            transmit: [Transmit::Relu, Transmit::Triangle][between(0, 1)],
            pool: (between(0, 2) > 0).then_some(pool),
            loss: LossParameters {
                theta_pos: between(0, 4) as f32,
                theta_neg: between(0, 4) as f32,
                lambda: between(0, 2) as f32 * 0.05,
            },
        };
        for case in case.algorithms() {
            println!("{case:?}");
            check(&case);
        }
    }
}

impl Case {
    /// The case under every algorithm that suits its kernel.
    fn algorithms(self) -> impl Iterator<Item = Self> {
        let algorithms = [Algorithm::Direct, Algorithm::Winograd].into_iter();
        let kernel = self.conv.kernel;
        algorithms
            .filter(move |algorithm| algorithm.suits(kernel))
            .map(move |algorithm| Self { conv: Conv { algorithm, ..self.conv }, ..self.clone() })
    }

    fn rows(&self, times: usize) -> Array2<f32> {
        let mut random = Seed(self.number).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
        let shape = (times * self.batch, self.conv.input.len());
        let mut rows = Array2::from_shape_simple_fn(shape, || symmetric(&mut random, 2.0) + 0.5);
        // A sample without variance.
        rows.row_mut(1).fill(0.3);
        rows
    }

    fn pairs(&self) -> PairedRows {
        let rows = self.rows(if self.two_views { 2 } else { 1 });
        PairedRows::make(rows, &LayerMap::Conv(self.conv), self.two_views, &self.shifts)
    }

    fn slow_pairs(&self) -> Patches {
        let rows = self.rows(if self.two_views { 2 } else { 1 });
        let rows: Rows = rows.outer_iter().map(widen).collect();
        let (first, second) = (&rows[..self.batch], &rows[rows.len() - self.batch..]);
        make_pairs(&self.conv, &first.to_vec(), &second.to_vec(), &self.shifts)
    }

    fn passed_on(&self, layer: &Layer, pair: &[Halves]) -> Vec<f64> {
        passed_on(&self.conv, layer, self.transmit, self.pool, pair)
    }

    fn spec(&self, pairs: PairSource) -> LayerSpec {
        LayerSpec {
            name: "conv".into(),
            map: LayerMap::Conv(self.conv),
            pairs,
            transmit: self.transmit,
            pool: self.pool,
            readout_pool: None,
            block: self.block,
        }
    }

    /// Weights twice as large as usual, so that both thresholds matter.
    fn state(&self) -> LayerState {
        let mut random = Seed(self.number).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
        let mut state = LayerState::initial(&LayerMap::Conv(self.conv), &mut random);
        state.parameters =
            Tensors::linear(&state.parameters.weight() * 2.0, state.parameters.bias().to_owned());
        state
    }
}

/// The first step: loss and gradients.
fn check_step(case: &Case, source: PairSource, input: &PairedRows, slow_pairs: &Patches) {
    let optimizer = OptimizerParameters { learning_rate: 0.01, weight_decay: 0.05, gamma: 1.0, period: 1 };
    let slow = Layer::new(&case.state().parameters);
    let (loss, gradient) = loss_and_gradient(&slow, slow_pairs, case.batch, &case.loss);
    let spec = case.spec(source);
    let ways = [Sharing::Channels, Sharing::Samples, Sharing::Grid].into_iter();
    for sharing in ways.filter(|sharing| sharing.suits(&spec)) {
        let hyperparameters = Hyperparameters { loss: case.loss, optimizer, sharing };
        let mut layer = TrainingLayer::new(spec.clone(), hyperparameters, &case.state()).unwrap();
        let report = if sharing == Sharing::Grid {
            let parts = sharing.sample_parts(&spec, case.batch);
            layer.step(&input.clone().in_order(PairOrder::neighbouring(case.batch, &case.shifts, &parts)))
        } else {
            layer.step(input)
        };
        check("loss", &[report.loss.total() as f32], &[loss]);
        // m = .1 G
        let moments = layer.state().first_moments;
        check("weight gradient", &(&moments.weight() * 10.0), &gradient.weight.concat());
        check("bias gradient", &(&moments.bias() * 10.0), &gradient.bias);
    }
}
