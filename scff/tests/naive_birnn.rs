//! Recurrent layers against their slow twin (`common/naive_birnn.rs`), on sequences of lengths drawn at random.

use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;
use scff::batch::{Epoch, Step};
use scff::frozen::{FrozenLayer, features};
use scff::goodness::LossParameters;
use scff::layer::{
    BiRnn, LayerMap, LayerSpec, LayerState, MapShape, PairSource, SequencePadding, Summary, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, Seed, below, distinct_shifts, symmetric};
use scff::sequence_pair::{PairedSequences, SequenceActivations};
use scff::sequences::Sequences;
use scff::train::{Hyperparameters, PassOn, Sharing, TrainingLayer, TrainingStage};

use crate::naive::{Rows, check, standardize, widen};
use crate::naive_birnn::{Frames, Layer, Pairs, Way};

#[path = "common/naive.rs"]
#[allow(dead_code, reason = "the rest of it is for dense layers")]
mod naive;
#[path = "common/naive_birnn.rs"]
mod naive_birnn;

const CASES: u64 = 40;
const TENSORS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

#[test]
fn a_training_step_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let input = PairedSequences::make(case.sequences(case.views()), case.two_views, &case.shifts());
        check_steps(case, PairSource::Makes, &input, &case.slow_pairs());
    });
}

#[test]
fn a_step_of_algorithm_1_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let sequences = case.sequences(2);
        let slow = Pairs::take(&frames_of(&sequences), case.batch, case.padding);
        let activations = SequenceActivations { sequences, positives: case.batch };
        check_steps(case, PairSource::Takes, &PairedSequences::take(activations), &slow);
    });
}

#[test]
fn transformed_sequences_are_what_the_slow_twin_computes_whatever_the_padding() {
    for_random_cases(|case| {
        let samples = case.sequences(1);
        for (pairs, halves) in [(PairSource::Makes, 2.0), (PairSource::Takes, 1.0)] {
            let layer = FrozenLayer::new(case.spec(pairs), case.state().parameters).unwrap();
            let twin = Layer::new(layer.parameters());
            let states = |frames: &Frames| {
                let input: Frames =
                    frames.iter().map(|frame| frame.iter().map(|x| halves * x).collect()).collect();
                twin.states(&input)
            };
            let expected: Vec<Rows> = frames_of(&samples).iter().map(states).collect();
            let found = layer.transform_sequences(&samples);
            assert!(found.lengths().eq(samples.lengths()));
            check("states", found.frames(), &expected.concat().concat());

            let summary = |states: &Rows| slow_summary(case, states);
            let expected: Rows = expected.iter().map(summary).collect();
            check("features", &features(&[layer.into()], &[true], samples.clone()), &expected.concat());
        }
    });
}

#[test]
fn what_is_passed_on_for_pairs_is_what_the_slow_twin_computes() {
    for_random_cases(|case| {
        let case = Case { padding: SequencePadding::Masked, ..*case };
        let samples = case.sequences(case.views());
        let layer = FrozenLayer::new(case.spec(PairSource::Makes), case.state().parameters).unwrap();
        let twin = Layer::new(layer.parameters());
        let expected: Vec<Rows> = case.slow_pairs().all().map(|frames| twin.states(frames)).collect();
        let input = PairedSequences::make(samples.clone(), case.two_views, &case.shifts());
        let frozen = layer.transform_sequence_pairs(&input);
        check("states of pairs", frozen.sequences.frames(), &expected.concat().concat());

        let training = case.training(PairSource::Makes, &case.state());
        let mut stage = TrainingStage::new(vec![], training);
        let (_, passed_on) = stage.step_and_pass_on(samples, case.two_views, &case.shifts(), PassOn::Pairs);
        let Samples::Sequences(passed_on) = passed_on else { panic!("sequences") };
        assert_eq!(passed_on.count(), case.batch * (1 + case.negatives));
        check("states in the midst of a step", passed_on.frames(), &expected.concat().concat());
    });
}

#[test]
fn the_gradient_is_the_slope_of_the_loss_where_states_are_constant() {
    type Number = fn(&mut Way, usize, usize, usize) -> &mut f64;
    for_random_cases(|case| {
        let pairs = case.slow_pairs();
        let layer = Layer::new(&case.state().parameters);
        let gradient = layer.gradient(&pairs, &case.loss);
        let mut random = case.random(99);
        for way in 0..2 {
            let mut draw = |bound: usize| below(&mut random, bound as u32) as usize;
            let (unit, feature, state) = (draw(case.hidden), draw(case.features), draw(case.hidden));
            let numbers: [Number; 4] = [
                |way, unit, feature, _| &mut way.weight_ih[unit][feature],
                |way, unit, _, state| &mut way.weight_hh[unit][state],
                |way, unit, _, _| &mut way.bias_ih[unit],
                |way, unit, _, _| &mut way.bias_hh[unit],
            ];
            for (number, name) in numbers.into_iter().zip(TENSORS) {
                let at = |by: f64| {
                    let mut nudged = layer.clone();
                    *number(&mut nudged.0[way], unit, feature, state) += by;
                    nudged.loss(&layer, &pairs, &case.loss)
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                let expected = *number(&mut gradient.clone().0[way], unit, feature, state);
                assert!((slope - expected).abs() < 1e-6, "{name} {unit}: {slope}, not {expected}");
            }
        }
    });
}

/// One random configuration.
#[derive(Clone, Copy, Debug)]
struct Case {
    number: u64,
    batch: usize,
    features: usize,
    hidden: usize,
    longest: usize,
    block: usize,
    negatives: usize,
    two_views: bool,
    padding: SequencePadding,
    summary: Summary,
    loss: LossParameters,
}

fn for_random_cases(check: impl Fn(&Case)) {
    scff::blas::use_one_thread_per_call();
    for number in 0..CASES {
        let case = Case::drawn(number);
        println!("{case:?}");
        check(&case);
    }
}

impl Case {
    fn drawn(number: u64) -> Self {
        let mut random = Seed(number).stream(Purpose::Order, NO_LAYER, Epoch(0), Step(0));
        let mut between = |low: u32, high: u32| (low + below(&mut random, high - low + 1)) as usize;
        Self {
            number,
            // With three negatives, more pairs than are walked together.
            batch: between(4, 30),
            features: between(1, 20),
            hidden: between(5, 30),
            longest: between(1, 12),
            block: between(1, 40),
            negatives: between(1, 3),
            two_views: between(0, 1) == 1,
            padding: [SequencePadding::Masked, SequencePadding::Counts][between(0, 1)],
            summary: [Summary::Last, Summary::Mean, Summary::Thirds][between(0, 2)],
            loss: LossParameters {
                theta_pos: between(0, 3) as f32,
                theta_neg: between(0, 3) as f32,
                lambda: between(0, 2) as f32 * 0.05,
            },
        }
    }

    fn random(&self, stream: u64) -> ChaCha8Rng {
        Seed(self.number).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(stream))
    }

    fn views(&self) -> usize {
        if self.two_views { 2 } else { 1 }
    }

    /// So many views of all samples, of lengths of their own.
    fn sequences(&self, views: usize) -> Sequences {
        let mut random = self.random(0);
        let lengths: Vec<usize> =
            (0..views * self.batch).map(|_| 1 + below(&mut random, self.longest as u32) as usize).collect();
        let shape = (lengths.iter().sum(), self.features);
        Sequences::new(Array2::from_shape_simple_fn(shape, || symmetric(&mut random, 2.0)), lengths)
    }

    fn shifts(&self) -> Vec<usize> {
        distinct_shifts(&mut self.random(1), self.batch, self.negatives)
    }

    fn slow_pairs(&self) -> Pairs {
        let frames = frames_of(&self.sequences(self.views()));
        let (first, second) = (&frames[..self.batch], &frames[frames.len() - self.batch..]);
        Pairs::make(first, second, &self.shifts(), self.padding)
    }

    fn spec(&self, pairs: PairSource) -> LayerSpec {
        let input = MapShape { height: self.longest, width: 1, channels: self.features };
        let (hidden, padding, summary) = (self.hidden, self.padding, self.summary);
        LayerSpec {
            name: "birnn".into(),
            map: LayerMap::BiRnn(BiRnn { input, hidden, padding, summary }),
            pairs,
            transmit: Transmit::Standardized,
            pool: None,
            readout_pool: None,
            block: self.block,
        }
    }

    fn state(&self) -> LayerState {
        LayerState::initial(&self.spec(PairSource::Makes).map, &mut self.random(2))
    }

    fn training(&self, pairs: PairSource, state: &LayerState) -> TrainingLayer {
        let optimizer =
            OptimizerParameters { learning_rate: 0.01, weight_decay: 0.05, gamma: 0.5, period: 2 };
        let hyperparameters = Hyperparameters { loss: self.loss, optimizer, sharing: Sharing::Channels };
        TrainingLayer::new(self.spec(pairs), hyperparameters, state).unwrap()
    }
}

/// Three steps. Each is compared from the fast path's own weights, so that differences do not add up.
fn check_steps(case: &Case, source: PairSource, input: &PairedSequences, slow_pairs: &Pairs) {
    let mut layer = case.training(source, &case.state());
    for _ in 0..3 {
        let before = layer.state();
        let slow = Layer::new(&before.parameters);
        let report = layer.step(input);
        check("loss", &[report.loss.total() as f32], &[slow.loss(&slow, slow_pairs, &case.loss)]);
        let gradient = slow.gradient(slow_pairs, &case.loss);
        let moments = layer.state().first_moments;
        for ((after, before), name) in moments.iter().zip(before.first_moments.iter()).zip(TENSORS) {
            assert_eq!(after.name, name);
            // G = (m - .9 m_before) / .1
            let found = (&after.values - &before.values * 0.9) * 10.0;
            check(name, &found, &gradient.numbers(name));
        }
    }
}

fn slow_summary(case: &Case, states: &Rows) -> Vec<f64> {
    let hidden = case.hidden;
    let mean = |states: &[Vec<f64>]| {
        let mean = |unit: usize| states.iter().map(|state| state[unit]).sum::<f64>() / states.len() as f64;
        let means: Vec<f64> = (0..2 * hidden).map(mean).collect();
        means.chunks(hidden).flat_map(standardize).collect::<Vec<_>>()
    };
    let frames = states.len();
    match case.summary {
        Summary::Last => [&states[frames - 1][..hidden], &states[0][hidden..]].concat(),
        Summary::Mean => mean(states),
        Summary::Thirds => (0..3)
            .flat_map(|third| {
                let (start, end) = (third * frames / 3, (third + 1) * frames / 3);
                mean(&states[start..end.max(start + 1)])
            })
            .collect(),
    }
}

fn frames_of(sequences: &Sequences) -> Vec<Frames> {
    let frames = |sequence| sequences.sequence(sequence).axis_iter(Axis(0)).map(widen).collect();
    (0..sequences.count()).map(frames).collect()
}
