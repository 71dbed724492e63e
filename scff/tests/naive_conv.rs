//! Convolutions against their slow twin, on shapes drawn at random: every padded concatenation is made in so many words,
//! and every patch of it is a row of the dense twin (`common/naive.rs`).

use ndarray::Array2;
use scff::batch::{Epoch, Step};
use scff::frozen::FrozenLayer;
use scff::goodness::LossParameters;
use scff::layer::{Conv, LayerSpec, LayerState, LinearMap, MapShape, PairSource, Pool, PoolKind, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::seed::{NO_LAYER, Purpose, Seed, below, distinct_shifts, symmetric};
use scff::train::{Hyperparameters, TrainingLayer};

use crate::naive::{Halves, Layer, Rows, standardize, widen};

#[path = "common/naive.rs"]
#[allow(dead_code, reason = "the dense layers' tests use the rest of it")]
mod naive;

const CASES: u64 = 40;

#[derive(Debug)]
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

/// Of every pair the two halves (or the one) at every position: (pairs, positions, halves).
type Patches = Vec<Vec<Halves>>;

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
        let slow: Patches =
            rows.outer_iter().map(|row| case.patches(&[standardize(&case.padded(&widen(row)))])).collect();
        let activations = scff::pair::PairActivations { rows, positives: case.batch };
        let input = PairedRows::take(activations, &LinearMap::Conv(case.conv));
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
            case.passed_on(&slow, &case.make_pair(&half, &half))
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
        let conv = Conv { input, channels: between(2, 20), kernel, padding };
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
        println!("{case:?}");
        check(&case);
    }
}

impl Case {
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
        PairedRows::make(rows, &LinearMap::Conv(self.conv), self.two_views, &self.shifts)
    }

    fn slow_pairs(&self) -> Patches {
        let rows: Rows = self
            .rows(if self.two_views { 2 } else { 1 })
            .outer_iter()
            .map(|row| standardize(&widen(row)))
            .collect();
        let second = |i: usize| &rows[i + if self.two_views { self.batch } else { 0 }];
        let positive = (0..self.batch).map(|i| self.make_pair(&rows[i], second(i)));
        let shifted = |&shift: &usize| (0..self.batch).map(move |i| (i, (i + shift) % self.batch));
        let negative = self.shifts.iter().flat_map(shifted).map(|(i, j)| self.make_pair(&rows[i], second(j)));
        positive.chain(negative).collect()
    }

    /// Both halves padded, standardised together, and cut into patches.
    fn make_pair(&self, first: &[f64], second: &[f64]) -> Vec<Halves> {
        let halves = [self.padded(first), self.padded(second)];
        let together = standardize(&halves.concat());
        self.patches(&together.chunks(halves[0].len()).map(<[f64]>::to_vec).collect::<Vec<_>>())
    }

    fn padded(&self, map: &[f64]) -> Vec<f64> {
        let MapShape { height, width, channels } = self.conv.input;
        let padding = self.conv.padding as isize;
        let reflect = |place: isize, side: usize| {
            let last = side as isize - 1;
            let inside = (place - padding).abs();
            (if inside > last { 2 * last - inside } else { inside }) as usize
        };
        let (tall, wide) = (height as isize + 2 * padding, width as isize + 2 * padding);
        let mut padded = Vec::new();
        for (y, x) in (0..tall).flat_map(|y| (0..wide).map(move |x| (y, x))) {
            let start = (reflect(y, height) * width + reflect(x, width)) * channels;
            padded.extend(&map[start..start + channels]);
        }
        padded
    }

    /// The patches of padded halves: (positions, halves).
    fn patches(&self, padded: &[Vec<f64>]) -> Vec<Halves> {
        let Conv { input, kernel, padding, .. } = self.conv;
        let wide = input.width + 2 * padding;
        let MapShape { height, width, .. } = self.conv.output();
        let patch = |half: &Vec<f64>, y: usize, x: usize| -> Vec<f64> {
            (0..kernel)
                .flat_map(|dy| (0..kernel).map(move |dx| (y + dy, x + dx)))
                .flat_map(|(y, x)| half[(y * wide + x) * input.channels..][..input.channels].to_vec())
                .collect()
        };
        (0..height)
            .flat_map(|y| (0..width).map(move |x| (y, x)))
            .map(|(y, x)| padded.iter().map(|half| patch(half, y, x)).collect())
            .collect()
    }

    fn passed_on(&self, layer: &Layer, pair: &[Halves]) -> Vec<f64> {
        let map: Rows = pair.iter().map(|halves| layer.transmit(halves, self.transmit)).collect();
        let Some(Pool { kind, size, stride, padding }) = self.pool else { return map.concat() };
        let MapShape { height, width, channels } = self.conv.output();
        // PyTorch: ceil mode, but no window begins in the right padding or beyond.
        let windows = |side: usize| {
            (0..)
                .take_while(|window| window * stride < side + padding)
                .take((side + 2 * padding - size).div_ceil(stride) + 1)
                .count()
        };
        let mut pooled = Vec::new();
        for (y, x) in (0..windows(height)).flat_map(|y| (0..windows(width)).map(move |x| (y, x))) {
            for channel in 0..channels {
                let (mut inside, mut counted) = (Vec::new(), 0);
                for (dy, dx) in (0..size).flat_map(|dy| (0..size).map(move |dx| (dy, dx))) {
                    let (row, column) = (y * stride + dy, x * stride + dx);
                    counted += usize::from(row < height + 2 * padding && column < width + 2 * padding);
                    if (padding..height + padding).contains(&row)
                        && (padding..width + padding).contains(&column)
                    {
                        inside.push(map[(row - padding) * width + column - padding][channel]);
                    }
                }
                pooled.push(match kind {
                    PoolKind::Max => inside.into_iter().fold(f64::NEG_INFINITY, f64::max),
                    PoolKind::Average => inside.into_iter().sum::<f64>() / f64::from(counted as u32),
                });
            }
        }
        pooled
    }

    fn spec(&self, pairs: PairSource) -> LayerSpec {
        LayerSpec {
            name: "conv".into(),
            map: LinearMap::Conv(self.conv),
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
        let mut state = LayerState::initial(&LinearMap::Conv(self.conv), &mut random);
        state.parameters.weight *= 2.0;
        state
    }
}

/// The first step: loss and gradients.
fn check_step(case: &Case, source: PairSource, input: &PairedRows, slow_pairs: &Patches) {
    let optimizer = OptimizerParameters { learning_rate: 0.01, weight_decay: 0.05, gamma: 1.0, period: 1 };
    let hyperparameters = Hyperparameters { loss: case.loss, optimizer };
    let mut layer = TrainingLayer::new(case.spec(source), hyperparameters, &case.state()).unwrap();
    let slow = Layer::new(&case.state().parameters);
    let (loss, slopes) = loss_and_slopes(case, &slow, slow_pairs);
    let report = layer.step(input);
    check("loss", &[report.loss.total() as f32], &[loss]);

    let channels = case.conv.channels;
    let mut weight = vec![vec![0.0; case.conv.fan_in()]; channels];
    let mut bias = vec![0.0; channels];
    for (pair, slopes) in slow_pairs.iter().zip(slopes) {
        for (halves, slope) in pair.iter().zip(slopes) {
            for (channel, z) in slow.outputs(halves).into_iter().enumerate() {
                let slope = slope * 2.0 * z.max(0.0) / channels as f64;
                for half in halves {
                    bias[channel] += slope;
                    weight[channel].iter_mut().zip(half).for_each(|(weight, x)| *weight += slope * x);
                }
            }
        }
    }
    // m = .1 G
    let moments = layer.state().first_moments;
    check("weight gradient", &(moments.weight * 10.0), &weight.concat());
    check("bias gradient", &(moments.bias * 10.0), &bias);
}

/// The loss, and dL/dg of every pair and position.
fn loss_and_slopes(case: &Case, layer: &Layer, pairs: &Patches) -> (f64, Rows) {
    let [theta_pos, theta_neg, lambda] =
        [case.loss.theta_pos, case.loss.theta_neg, case.loss.lambda].map(f64::from);
    let logistic = |u: f64| 1.0 / (1.0 + (-u).exp());
    let negatives = (pairs.len() - case.batch) as f64;
    let mut loss = 0.0;
    let mut slopes = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        let goodness = |halves: &Halves| {
            let z = layer.outputs(halves);
            z.iter().map(|z| z.max(0.0).powi(2)).sum::<f64>() / z.len() as f64
        };
        let map: Vec<f64> = pair.iter().map(goodness).collect();
        let count = map.len() as f64;
        if index < case.batch {
            let batch = case.batch as f64;
            let norm = map.iter().map(|g| g * g).sum::<f64>().sqrt();
            let pull = if norm > 0.0 { lambda / norm } else { 0.0 };
            loss += map.iter().map(|g| (1.0 + (theta_pos - g).exp()).ln()).sum::<f64>() / count / batch;
            loss += lambda * norm / batch;
            slopes.push(map.iter().map(|g| (pull * g - logistic(theta_pos - g) / count) / batch).collect());
        } else {
            loss += map.iter().map(|g| (1.0 + (g - theta_neg).exp()).ln()).sum::<f64>() / count / negatives;
            slopes.push(map.iter().map(|g| logistic(g - theta_neg) / count / negatives).collect());
        }
    }
    (loss, slopes)
}

/// Within 1e-5 of the largest element.
fn check<'a>(what: &str, found: impl IntoIterator<Item = &'a f32>, expected: &[f64]) {
    let found: Vec<f64> = found.into_iter().map(|&value| f64::from(value)).collect();
    assert_eq!(found.len(), expected.len(), "{what}: elements");
    let largest = expected.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off <= 1e-5 * largest, "{what} [{index}]: {found}, not {expected}, off by {off:e}");
    }
}
