//! The same bits, whatever the number of threads, a sample's company, or where training was interrupted; under
//! every BLAS kernel that this processor runs.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use scff::batch::{Epoch, Step};
use scff::frozen::{FrozenLayer, ROWS_PER_CALL, features, transform};
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind, Tensors,
    Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::readout::{Features, ReadoutSpec, train};
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};
use scff::train::{Hyperparameters, PassOn, Progress, Shard, Sharing, TrainingLayer, TrainingStage};

use crate::same_bits::{check_all_under_every_kernel, check_the_same};

#[path = "common/members.rs"]
mod members;
#[path = "common/same_bits.rs"]
mod same_bits;

/// (batch, inputs, outputs, block)
type Shape = (usize, usize, usize, usize);

/// The products' inner sizes are 600, 784 and 2000, where OpenBLAS's own threads
/// change bits, and odd ones.
const SHAPES: [Shape; 6] = [
    (100, 784, 600, 200),
    (100, 600, 784, 200),
    (50, 2000, 300, 96),
    (31, 77, 53, 20),
    (7, 13, 5, 2),
    (64, 33, 129, 129),
];

#[test]
fn a_step_does_not_depend_on_threads() {
    for shape in SHAPES {
        check_the_same(&format!("{shape:?}"), || {
            let mut layer = layer(shape, PairSource::Makes);
            for step in 0..3 {
                layer.step(&PairedRows::make(rows(step, 2 * shape.0, shape.1), &dense(shape), true, &[1, 2]));
            }
            layer.state()
        });
    }
}

#[test]
fn a_step_with_a_pair_prefix_does_not_depend_on_threads() {
    check_the_same("two layers", || {
        let below = layer((50, 600, 250, 96), PairSource::Makes).freeze();
        let mut stage =
            TrainingStage::new(vec![Arc::new(below)], layer((50, 250, 130, 60), PairSource::Takes));
        for step in 0..3 {
            stage.step(rows(step, 50, 600), false, &[7]);
        }
        stage.layer().state()
    });
}

#[test]
fn transform_does_not_depend_on_threads() {
    for shape in SHAPES {
        let frozen = layer(shape, PairSource::Makes).freeze();
        let samples = rows(1, 3 * ROWS_PER_CALL + 5, shape.1);
        check_the_same(&format!("{shape:?}"), || frozen.transform(samples.view()));
    }
}

#[test]
fn the_readout_does_not_depend_on_threads() {
    let features = Features::F32(rows(1, 200, 2500));
    let labels: Vec<u32> = (0..200).map(|sample| (sample * 7 % 10) as u32).collect();
    let spec = ReadoutSpec { learning_rate: 1e-3, batch: 64, epochs: 3, dropout: 0.2 };
    check_the_same("readout", || {
        let readout = train(&features, &labels, 10, &spec, Seed(1), |_, _| {}).unwrap();
        (readout.parameters(), readout.correct(&features, &labels))
    });
}

#[test]
fn a_sample_is_transformed_alike_whatever_its_place_and_company() {
    for (_, inputs, outputs, block) in SHAPES {
        let layers = [
            Arc::new(layer((0, inputs, outputs, block), PairSource::Makes).freeze()),
            Arc::new(layer((0, outputs, inputs, block), PairSource::Takes).freeze()),
        ];
        let samples = rows(1, ROWS_PER_CALL + 60, inputs);
        let together = transform(&layers, samples.view());
        let featured = features(&layers, &[true, true], samples.view());
        for sample in [0, 1, 5, 15, 47, ROWS_PER_CALL - 1, ROWS_PER_CALL, ROWS_PER_CALL + 59] {
            let alone = samples.slice(s![sample..=sample, ..]);
            for (before, after) in [(0, 0), (1, 0), (7, 30), (ROWS_PER_CALL - 1, 1), (50, 200)] {
                let company = |salt, count| rows(salt, count, inputs);
                let parts = [company(2, before), alone.to_owned(), company(3, after)];
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                let rows = concatenate(Axis(0), &views).unwrap();
                let what = format!("{inputs}-{outputs}: sample {sample} at {before} of {}", rows.nrows());
                let found = transform(&layers, rows.view());
                assert_eq!(found.row(before), together.row(sample), "{what}");
                let found = features(&layers, &[true, true], rows.view());
                assert_eq!(found.row(before), featured.row(sample), "{what}");
            }
        }
    }
}

/// (side, channels in, channels out, kernel, block, samples): several tiles, several groups, blocks that do not divide.
const CONVS: [(usize, usize, usize, usize, usize, usize); 3] =
    [(16, 3, 20, 5, 8, 11), (8, 40, 50, 3, 16, 20), (4, 64, 33, 3, 33, 31)];

fn conv((side, channels_in, channels, kernel, ..): (usize, usize, usize, usize, usize, usize)) -> LayerMap {
    let input = MapShape { height: side, width: side, channels: channels_in };
    LayerMap::Conv(Conv { input, channels, kernel, padding: kernel / 2, algorithm: Algorithm::Direct })
}

/// A convolution in all ways in which it can be computed.
fn convs(shape: (usize, usize, usize, usize, usize, usize)) -> Vec<LayerMap> {
    let algorithms = [Algorithm::Direct, Algorithm::Winograd].into_iter();
    algorithms.filter(|algorithm| algorithm.suits(shape.3)).map(|algorithm| by(algorithm, shape)).collect()
}

/// All of [`CONVS`] so.
fn all_convs() -> impl Iterator<Item = ((usize, usize, usize, usize, usize, usize), LayerMap)> {
    CONVS.into_iter().flat_map(|shape| convs(shape).into_iter().map(move |map| (shape, map)))
}

/// A convolution in one of them.
fn by(algorithm: Algorithm, shape: (usize, usize, usize, usize, usize, usize)) -> LayerMap {
    let LayerMap::Conv(direct) = conv(shape) else { unreachable!("a convolution") };
    LayerMap::Conv(Conv { algorithm, ..direct })
}

const MAX: Option<Pool> = Some(Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 });

#[test]
fn a_convolutions_step_does_not_depend_on_threads() {
    for (shape, map) in all_convs() {
        check_the_same(&format!("{map:?}"), || {
            let mut layer = fresh(map, PairSource::Makes, MAX, shape.4);
            for step in 0..3 {
                let rows = rows(step, 2 * shape.5, map.inputs());
                layer.step(&PairedRows::make(rows, &map, true, &[1, 2]));
            }
            layer.state()
        });
    }
}

#[test]
fn a_convolutions_step_with_a_pair_prefix_does_not_depend_on_threads() {
    let below = (12, 3, 24, 5, 24, 20);
    let above = (6, 24, 30, 3, 7, 20);
    let between = (6, 24, 24, 3, 24, 20);
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        check_the_same(&format!("three convolutions, {algorithm}"), || {
            let below = fresh(conv(below), PairSource::Makes, MAX, below.4).freeze();
            let between = fresh(by(algorithm, between), PairSource::Takes, None, between.4).freeze();
            let layer = fresh(by(algorithm, above), PairSource::Takes, MAX, above.4);
            let mut stage = TrainingStage::new(vec![Arc::new(below), Arc::new(between)], layer);
            let mut passed_on = Vec::new();
            for step in 0..3 {
                let rows = rows(step, 20, 12 * 12 * 3);
                passed_on.push(stage.step_and_pass_on(rows, false, &[7], PassOn::Pairs).1);
            }
            (stage.layer().state(), passed_on)
        });
    }
}

#[test]
fn an_image_is_transformed_alike_whatever_its_place_and_company() {
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        check_images(algorithm);
    }
}

fn check_images(algorithm: Algorithm) {
    let shape = (12, 3, 24, 5, 24, 0);
    let above = (6, 24, 30, 3, 30, 0);
    let layers = [
        Arc::new(fresh(conv(shape), PairSource::Makes, MAX, 24).freeze()),
        Arc::new(fresh(by(algorithm, above), PairSource::Takes, None, 30).freeze()),
    ];
    let inputs = conv(shape).inputs();
    let samples = rows(1, 40, inputs);
    let together = transform(&layers, samples.view());
    for sample in [0, 1, 2, 13, 20, 39] {
        let alone = samples.slice(s![sample..=sample, ..]);
        for (before, after) in [(0, 0), (1, 0), (2, 5), (13, 1), (20, 20)] {
            let parts = [rows(2, before, inputs), alone.to_owned(), rows(3, after, inputs)];
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            let found = transform(&layers, concatenate(Axis(0), &views).unwrap().view());
            assert_eq!(found.row(before), together.row(sample), "{algorithm}: sample {sample} at {before}");
        }
    }
    check_the_same("images", || transform(&layers, samples.view()));
}

/// What a group of workers relies on.
#[test]
fn a_convolutions_block_does_not_depend_on_the_blocks_beside_it() {
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        check_block(algorithm);
    }
}

fn check_block(algorithm: Algorithm) {
    let map = by(algorithm, (8, 16, 48, 3, 16, 20));
    let input = PairedRows::make(rows(1, 20, map.inputs()), &map, false, &[3]);
    let mut whole = fresh(map, PairSource::Makes, None, 16);
    let parameters = whole.state().parameters;
    let partial = whole.begin_step(&input);
    for (channels, expected) in whole.spec().blocks().into_iter().zip(partial.addends().outer_iter()) {
        let mut alone = fresh(by(algorithm, (8, 16, channels.len(), 3, 16, 20)), PairSource::Makes, None, 16);
        let parameters = Tensors::linear(
            parameters.weight().slice_axis(Axis(0), channels.slice()).to_owned(),
            parameters.bias().slice_axis(Axis(0), channels.slice()).to_owned(),
        );
        let state = LayerState { parameters, ..alone.state() };
        alone = TrainingLayer::new(alone.spec().clone(), HYPERPARAMETERS, &state).unwrap();
        assert_eq!(alone.begin_step(&input).addends().row(0), expected, "{channels:?}");
    }
}

/// Trains `layer` whole and in shards of so many parts each, and compares them to the last bit.
fn check_shards(
    layer: &TrainingLayer,
    sharing: Sharing,
    input: impl Fn(u64) -> PairedRows,
    splits: &[&[usize]],
) {
    let spec = layer.spec();
    let hyperparameters = Hyperparameters { sharing, ..HYPERPARAMETERS };
    let start = layer.state();
    let mut whole = TrainingLayer::new(spec.clone(), hyperparameters, &start).unwrap();
    let reports: Vec<_> = (0..3).map(|step| whole.step(&input(step))).collect();
    let batch = input(0).rows().nrows();
    let (channels, samples) = (0..spec.map.channels(), 0..batch);
    let by_channels = sharing == Sharing::Channels;
    let parts = if by_channels { sharing.channel_parts(spec) } else { sharing.sample_parts(spec, batch) };
    for split in splits {
        assert_eq!(split.iter().sum::<usize>(), parts.len());
        let mut first = 0;
        let ranges = split.iter().map(|&count| {
            let range = parts[first].start..parts[first + count - 1].end;
            first += count;
            range
        });
        let shard = |own| {
            if by_channels {
                Shard { channels: own, samples: samples.clone() }
            } else {
                Shard { channels: channels.clone(), samples: own }
            }
        };
        let mut shards: Vec<_> = ranges
            .map(|own| TrainingLayer::shard(spec.clone(), hyperparameters, &start, Some(shard(own))).unwrap())
            .collect();
        for step in 0..3 {
            let input = input(step);
            let partials: Vec<_> = shards.iter_mut().map(|shard| shard.begin_step(&input)).collect();
            let sums = members::sums(&partials.iter().collect::<Vec<_>>());
            assert_eq!(sums.numbers.len(), sharing.exchanged(spec, input.pairs().len()).total());
            for shard in &mut shards {
                let Progress::Done(report) = shard.proceed(&input, sums.clone()) else { panic!("one round") };
                assert_eq!(report, reports[step as usize], "{split:?}");
            }
        }
        let states: Vec<_> = shards.iter().map(TrainingLayer::state).collect();
        if by_channels {
            assert_eq!(LayerState::assemble(&states), whole.state(), "{split:?}");
        } else {
            assert!(states.into_iter().all(|state| state == whole.state()), "{split:?}");
        }
    }
}

#[test]
fn shards_train_as_the_whole_layer_does() {
    let dense_shape = (20, 50, 60, 7);
    let map = dense(dense_shape);
    check_shards(
        &layer(dense_shape, PairSource::Makes),
        Sharing::Channels,
        |step| PairedRows::make(rows(step, 40, 50), &map, true, &[3, 5]),
        &[&[9], &[4, 5], &[1, 8], &[3, 3, 3], &[2, 1, 2, 4]],
    );
    for map in convs((8, 16, 48, 3, 8, 20)) {
        check_shards(
            &fresh(map, PairSource::Makes, MAX, 8),
            Sharing::Channels,
            |step| PairedRows::make(rows(step, 20, map.inputs()), &map, false, &[3]),
            &[&[6], &[3, 3], &[1, 5], &[2, 2, 2], &[1, 1, 1, 1, 1, 1]],
        );
    }
}

#[test]
fn shards_of_samples_train_as_the_whole_layer_does() {
    let map = conv((16, 3, 24, 5, 8, 12));
    // Two tiles, or parts, of each four samples; shifts that lead round once, twice, and two at a time.
    for shifts in [&[5][..], &[4], &[7, 2]] {
        check_shards(
            &fresh(map, PairSource::Makes, MAX, 8),
            Sharing::Samples,
            |step| PairedRows::make(rows(step, 12, map.inputs()), &map, false, shifts).neighbouring(),
            &[&[6], &[3, 3], &[1, 5], &[2, 2, 2], &[1, 1, 1, 1, 1, 1]],
        );
    }
}

#[test]
fn sharing_samples_is_the_same_learning() {
    let map = conv((16, 3, 24, 5, 8, 12));
    let start = fresh(map, PairSource::Makes, MAX, 8);
    let input = |step| PairedRows::make(rows(step, 12, map.inputs()), &map, false, &[4, 7]);
    let train = |sharing| {
        let hyperparameters = Hyperparameters { sharing, ..HYPERPARAMETERS };
        let mut layer = TrainingLayer::new(start.spec().clone(), hyperparameters, &start.state()).unwrap();
        let losses: Vec<f64> = (0..3)
            .map(|step| {
                let input = input(step);
                let input = if sharing == Sharing::Samples { input.neighbouring() } else { input };
                layer.step(&input).loss.total()
            })
            .collect();
        (losses, layer.state())
    };
    let (losses, state) = train(Sharing::Channels);
    let (same, others) = train(Sharing::Samples);
    assert!(losses.iter().zip(&same).all(|(one, other)| (one - other).abs() < 1e-6), "{losses:?} {same:?}");
    let largest = |one: ArrayView2<'_, f32>, other: ArrayView2<'_, f32>| {
        one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
    };
    let moments = largest(state.first_moments.weight(), others.first_moments.weight());
    let scale = state.first_moments.weight().iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(moments < 1e-5 * scale, "{moments} of {scale}");
}

#[test]
fn a_layer_survives_the_trip_through_its_state() {
    let shape = (20, 50, 30, 7);
    let mut layer = layer(shape, PairSource::Makes);
    layer.step(&PairedRows::make(rows(1, 20, 50), &dense(shape), false, &[3]));
    let state = layer.state();
    let again = TrainingLayer::new(layer.spec().clone(), HYPERPARAMETERS, &state).unwrap();
    assert_eq!(again.state(), state);

    let frozen = layer.freeze();
    assert_eq!(frozen.parameters(), &state.parameters);
    let again = FrozenLayer::new(frozen.spec().clone(), frozen.parameters().clone()).unwrap();
    assert_eq!(again, frozen);
}

#[test]
fn resume_equals_uninterrupted() {
    for shape in SHAPES {
        let batch = |step| {
            PairedRows::make(rows(step, shape.0, shape.1), &dense(shape), false, &[1 + step as usize % 5])
        };
        let mut uninterrupted = layer(shape, PairSource::Makes);
        let mut resumed = layer(shape, PairSource::Makes);
        for step in 0..5 {
            let expected = uninterrupted.step(&batch(step));
            assert_eq!(resumed.step(&batch(step)), expected, "{shape:?}, step {step}");
            resumed = TrainingLayer::new(resumed.spec().clone(), HYPERPARAMETERS, &resumed.state()).unwrap();
        }
        assert_eq!(resumed.state(), uninterrupted.state(), "{shape:?}");
    }
}

#[test]
fn a_resumed_convolution_equals_an_uninterrupted_one() {
    for (shape, map) in all_convs() {
        let batch =
            |step| PairedRows::make(rows(step, shape.5, map.inputs()), &map, false, &[1 + step as usize % 5]);
        let mut uninterrupted = fresh(map, PairSource::Makes, MAX, shape.4);
        let mut resumed = fresh(map, PairSource::Makes, MAX, shape.4);
        for step in 0..5 {
            let expected = uninterrupted.step(&batch(step));
            assert_eq!(resumed.step(&batch(step)), expected, "{shape:?}, step {step}");
            resumed = TrainingLayer::new(resumed.spec().clone(), HYPERPARAMETERS, &resumed.state()).unwrap();
        }
        assert_eq!(resumed.state(), uninterrupted.state(), "{shape:?}");
    }
}

/// What a group of workers relies on.
#[test]
fn a_block_does_not_depend_on_the_blocks_beside_it() {
    let (batch, inputs, outputs, block) = (40, 120, 90, 30);
    let input =
        PairedRows::make(rows(1, batch, inputs), &dense((batch, inputs, outputs, block)), false, &[3]);
    let mut whole = layer((batch, inputs, outputs, block), PairSource::Makes);
    let parameters = whole.state().parameters;
    let partial = whole.begin_step(&input);
    for (channels, expected) in whole.spec().blocks().into_iter().zip(partial.addends().outer_iter()) {
        let mut alone = layer((batch, inputs, channels.len(), block), PairSource::Makes);
        let parameters = Tensors::linear(
            parameters.weight().slice_axis(Axis(0), channels.slice()).to_owned(),
            parameters.bias().slice_axis(Axis(0), channels.slice()).to_owned(),
        );
        let state = LayerState { parameters, ..alone.state() };
        alone = TrainingLayer::new(alone.spec().clone(), HYPERPARAMETERS, &state).unwrap();
        assert_eq!(alone.begin_step(&input).addends().row(0), expected, "{channels:?}");
    }
}

#[test]
fn all_of_this_holds_under_every_kernel_of_this_processor() {
    check_all_under_every_kernel();
}

const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 4.0, theta_neg: 6.0, lambda: 1e-4 },
    optimizer: OptimizerParameters { learning_rate: 0.003, weight_decay: 1e-4, gamma: 0.9, period: 2 },
    sharing: Sharing::Channels,
};

/// A fresh layer of one of [`SHAPES`].
fn layer(shape: Shape, pairs: PairSource) -> TrainingLayer {
    fresh(dense(shape), pairs, None, shape.3)
}

fn dense((_, inputs, outputs, _): Shape) -> LayerMap {
    LayerMap::Dense(Dense { inputs, outputs })
}

fn fresh(map: LayerMap, pairs: PairSource, pool: Option<Pool>, block: usize) -> TrainingLayer {
    scff::blas::use_one_thread_per_call();
    let readout_pool = None;
    let transmit = Transmit::Triangle;
    let spec = LayerSpec { name: "layer".into(), map, pairs, transmit, pool, readout_pool, block };
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    TrainingLayer::new(spec, HYPERPARAMETERS, &LayerState::initial(&map, &mut random)).unwrap()
}

fn rows(salt: u64, count: usize, elements: usize) -> Array2<f32> {
    let mut random = Seed(salt).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
    Array2::from_shape_simple_fn((count, elements), || symmetric(&mut random, 1.0))
}
