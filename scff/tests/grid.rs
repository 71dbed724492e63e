//! Workers in a grid train a convolution that takes pairs as one alone does, to the last bit: each makes the pairs of its own
//! samples, takes them through the layers below, and has some of the channels.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use ndarray::{Array2, ArrayView2};
use scff::batch::{Epoch, Step};
use scff::frozen::FrozenLayer;
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, Conv, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::pair_order::PairOrder;
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};
use scff::train::{
    Half, Hyperparameters, Partial, PassOn, Progress, Round, Shard, Sharing, StepReport, TrainingLayer,
    TrainingStage,
};

use crate::same_bits::{check_all_under_every_kernel, check_the_same};

#[path = "common/members.rs"]
mod members;
#[path = "common/same_bits.rs"]
mod same_bits;

const STEPS: u64 = 2;

/// A convolution that takes pairs, and what it learns from.
#[derive(Clone, Copy, Debug)]
struct Case {
    algorithm: Algorithm,
    batch: usize,
    two_views: bool,
    shifts: &'static [usize],
    channels: usize,
    block: usize,
}

/// Batches that sixteen does not divide, one that is smaller; blocks that do not divide the channels; shifts that lead round
/// once and several times.
const CASES: [Case; 4] = [
    Case { algorithm: Algorithm::Direct, batch: 21, two_views: false, shifts: &[7], channels: 22, block: 3 },
    Case {
        algorithm: Algorithm::Winograd,
        batch: 21,
        two_views: true,
        shifts: &[4, 9],
        channels: 22,
        block: 3,
    },
    Case {
        algorithm: Algorithm::Winograd,
        batch: 37,
        two_views: false,
        shifts: &[5],
        channels: 32,
        block: 2,
    },
    Case { algorithm: Algorithm::Direct, batch: 5, two_views: true, shifts: &[2, 3], channels: 9, block: 4 },
];

/// Numbers of members, each in all grids.
const MEMBERS: [usize; 7] = [1, 2, 3, 4, 6, 8, 16];

#[test]
fn every_grid_trains_as_one_alone_does() {
    for case in CASES {
        check_case(case);
    }
}

fn check_case(case: Case) {
    let mut whole = case.stage(None);
    let reports: Vec<_> =
        (0..STEPS).map(|step| whole.step(case.samples(step), case.two_views, case.shifts)).collect();
    let state = whole.layer().state();
    let (channels, samples) =
        (Sharing::Grid.channel_parts(&case.spec()), Sharing::Grid.sample_parts(&case.spec(), case.batch));
    for members in MEMBERS {
        for rows in (1..=members).filter(|rows| members % rows == 0) {
            let columns = members / rows;
            if rows > samples.len() || columns > channels.len() {
                continue;
            }
            let what = format!("{case:?}: {rows} x {columns}");
            let grid: Vec<Vec<_>> = shares(&samples, rows)
                .map(|samples| {
                    let shards = shares(&channels, columns);
                    let shards = shards.map(|channels| Shard { channels, samples: samples.clone() });
                    shards.map(|shard| case.stage(Some(shard))).collect()
                })
                .collect();
            check_grid(case, grid, (&reports, &state), &what);
        }
    }
}

/// Parts shared out among so many, as evenly as possible.
fn shares(parts: &[Range<usize>], among: usize) -> impl Iterator<Item = Range<usize>> {
    let bound = move |share: usize| share * parts.len() / among;
    (0..among).map(move |share| parts[bound(share)].start..parts[bound(share + 1) - 1].end)
}

/// Trains members that stand in rows, each of other samples.
fn check_grid(
    case: Case,
    mut grid: Vec<Vec<TrainingStage>>,
    (reports, state): (&[StepReport], &LayerState),
    what: &str,
) {
    for step in 0..STEPS {
        let samples = case.samples(step);
        let mut inputs = Vec::new();
        let mut goodness = Vec::new();
        for row in &mut grid {
            let halves: Vec<_> = row
                .iter_mut()
                .map(|member| {
                    member.forward(samples.clone().into(), case.two_views, case.shifts, PassOn::Nothing)
                })
                .collect();
            let (of_row, partials): (Vec<_>, Vec<_>) =
                halves.into_iter().map(|half| (half.input, half.partial)).unzip();
            assert!(partials.iter().all(|partial: &Partial| partial.round == Round::Goodness));
            goodness.push(members::sums(&partials.iter().collect::<Vec<_>>()));
            inputs.push(of_row);
        }
        let gradients: Vec<Vec<Partial>> = grid
            .iter_mut()
            .zip(&inputs)
            .zip(goodness)
            .map(|((row, inputs), sums)| {
                let members = row.iter_mut().zip(inputs);
                let proceed =
                    |(member, input): (&mut TrainingStage, _)| match member.proceed(input, sums.clone()) {
                        Progress::Exchange(partial) => partial,
                        Progress::Done(_) => panic!("{what}: no second round"),
                    };
                members.map(proceed).collect()
            })
            .collect();
        for column in 0..grid[0].len() {
            let sums = members::sums(&gradients.iter().map(|row| &row[column]).collect::<Vec<_>>());
            for (row, inputs) in grid.iter_mut().zip(&inputs) {
                let Progress::Done(report) = row[column].proceed(&inputs[column], sums.clone()) else {
                    panic!("{what}: a third round")
                };
                assert_eq!(report, reports[step as usize], "{what}");
            }
        }
    }
    for row in &grid {
        let states: Vec<_> = row.iter().map(|member| member.layer().state()).collect();
        assert_eq!(LayerState::assemble(&states), *state, "{what}");
    }
}

#[test]
fn a_step_in_a_grid_does_not_depend_on_threads() {
    for case in CASES {
        check_the_same(&format!("{case:?}"), || {
            let mut stage = case.stage(None);
            let step = |step| {
                let (samples, pass_on) = (case.samples(step), PassOn::Pairs);
                stage.step_and_pass_on(samples, case.two_views, case.shifts, pass_on)
            };
            let reports: Vec<_> = (0..STEPS).map(step).collect();
            (reports, stage.layer().state())
        });
    }
}

#[test]
fn a_grid_is_the_same_learning_and_passes_on_the_same() {
    for case in CASES {
        let train = |sharing| {
            let mut stage = TrainingStage::new(case.prefix(), case.layer(sharing, None));
            let (report, passed_on) =
                stage.step_and_pass_on(case.samples(0), case.two_views, case.shifts, PassOn::Pairs);
            let scff::samples::Samples::Rows(passed_on) = passed_on else { panic!("rows") };
            (report.loss.total(), passed_on, stage.layer().state().first_moments)
        };
        let (loss, passed_on, moments) = train(Sharing::Channels);
        let (same, also_passed_on, others) = train(Sharing::Grid);
        assert!((loss - same).abs() < 1e-6, "{case:?}: {loss} {same}");
        assert_close(passed_on.view(), also_passed_on.view());
        assert_close(moments.weight(), others.weight());
    }
}

fn assert_close(one: ArrayView2<'_, f32>, other: ArrayView2<'_, f32>) {
    let size = one.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let off = one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    assert!(off < 2e-5 * size, "{off} of {size}");
}

/// Whoever waits for the sums of a step prepares the next one meanwhile.
#[test]
fn a_batch_that_is_prepared_amid_the_step_before_makes_the_same_step() {
    for case in CASES {
        for sharing in [Sharing::Channels, Sharing::Grid] {
            let stage = || TrainingStage::new(case.prefix(), case.layer(sharing, None));
            let (mut plain, mut ahead) = (stage(), stage());
            let preparation = ahead.preparation().clone();
            let prepare = |step| preparation.prepare(case.samples(step).into(), case.two_views, case.shifts);
            let mut prepared = prepare(0);
            for step in 0..STEPS {
                let Half { input, mut partial, .. } = ahead.begin(prepared, PassOn::Nothing);
                let (next, report) = thread::scope(|scope| {
                    let next = scope.spawn(|| prepare(step + 1));
                    let report = loop {
                        match ahead.proceed(&input, partial.total()) {
                            Progress::Exchange(another) => partial = another,
                            Progress::Done(report) => break report,
                        }
                    };
                    (next.join().unwrap(), report)
                });
                prepared = next;
                assert_eq!(report, plain.step(case.samples(step), case.two_views, case.shifts), "{case:?}");
            }
            assert_eq!(ahead.layer().state(), plain.layer().state(), "{case:?}, {sharing}");
        }
    }
}

/// What a grid relies on: a frozen convolution passes on the same bits for a pair, whichever others there are.
#[test]
fn a_pair_is_transformed_alike_whatever_its_company() {
    for case in CASES {
        let [makes, takes] = case.prefix().try_into().unwrap();
        let pass_on = |parts: &[Range<usize>]| {
            let order = PairOrder::neighbouring(case.batch, case.shifts, parts);
            let map = &makes.spec().map;
            let samples = case.samples(0);
            let made = PairedRows::make_in_order(samples, map, case.two_views, case.shifts, order.clone());
            let rows = makes.transform_pairs(&made).rows;
            let taken = PairedRows::take_in_order(rows.clone(), &takes.spec().map, order.clone());
            (order.pairs().collect::<Vec<_>>(), rows, takes.transform_pairs(&taken).rows)
        };
        let parts = Sharing::Grid.sample_parts(&case.spec(), case.batch);
        let (all, of_first, of_second) = pass_on(&parts);
        for part in parts.iter().cloned().chain(iter::once(parts[1].start..case.batch)) {
            let (pairs, first, second) = pass_on(&[part]);
            for (place, pair) in pairs.into_iter().enumerate() {
                let among_all = all.iter().position(|other| *other == pair).unwrap();
                assert_eq!(first.row(place), of_first.row(among_all), "{case:?}: {pair:?}");
                assert_eq!(second.row(place), of_second.row(among_all), "{case:?}: {pair:?}, above");
            }
        }
    }
}

#[test]
fn all_of_this_holds_under_every_kernel_of_this_processor() {
    check_all_under_every_kernel();
}

impl Case {
    fn spec(&self) -> LayerSpec {
        self.layer(Sharing::Grid, None).spec().clone()
    }

    /// Two layers: one makes pairs, one takes them.
    fn prefix(&self) -> Vec<Arc<FrozenLayer>> {
        let makes = fresh(conv(Algorithm::Direct, (10, 3, 8, 5)), PairSource::Makes, true, 8);
        let takes = fresh(conv(self.algorithm, (5, 8, 20, 3)), PairSource::Takes, false, 7);
        vec![Arc::new(makes.freeze()), Arc::new(takes.freeze())]
    }

    fn layer(&self, sharing: Sharing, shard: Option<Shard>) -> TrainingLayer {
        let map = conv(self.algorithm, (5, 20, self.channels, 3));
        let layer = fresh(map, PairSource::Takes, true, self.block);
        let hyperparameters = Hyperparameters { sharing, ..HYPERPARAMETERS };
        TrainingLayer::shard(layer.spec().clone(), hyperparameters, &layer.state(), shard).unwrap()
    }

    /// All of it, or a member's shard.
    fn stage(&self, shard: Option<Shard>) -> TrainingStage {
        TrainingStage::new(self.prefix(), self.layer(Sharing::Grid, shard))
    }

    fn samples(&self, salt: u64) -> Array2<f32> {
        let mut random = Seed(salt).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
        let count = if self.two_views { 2 * self.batch } else { self.batch };
        Array2::from_shape_simple_fn((count, 10 * 10 * 3), || symmetric(&mut random, 1.0))
    }
}

const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 0.5, theta_neg: 1.0, lambda: 1e-3 },
    optimizer: OptimizerParameters { learning_rate: 0.003, weight_decay: 1e-4, gamma: 0.9, period: 2 },
    sharing: Sharing::Channels,
};

/// Side, channels in and out, kernel.
fn conv(algorithm: Algorithm, (side, inputs, channels, kernel): (usize, usize, usize, usize)) -> LayerMap {
    let input = MapShape { height: side, width: side, channels: inputs };
    LayerMap::Conv(Conv { input, channels, kernel, padding: kernel / 2, algorithm })
}

fn fresh(map: LayerMap, pairs: PairSource, pooled: bool, block: usize) -> TrainingLayer {
    scff::blas::use_one_thread_per_call();
    let pool = Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 };
    let (pool, readout_pool) = (pooled.then_some(pool), None);
    let transmit = Transmit::Triangle;
    let spec = LayerSpec { name: "layer".into(), map, pairs, transmit, pool, readout_pool, block };
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    TrainingLayer::new(spec, HYPERPARAMETERS, &LayerState::initial(&map, &mut random)).unwrap()
}
