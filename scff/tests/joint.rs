//! What a layer passes on while it trains, and layers that train on it.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, s};
use scff::batch::{Epoch, Step};
use scff::frozen::FrozenLayer;
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};
use scff::train::{Hyperparameters, PassOn, Shard, Sharing, TrainingLayer, TrainingStage};

const BATCH: usize = 12;
const SHIFTS: [usize; 2] = [1, 5];

fn layer(map: LayerMap, pairs: PairSource, transmit: Transmit, block: usize) -> TrainingLayer {
    shared((map, pairs, transmit, block), Sharing::Channels).expect("all layers can be shared so")
}

/// None where it cannot be shared so.
fn shared(
    (map, pairs, transmit, block): (LayerMap, PairSource, Transmit, usize),
    sharing: Sharing,
) -> Option<TrainingLayer> {
    scff::blas::use_one_thread_per_call();
    let pool = match map {
        LayerMap::Conv(_) => Some(Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 }),
        LayerMap::Dense(_) | LayerMap::BiRnn(_) => None,
    };
    let spec = LayerSpec { name: "layer".into(), map, pairs, transmit, pool, readout_pool: None, block };
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let state = LayerState::initial(&map, &mut random);
    sharing.suits(&spec).then(|| TrainingLayer::new(spec, hyperparameters(sharing), &state).unwrap())
}

fn hyperparameters(sharing: Sharing) -> Hyperparameters {
    Hyperparameters {
        loss: LossParameters { theta_pos: 1.0, theta_neg: 2.0, lambda: 0.03 },
        optimizer: OptimizerParameters { learning_rate: 0.01, weight_decay: 0.001, gamma: 0.9, period: 2 },
        sharing,
    }
}

fn dense(inputs: usize, outputs: usize) -> LayerMap {
    LayerMap::Dense(Dense { inputs, outputs })
}

fn conv(side: usize, inputs: usize, channels: usize) -> LayerMap {
    let input = MapShape { height: side, width: side, channels: inputs };
    LayerMap::Conv(Conv { input, channels, kernel: 3, padding: 1, algorithm: Algorithm::Direct })
}

fn rows(salt: u64, count: usize, elements: usize) -> Array2<f32> {
    let mut random = Seed(salt).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
    Array2::from_shape_simple_fn((count, elements), || symmetric(&mut random, 1.0))
}

fn assert_close(found: &Array2<f32>, expected: &Array2<f32>) {
    assert_eq!(found.dim(), expected.dim());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-5 * largest, "{found}, not {expected}");
    }
}

#[test]
fn a_layer_passes_on_what_it_would_frozen_before_the_update() {
    // Blocks that do not divide the channels: what is passed on is gathered from several.
    for map in [dense(30, 23), conv(8, 3, 10)] {
        for transmit in [Transmit::Triangle, Transmit::Relu] {
            for pairs in [PairSource::Makes, PairSource::Takes] {
                for sharing in [Sharing::Channels, Sharing::Samples] {
                    let layer = || shared((map, pairs, transmit, 4), sharing);
                    let Some((stage, alone)) = layer().zip(layer()) else { continue };
                    check_passed_on(stage, alone);
                }
            }
        }
    }
}

/// Two layers that are the same.
fn check_passed_on(layer: TrainingLayer, alone: TrainingLayer) {
    let (map, makes_pairs) = (layer.spec().map, layer.spec().makes_pairs());
    let (mut stage, mut alone) = (TrainingStage::new(vec![], layer), TrainingStage::new(vec![], alone));
    let count = if makes_pairs { BATCH } else { BATCH * (1 + SHIFTS.len()) };
    for step in 0..3 {
        let rows = rows(step, count, map.inputs());
        let parameters = stage.layer().state().parameters;
        let frozen = FrozenLayer::new(stage.layer().spec().clone(), parameters).unwrap();
        let input = if makes_pairs {
            PairedRows::make(rows.clone(), &map, false, &SHIFTS)
        } else {
            let rows = rows.clone();
            PairedRows::take(scff::pair::PairActivations { rows, positives: BATCH }, &map)
        };
        let expected = frozen.transform_pairs(&input).rows;
        let pass_on = if step == 1 { PassOn::Positives } else { PassOn::Pairs };
        let (_, passed_on) = stage.step_and_pass_on(rows.clone(), false, &SHIFTS, pass_on);
        let passed = if step == 1 { BATCH } else { BATCH * (1 + SHIFTS.len()) };
        let Samples::Rows(passed_on) = passed_on else { panic!("rows") };
        assert_close(&passed_on, &expected.slice(s![..passed, ..]).to_owned());
        // Passing on changes nothing about the step itself.
        alone.step(rows, false, &SHIFTS);
        assert_eq!(alone.layer().state(), stage.layer().state());
    }
}

/// Samples of a batch that only some layers divide into several parts.
const MANY: usize = 41;

#[test]
fn what_those_who_share_samples_pass_on_is_together_what_one_alone_does() {
    let kinds = [(PairSource::Makes, Sharing::Samples), (PairSource::Takes, Sharing::Grid)];
    for ((pairs, sharing), algorithm) in
        kinds.into_iter().flat_map(|kind| [Algorithm::Direct, Algorithm::Winograd].map(|form| (kind, form)))
    {
        let input = MapShape { height: 8, width: 8, channels: 3 };
        let map = LayerMap::Conv(Conv { input, channels: 10, kernel: 3, padding: 1, algorithm });
        let Some(whole) = shared((map, pairs, Transmit::Triangle, 4), sharing) else { continue };
        for shifts in [&SHIFTS[..], &[7]] {
            for pass_on in [PassOn::Positives, PassOn::Pairs] {
                check_shared(&whole, sharing, shifts, pass_on);
            }
        }
    }
}

fn check_shared(layer: &TrainingLayer, sharing: Sharing, shifts: &[usize], pass_on: PassOn) {
    let spec = layer.spec();
    let stage = |samples: Option<Range<usize>>| {
        let shard = samples.map(|samples| Shard { channels: 0..spec.map.channels(), samples });
        let layer =
            TrainingLayer::shard(spec.clone(), hyperparameters(sharing), &layer.state(), shard).unwrap();
        TrainingStage::new(vec![], layer)
    };
    let count = if spec.makes_pairs() { MANY } else { MANY * (1 + shifts.len()) };
    let arriving = Samples::from(rows(5, count, spec.map.inputs()));
    let rows_of = |samples: Samples| match samples {
        Samples::Rows(rows) => rows,
        Samples::Sequences(_) => panic!("rows"),
    };
    let whole = stage(None).forward(arriving.clone(), false, shifts, pass_on).passed_on;
    let passed = if pass_on == PassOn::Positives { MANY } else { MANY * (1 + shifts.len()) };
    assert_eq!(whole.pairs, (0..passed).collect::<Vec<_>>());
    let whole = rows_of(whole.outputs);
    let parts = sharing.sample_parts(spec, MANY);
    for members in [2, 3, parts.len()].into_iter().filter(|members| *members <= parts.len()) {
        let mut together = Array2::from_elem(whole.dim(), f32::NAN);
        let mut seen = Vec::new();
        for member in 0..members {
            let own = &parts[member * parts.len() / members..(member + 1) * parts.len() / members];
            let samples = own[0].start..own[own.len() - 1].end;
            let of_member = stage(Some(samples)).forward(arriving.clone(), false, shifts, pass_on).passed_on;
            for (pair, row) in of_member.pairs.iter().zip(rows_of(of_member.outputs).outer_iter()) {
                together.row_mut(*pair).assign(&row);
            }
            assert!(of_member.pairs.is_sorted());
            seen.extend(of_member.pairs);
        }
        assert_eq!(together, whole, "{sharing}, {members} members");
        seen.sort_unstable();
        assert_eq!(seen, (0..passed).collect::<Vec<_>>(), "{sharing}, {members} members");
    }
}

#[test]
fn frozen_layers_between_live_ones_make_pairs_of_the_positives_that_reach_them() {
    let below = Arc::new(layer(dense(20, 15), PairSource::Takes, Transmit::Triangle, 4).freeze());
    let above = || layer(dense(15, 9), PairSource::Makes, Transmit::Relu, 4);
    let mut stage = TrainingStage::new(vec![below.clone()], above());
    assert!(!stage.makes_pairs());
    let pairs = rows(1, BATCH * (1 + SHIFTS.len()), 20);
    stage.step(pairs.clone(), false, &SHIFTS);
    // The positives alone, through the layer below, are the samples above it.
    let mut direct = above();
    let positives = PairedRows::take(
        scff::pair::PairActivations { rows: pairs.slice(s![..BATCH, ..]).to_owned(), positives: BATCH },
        &below.spec().map,
    );
    let samples = below.transform_pairs(&positives).rows;
    direct.step(&PairedRows::make(samples, &direct.spec().map, false, &SHIFTS));
    let [found, expected] =
        [stage.layer().state(), direct.state()].map(|state| state.parameters.weight().to_owned());
    assert_close(&found, &expected);
}
