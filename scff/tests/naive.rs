//! The fast path against its slow twin (`common/naive.rs`), on shapes drawn at random.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use rand_chacha::ChaCha8Rng;
use scff::batch::{Epoch, Step};
use scff::frozen::{FrozenLayer, features, transform};
use scff::goodness::LossParameters;
use scff::layer::{Dense, LayerMap, LayerSpec, LayerState, PairSource, Tensors, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::seed::{NO_LAYER, Purpose, Seed, below, distinct_shifts, symmetric};
use scff::train::{Hyperparameters, Sharing, TrainingLayer};

use crate::naive::{AdamW, Layer, Pairs, Rows, check, standardize, widen};

#[path = "common/naive.rs"]
mod naive;

const CASES: u64 = 40;

#[test]
fn a_training_step_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let pairs = case.pairs();
        check_steps(case, PairSource::Makes, &pairs, &case.slow_pairs());
    });
}

#[test]
fn a_step_of_algorithm_1_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let below = case.frozen(PairSource::Makes);
        let between = below.transform_pairs(&case.pairs());
        let slow = slow_activations(&below, &case.slow_pairs());
        check_rows("positive", between.positive(), &slow.0);
        check_rows("negative", between.negative(), &slow.1);

        // From the same numbers, so that only this layer's difference counts.
        let slow = Pairs::take(&rows_of(between.positive()), &rows_of(between.negative()));
        let case = Case { inputs: case.outputs, outputs: case.inputs, ..*case };
        let pairs = PairedRows::take(between, &case.spec(PairSource::Takes).map);
        check_steps(&case, PairSource::Takes, &pairs, &slow);
    });
}

#[test]
fn transformed_samples_are_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let first = Arc::new(case.frozen(PairSource::Makes));
        let above = Case { inputs: case.outputs, outputs: case.inputs, ..*case };
        let second = Arc::new(above.frozen(PairSource::Takes));
        let samples = case.rows(1);
        let slow_samples = rows_of(samples.view());

        let alone = Pairs::make(&slow_samples, &slow_samples, &[]);
        let slow_first = slow_activations(&first, &alone).0;
        check_rows("first layer", &first.transform(samples.view()), &slow_first);
        let slow_second = slow_activations(&second, &Pairs::take(&slow_first, &Rows::new())).0;
        let layers = [first, second];
        check_rows("both layers", &transform(&layers, samples.view()), &slow_second);

        let side_by_side = |parts: [&Rows; 2]| -> Rows {
            let [a, b] = parts.map(|rows| rows.iter().map(|row| standardize(row)));
            a.zip(b).map(|(a, b)| [a, b].concat()).collect()
        };
        let both = features(&layers, &[true, true], samples.view());
        check_rows("features", &both, &side_by_side([&slow_first, &slow_second]));
    });
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    for_random_cases(|case| {
        let pairs = case.slow_pairs();
        let layer = Layer::new(&case.state(PairSource::Makes).parameters);
        let gradient = layer.gradient(&pairs, &case.loss);
        let slope = |nudge: &dyn Fn(&mut Layer, f64)| {
            let at = |by: f64| {
                let mut layer = layer.clone();
                nudge(&mut layer, by);
                layer.loss(&pairs, &case.loss)
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        };
        let mut random = case.random(99);
        for _ in 0..5 {
            let unit = below(&mut random, case.outputs as u32) as usize;
            let input = below(&mut random, case.inputs as u32) as usize;
            let found = slope(&|layer, by| layer.weight[unit][input] += by);
            let expected = gradient.weight[unit][input];
            assert!((found - expected).abs() < 1e-6, "weight {unit}, {input}: {found}, not {expected}");
            let found = slope(&|layer, by| layer.bias[unit] += by);
            let expected = gradient.bias[unit];
            assert!((found - expected).abs() < 1e-6, "bias {unit}: {found}, not {expected}");
        }
    });
}

/// One random configuration.
#[derive(Clone, Copy, Debug)]
struct Case {
    number: u64,
    batch: usize,
    inputs: usize,
    outputs: usize,
    block: usize,
    negatives: usize,
    two_views: bool,
    transmit: Transmit,
    loss: LossParameters,
}

fn for_random_cases(check: impl Fn(&Case)) {
    scff::blas::use_one_thread_per_call();
    for number in 0..CASES {
        let mut random = Seed(number).stream(Purpose::Order, NO_LAYER, Epoch(0), Step(0));
        let mut between = |low: u32, high: u32| (low + below(&mut random, high - low + 1)) as usize;
        let batch = between(4, 30);
        let case = Case {
            number,
            batch,
            inputs: between(2, 90),
            outputs: between(2, 70),
            block: between(1, 40),
            negatives: between(1, 3),
            two_views: between(0, 1) == 1,
            transmit: [Transmit::Relu, Transmit::Triangle][between(0, 1)],
            loss: LossParameters {
                theta_pos: between(0, 6) as f32,
                theta_neg: between(0, 6) as f32,
                lambda: between(0, 2) as f32 * 0.05,
            },
        };
        println!("{case:?}");
        check(&case);
    }
}

impl Case {
    fn random(&self, stream: u64) -> ChaCha8Rng {
        Seed(self.number).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(stream))
    }

    /// Samples of one view or of all; sample 1 and the last have no variance.
    fn rows(&self, views: usize) -> Array2<f32> {
        let mut random = self.random(0);
        let mut rows = Array2::from_shape_simple_fn((views * self.batch, self.inputs), || {
            symmetric(&mut random, 2.0) + 0.5
        });
        rows.row_mut(1).fill(0.3);
        rows.row_mut(views * self.batch - 1).fill(0.0);
        rows
    }

    fn views(&self) -> usize {
        if self.two_views { 2 } else { 1 }
    }

    fn shifts(&self) -> Vec<usize> {
        distinct_shifts(&mut self.random(1), self.batch, self.negatives)
    }

    fn pairs(&self) -> PairedRows {
        let map = self.spec(PairSource::Makes).map;
        PairedRows::make(self.rows(self.views()), &map, self.two_views, &self.shifts())
    }

    fn slow_pairs(&self) -> Pairs {
        let rows = rows_of(self.rows(self.views()).view());
        let (first, second) = (&rows[..self.batch], &rows[rows.len() - self.batch..]);
        Pairs::make(&first.to_vec(), &second.to_vec(), &self.shifts())
    }

    fn spec(&self, pairs: PairSource) -> LayerSpec {
        let map = LayerMap::Dense(Dense { inputs: self.inputs, outputs: self.outputs });
        LayerSpec {
            name: "dense".into(),
            map,
            pairs,
            transmit: self.transmit,
            pool: None,
            readout_pool: None,
            block: self.block,
        }
    }

    /// Weights three times larger than usual, so that both thresholds matter.
    fn state(&self, pairs: PairSource) -> LayerState {
        let mut state = LayerState::initial(&self.spec(pairs).map, &mut self.random(2));
        state.parameters =
            Tensors::linear(&state.parameters.weight() * 3.0, state.parameters.bias().to_owned());
        state
    }

    fn frozen(&self, pairs: PairSource) -> FrozenLayer {
        FrozenLayer::new(self.spec(pairs), self.state(pairs).parameters).unwrap()
    }
}

/// Three steps. Each is compared from the fast path's own weights, so that differences do not add up.
fn check_steps(case: &Case, source: PairSource, pairs: &PairedRows, slow_pairs: &Pairs) {
    let optimizer = OptimizerParameters { learning_rate: 0.01, weight_decay: 0.05, gamma: 0.5, period: 2 };
    let hyperparameters = Hyperparameters { loss: case.loss, optimizer, sharing: Sharing::Channels };
    let mut layer = TrainingLayer::new(case.spec(source), hyperparameters, &case.state(source)).unwrap();
    for t in 1..=3 {
        let before = layer.state();
        let slow = Layer::new(&before.parameters);
        let report = layer.step(pairs);
        let after = layer.state();

        check("loss", &[report.loss.total() as f32], &[slow.loss(slow_pairs, &case.loss)]);
        let gradient = slow.gradient(slow_pairs, &case.loss);
        // G = (m - .9 m_before) / .1
        let found = (&after.first_moments.weight() - &before.first_moments.weight() * 0.9) * 10.0;
        check_rows("weight gradient", &found, &gradient.weight);
        let found = (&after.first_moments.bias() - &before.first_moments.bias() * 0.9) * 10.0;
        check("bias gradient", &found, &gradient.bias);

        let mut moments = std::iter::zip(before.first_moments.weight(), before.second_moments.weight())
            .map(|(&first, &second)| AdamW { first: first.into(), second: second.into() });
        for ((index, &p), &m) in before.parameters.weight().indexed_iter().zip(after.first_moments.weight()) {
            let mut moments = moments.next().expect("as many moments as weights");
            let gradient = (f64::from(m) - 0.9 * moments.first) * 10.0;
            let expected = moments.step(p.into(), gradient, t, &optimizer);
            let found = f64::from(after.parameters.weight()[index]);
            assert!((found - expected).abs() < 1e-6, "step {t}, weight {index:?}: {found}, not {expected}");
        }
    }
}

fn slow_activations(layer: &FrozenLayer, pairs: &Pairs) -> (Rows, Rows) {
    let slow = Layer::new(layer.parameters());
    let transmit =
        |pairs: &[Rows]| pairs.iter().map(|halves| slow.transmit(halves, layer.spec().transmit)).collect();
    (transmit(&pairs.positive), transmit(&pairs.negative))
}

fn rows_of(rows: ArrayView2<'_, f32>) -> Rows {
    rows.outer_iter().map(widen).collect()
}

fn check_rows<'a>(what: &str, found: impl IntoIterator<Item = &'a f32>, expected: &Rows) {
    check(what, found, &expected.concat());
}
