//! The engine against PyTorch: every golden tensor of the recurrent layer.

use ndarray::{Array2, Axis, concatenate, s};
use scff::frozen::{FrozenLayer, features};
use scff::layer::{
    BiRnn, LayerMap, LayerSpec, MapShape, PairSource, SequencePadding, Summary, Tensors, Transmit,
};
use scff::sequence_pair::PairedSequences;
use scff::sequences::Sequences;

use crate::fixture::Fixture;

#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/golden.rs"]
mod golden;

const FRAMES: usize = 7;
const FEATURES: usize = 5;
const HIDDEN: usize = 6;
/// PyTorch's names of the directions and of their tensors, in the order of ours.
const DIRECTIONS: [&str; 2] = ["rnn_f", "rnn_b"];
const TENSORS: [&str; 4] = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];

#[test]
fn training_matches_pytorch_with_and_without_padding() {
    // All sequences are of one length, so padding makes no difference.
    for padding in [SequencePadding::Masked, SequencePadding::Counts] {
        // Blocks that do not divide the units.
        for block in [4, 6, 100] {
            let fixture = Fixture::open("birnn");
            let input = PairedSequences::make(sequences(&fixture), false, &[shift(&fixture)]);
            let spec = spec(padding, block);
            golden::check_training(&fixture, &spec, parameters(&fixture), &input, |prefix, found| {
                check_tensors(&fixture, prefix, found);
            });
            fixture.assert_complete(|name| {
                !["embedded", "hidden", "last"].iter().any(|other| name.contains(other))
            });
        }
    }
}

#[test]
fn the_input_of_a_pair_is_the_sum_of_its_halves() {
    let fixture = Fixture::open("birnn");
    let input = PairedSequences::make(sequences(&fixture), false, &[shift(&fixture)]);
    let sums = input.pairs().iter().map(|pair| {
        let second = pair.second.expect("two halves");
        &input.sequences().sequence(pair.first) + &input.sequences().sequence(second)
    });
    let sums: Vec<Array2<f32>> = sums.collect();
    let (positive, negative) = sums.split_at(input.positives());
    fixture.check("embedded_pos", positive.iter().flatten());
    fixture.check("embedded_neg", negative.iter().flatten());
}

#[test]
fn the_last_states_match_pytorch_of_pairs_and_as_the_readout_s_features() {
    let fixture = Fixture::open("birnn");
    let layer = FrozenLayer::new(spec(SequencePadding::Counts, 4), parameters(&fixture)).unwrap();
    let input = PairedSequences::make(sequences(&fixture), false, &[shift(&fixture)]);
    let passed_on = layer.transform_sequence_pairs(&input);
    let last = |pair| {
        let states = passed_on.sequences.sequence(pair);
        let (forward, backward) = (states.slice(s![FRAMES - 1, ..HIDDEN]), states.slice(s![0, HIDDEN..]));
        concatenate(Axis(0), &[forward, backward]).unwrap()
    };
    let positives = passed_on.positives;
    fixture.check("last_pos", (0..positives).flat_map(last).collect::<Vec<_>>().iter());
    fixture.check("last_neg", (positives..2 * positives).flat_map(last).collect::<Vec<_>>().iter());
    // A sample alone is the pair of itself and itself.
    fixture.check("last_pos", &features(&[layer.into()], &[true], sequences(&fixture)));
}

fn sequences(fixture: &Fixture) -> Sequences {
    let numbers = fixture.vector("in.x");
    let count = numbers.len() / FRAMES / FEATURES;
    let frames = numbers.into_shape_with_order((count * FRAMES, FEATURES)).unwrap();
    Sequences::new(frames, vec![FRAMES; count])
}

fn shift(fixture: &Fixture) -> usize {
    fixture.number("hp.shift_k") as usize
}

fn spec(padding: SequencePadding, block: usize) -> LayerSpec {
    let input = MapShape { height: FRAMES, width: 1, channels: FEATURES };
    LayerSpec {
        name: "birnn".into(),
        map: LayerMap::BiRnn(BiRnn { input, hidden: HIDDEN, padding, summary: Summary::Last }),
        pairs: PairSource::Makes,
        transmit: Transmit::Standardized,
        pool: None,
        readout_pool: None,
        block,
    }
}

fn parameters(fixture: &Fixture) -> Tensors {
    let specs = spec(SequencePadding::Masked, 1).map.tensors();
    let tensor = |(spec, name): (&scff::layer::TensorSpec, &str)| {
        let parts = DIRECTIONS.map(|direction| fixture.vector(&format!("in.{direction}.{name}")));
        let values = concatenate(Axis(0), &parts.each_ref().map(|part| part.view())).unwrap();
        spec.of(values.into_shape_with_order(spec.shape.as_slice()).unwrap())
    };
    specs.iter().zip(TENSORS).map(tensor).collect()
}

fn check_tensors(fixture: &Fixture, prefix: &str, found: &Tensors) {
    for (tensor, name) in found.iter().zip(TENSORS) {
        let (forward, backward) = tensor.values.view().split_at(Axis(0), HIDDEN);
        for (direction, values) in DIRECTIONS.iter().zip([forward, backward]) {
            fixture.check(&format!("{prefix}{direction}.{name}"), values.iter());
        }
    }
}
