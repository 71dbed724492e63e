//! The same bits of recurrent layers, whatever the number of threads, how directions are shared, a sequence's company, or
//! where training was interrupted; under every BLAS kernel that this processor runs.

use std::sync::Arc;

use ndarray::{Array2, Axis, concatenate};
use scff::batch::{Epoch, Step};
use scff::frozen::{FrozenLayer, features};
use scff::goodness::LossParameters;
use scff::layer::{
    BiRnn, LayerMap, LayerSpec, LayerState, MapShape, PairSource, SequencePadding, Summary, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::seed::{NO_LAYER, Purpose, Seed, below, symmetric};
use scff::sequence_pair::PairedSequences;
use scff::sequences::Sequences;
use scff::train::{Hyperparameters, PassOn, Progress, Shard, Sharing, TrainingLayer, TrainingStage};

use crate::same_bits::{check_all_under_every_kernel, check_the_same};

#[path = "common/members.rs"]
mod members;
#[path = "common/same_bits.rs"]
mod same_bits;

/// Features, hidden units, frames of the longest, block, samples: several packs, blocks that do not divide, products large
/// and very small.
const SHAPES: [(usize, usize, usize, usize, usize); 3] =
    [(39, 200, 9, 64, 50), (20, 77, 14, 77, 33), (5, 13, 6, 4, 7)];

const PADDINGS: [SequencePadding; 2] = [SequencePadding::Masked, SequencePadding::Counts];

#[test]
fn a_step_does_not_depend_on_threads() {
    for (shape, padding) in cases() {
        check_the_same(&format!("{shape:?}, {padding:?}"), || {
            let mut layer = layer(shape, padding, PairSource::Makes);
            let reports: Vec<_> = (0..3).map(|step| layer.step(&batch(step, shape))).collect();
            (reports, layer.state())
        });
    }
}

#[test]
fn a_step_upon_frozen_and_live_layers_does_not_depend_on_threads() {
    let (below, above) = ((20, 60, 9, 32, 30), (120, 50, 9, 25, 30));
    check_the_same("two layers", || {
        let frozen = layer(below, SequencePadding::Counts, PairSource::Makes).freeze();
        let training = layer(above, SequencePadding::Masked, PairSource::Takes);
        let mut stage = TrainingStage::new(vec![Arc::new(frozen)], training);
        let step = |step| stage.step_and_pass_on(sequences(step, below), false, &[7], PassOn::Pairs);
        let passed_on: Vec<_> = (0..3).map(step).collect();
        (stage.layer().state(), passed_on)
    });
}

#[test]
fn a_sequence_is_transformed_alike_whatever_its_place_and_company() {
    for shape in SHAPES {
        let layers = [Arc::new(layer(shape, SequencePadding::Counts, PairSource::Makes).freeze())];
        let frozen = &layers[0];
        let samples = sequences(1, (shape.0, shape.1, shape.2, shape.3, 110));
        let together = frozen.transform_sequences(&samples);
        let featured = features(&layers, &[true], samples.clone());
        for sample in [0, 1, 5, 47, 48, 60, 109] {
            for (before, after) in [(0, 0), (1, 0), (3, 30), (47, 1), (50, 70)] {
                let company = |salt, count| sequences(salt, (shape.0, shape.1, 2 * shape.2, shape.3, count));
                let rows = joined(&[company(2, before), one(&samples, sample), company(3, after)]);
                let found = frozen.transform_sequences(&rows);
                assert_eq!(found.sequence(before), together.sequence(sample), "{sample} at {before}");
                let found = features(&layers, &[true], rows);
                assert_eq!(found.row(before), featured.row(sample), "features of {sample} at {before}");
            }
        }
        check_the_same("sequences", || frozen.transform_sequences(&samples));
    }
}

/// What a group of workers relies on.
#[test]
fn directions_apart_train_as_the_whole_layer_does() {
    for (shape, padding) in cases() {
        let mut whole = layer(shape, padding, PairSource::Makes);
        let (spec, start) = (whole.spec().clone(), whole.state());
        let parts = Sharing::Channels.channel_parts(&spec);
        assert_eq!(parts, [0..shape.1, shape.1..2 * shape.1]);
        let mut shards: Vec<_> = parts
            .into_iter()
            .map(|channels| Shard { channels, samples: 0..shape.4 })
            .map(|shard| TrainingLayer::shard(spec.clone(), HYPERPARAMETERS, &start, Some(shard)).unwrap())
            .collect();
        for step in 0..3 {
            let input = batch(step, shape);
            let expected = whole.step(&input);
            let partials: Vec<_> = shards.iter_mut().map(|shard| shard.begin_step(&input)).collect();
            let sums = members::sums(&partials.iter().collect::<Vec<_>>());
            for shard in &mut shards {
                let Progress::Done(report) = shard.proceed(&input, sums.clone()) else { panic!("one round") };
                assert_eq!(report, expected, "{shape:?}, step {step}");
            }
        }
        let states: Vec<_> = shards.iter().map(TrainingLayer::state).collect();
        for state in &states {
            state.check_shard(&spec.map).unwrap();
        }
        assert_eq!(LayerState::assemble(&states), whole.state(), "{shape:?}");
    }
}

#[test]
fn resume_equals_uninterrupted() {
    for (shape, padding) in cases() {
        let mut uninterrupted = layer(shape, padding, PairSource::Makes);
        let mut resumed = layer(shape, padding, PairSource::Makes);
        for step in 0..5 {
            let expected = uninterrupted.step(&batch(step, shape));
            assert_eq!(resumed.step(&batch(step, shape)), expected, "{shape:?}, step {step}");
            resumed = TrainingLayer::new(resumed.spec().clone(), HYPERPARAMETERS, &resumed.state()).unwrap();
        }
        assert_eq!(resumed.state(), uninterrupted.state(), "{shape:?}");
        let frozen = resumed.freeze();
        let again = FrozenLayer::new(frozen.spec().clone(), frozen.parameters().clone()).unwrap();
        assert_eq!(again, frozen);
    }
}

#[test]
fn all_of_this_holds_under_every_kernel_of_this_processor() {
    check_all_under_every_kernel();
}

const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 0.0, theta_neg: 1.0, lambda: 0.0075 },
    optimizer: OptimizerParameters { learning_rate: 0.003, weight_decay: 1e-4, gamma: 0.9, period: 2 },
    sharing: Sharing::Channels,
};

type Shape = (usize, usize, usize, usize, usize);

fn cases() -> impl Iterator<Item = (Shape, SequencePadding)> {
    SHAPES.into_iter().flat_map(|shape| PADDINGS.map(|padding| (shape, padding)))
}

/// A fresh layer of one of [`SHAPES`].
fn layer(
    (features, hidden, frames, block, _): Shape,
    padding: SequencePadding,
    pairs: PairSource,
) -> TrainingLayer {
    scff::blas::use_one_thread_per_call();
    let input = MapShape { height: frames, width: 1, channels: features };
    let map = LayerMap::BiRnn(BiRnn { input, hidden, padding, summary: Summary::Thirds });
    let spec = LayerSpec {
        name: "layer".into(),
        map,
        pairs,
        transmit: Transmit::Standardized,
        pool: None,
        readout_pool: None,
        block,
    };
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    TrainingLayer::new(spec, HYPERPARAMETERS, &LayerState::initial(&map, &mut random)).unwrap()
}

fn batch(salt: u64, shape: Shape) -> PairedSequences {
    PairedSequences::make(sequences(salt, shape), false, &[1 + salt as usize % 3, 5])
}

/// As many samples as the shape has.
fn sequences(salt: u64, (features, _, frames, _, count): Shape) -> Sequences {
    let mut random = Seed(salt).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
    let lengths: Vec<usize> = (0..count).map(|_| 1 + below(&mut random, frames as u32) as usize).collect();
    let shape = (lengths.iter().sum(), features);
    Sequences::new(Array2::from_shape_simple_fn(shape, || symmetric(&mut random, 1.0)), lengths)
}

fn one(sequences: &Sequences, index: usize) -> Sequences {
    Sequences::new(sequences.sequence(index).to_owned(), [sequences.length(index)])
}

fn joined(parts: &[Sequences]) -> Sequences {
    let frames: Vec<_> = parts.iter().map(Sequences::frames).collect();
    Sequences::new(concatenate(Axis(0), &frames).unwrap(), parts.iter().flat_map(Sequences::lengths))
}
