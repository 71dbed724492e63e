//! The engine against PyTorch: every golden tensor of the dense layers and of the readout.

use std::sync::Arc;

use ndarray::{Array2, Axis, concatenate};
use scff::batch::{Epoch, Step};
use scff::frozen::{FrozenLayer, features};
use scff::layer::{Dense, LayerMap, LayerSpec, PairSource, Tensors, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::pair::PairedRows;
use scff::readout::{Readout, halvings};

use crate::fixture::Fixture;

#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/golden.rs"]
mod golden;

#[test]
fn dense_one_view_matches_pytorch() {
    check_first_layer("dense_one_view", false);
}

#[test]
fn dense_two_views_matches_pytorch() {
    check_first_layer("dense_two_views", true);
}

#[test]
fn samples_without_variance_match_pytorch() {
    check_first_layer("dense_zero_variance", false);
}

/// One view and two equal views are the same pairs by different roads.
#[test]
fn two_equal_views_match_pytorch_too() {
    let fixture = Fixture::open("dense_one_view");
    let spec = spec(&fixture, "W", PairSource::Makes);
    check_training(&fixture, &spec, ("W", "b"), &pairs(&fixture, true));
}

#[test]
fn a_second_layer_of_algorithm_1_matches_pytorch() {
    let fixture = Fixture::open("dense_alg1_layer2");
    let first = frozen(&fixture, ("W1", "b1"), PairSource::Makes, Transmit::Triangle, 1.0);
    let between = first.transform_pairs(&pairs(&fixture, false));
    fixture.check("l1_act_pos", between.positive());
    fixture.check("l1_act_neg", between.negative());

    let input = PairedRows::take(between, &spec(&fixture, "W2", PairSource::Takes).map);
    let (positive, negative) = input.rows().split_at(Axis(0), input.positives());
    fixture.check("l2_in_norm_pos", positive);
    fixture.check("l2_in_norm_neg", negative);
    check_outputs(&fixture, ("W2", "b2"), PairSource::Takes, &input);

    let second = frozen(&fixture, ("W2", "b2"), PairSource::Takes, Transmit::Triangle, 1.0);
    let layers = [Arc::new(first), Arc::new(second)];
    fixture.check("features", &features(&layers, &[true, true], fixture.matrix("in.x1").view()));

    check_training(&fixture, &spec(&fixture, "W2", PairSource::Takes), ("W2", "b2"), &input);
    fixture.assert_complete(|_| true);
}

#[test]
fn readout_matches_pytorch() {
    let fixture = Fixture::open("readout");
    check_readout(&fixture, "", &fixture.matrix("in.x"));
    fixture.assert_complete(|name| !name.contains("drop.") && !name.contains("grad."));
}

#[test]
fn readout_with_dropout_matches_pytorch() {
    let fixture = Fixture::open("readout");
    let kept = 1.0 - fixture.number("hp.dropout_p") as f32;
    check_readout(&fixture, "drop.", &(fixture.matrix("in.x") * fixture.matrix("in.keep_mask") / kept));
    fixture.assert_complete(|name| name.contains("drop.") && !name.contains("grad."));
}

#[test]
fn the_step_schedule_matches_pytorch() {
    let fixture = Fixture::open("readout");
    // The paper's learning rate, gamma and period of each layer.
    for (name, learning_rate, gamma, period) in
        [("mnist_l1", 0.003, 0.9, 1000), ("cifar_l1", 0.01, 0.7, 1000), ("cifar_l2", 0.002, 0.8, 100)]
    {
        let optimizer = OptimizerParameters { learning_rate, weight_decay: 0.0, gamma, period };
        let batches = fixture.values(&format!("lr.exp.{name}.batch"));
        for (batch, expected) in batches.into_iter().zip(fixture.values(&format!("lr.exp.{name}.lr"))) {
            let found = optimizer.learning_rate(Step(batch as u64 - 1));
            assert!((found / expected - 1.0).abs() < 1e-12, "{name}, batch {batch}: {found}, not {expected}");
        }
    }
}

#[test]
fn the_halving_schedule_matches_pytorch() {
    let fixture = Fixture::open("readout");
    for (epochs, initial) in [(100, 1e-3), (50, 1e-3), (10, 5e-4)] {
        let expected = fixture.values(&format!("lr.halving.{epochs}_epochs"));
        for (epoch, expected) in (0..epochs).zip(expected) {
            let found = initial / f64::from(1 << halvings(Epoch(epoch), epochs));
            assert!((found / expected - 1.0).abs() < 1e-12, "epoch {epoch} of {epochs}: {found}");
        }
    }
}

fn check_first_layer(file: &str, two_views: bool) {
    let fixture = Fixture::open(file);
    let input = pairs(&fixture, two_views);
    check_pairs(&fixture, two_views, &input);
    check_outputs(&fixture, ("W", "b"), PairSource::Makes, &input);
    let activations = frozen(&fixture, ("W", "b"), PairSource::Makes, Transmit::Triangle, 1.0);
    let activations = activations.transform_pairs(&input);
    fixture.check("act_pos", activations.positive());
    fixture.check("act_neg", activations.negative());
    check_training(&fixture, &spec(&fixture, "W", PairSource::Makes), ("W", "b"), &input);
    fixture.assert_complete(|_| true);
}

/// The standardised rows, and the standardised concatenations that the pairs stand for.
fn check_pairs(fixture: &Fixture, two_views: bool, input: &PairedRows) {
    let rows = input.rows();
    fixture.check("x1_std", rows.slice(ndarray::s![..input.positives(), ..]));
    if two_views {
        fixture.check("x2_std", rows.slice(ndarray::s![input.positives().., ..]));
    }
    let (positive, negative) = input.pairs().split_at(input.positives());
    for (kind, pairs) in [("pos", positive), ("neg", negative)] {
        let deviations = pairs.iter().map(|pair| 1.0 / f64::from(pair.scale));
        fixture.check_values(&format!("cat_std_{kind}"), deviations, None);
        let means = pairs.iter().map(|pair| f64::from(pair.offset) / f64::from(pair.scale) / 2.0);
        // The mean of standardised samples is 0 up to rounding.
        fixture.check_values(&format!("cat_mean_{kind}"), means, Some(1e-6));
        let concatenations: Vec<f32> = pairs
            .iter()
            .flat_map(|pair| {
                let halves = [pair.first, pair.second.expect("two halves")];
                halves.map(|half| rows.row(half).mapv(|x| pair.scale * x - pair.offset / 2.0))
            })
            .flatten()
            .collect();
        fixture.check(&format!("cat_{kind}_norm"), &concatenations);
    }
}

/// z = relu(z) - relu(-z), and -z is what the negated weights give.
fn check_outputs(fixture: &Fixture, names: (&str, &str), source: PairSource, input: &PairedRows) {
    let relu = |sign| frozen(fixture, names, source, Transmit::Relu, sign).transform_pairs(input);
    let (above, below) = (relu(1.0), relu(-1.0));
    fixture.check("z_pos", &(&above.positive() - &below.positive()));
    fixture.check("z_neg", &(&above.negative() - &below.negative()));
}

fn check_training(fixture: &Fixture, spec: &LayerSpec, names: (&str, &str), input: &PairedRows) {
    golden::check_training(fixture, spec, parameters(fixture, names, 1.0), input, |prefix, found| {
        check_tensors(fixture, prefix, names, found);
    });
}

fn check_tensors(fixture: &Fixture, prefix: &str, names: (&str, &str), found: &Tensors) {
    fixture.check(&format!("{prefix}{}", names.0), found.weight());
    fixture.check(&format!("{prefix}{}", names.1), found.bias());
}

fn check_readout(fixture: &Fixture, prefix: &str, inputs: &Array2<f32>) {
    let mut readout = Readout::from_parameters(&parameters(fixture, ("W", "b"), 1.0));
    let labels: Vec<u32> = fixture.values("in.labels").into_iter().map(|label| label as u32).collect();
    fixture.check(&format!("{prefix}logits"), &readout.logits(inputs.view()));
    let losses: Vec<f64> = (1..=5)
        .map(|step| {
            let loss = readout.step(&labels, fixture.number("hp.lr"), |range, out| {
                out.assign(&inputs.slice_axis(Axis(1), range.slice()));
            });
            if step == 1 || step == 5 {
                check_tensors(fixture, &format!("{prefix}step{step}."), ("W", "b"), &readout.parameters());
            }
            loss
        })
        .collect();
    fixture.check_values(&format!("{prefix}loss"), [losses[0]], None);
    fixture.check_values(&format!("{prefix}losses5"), losses, None);
}

fn pairs(fixture: &Fixture, two_views: bool) -> PairedRows {
    let first = fixture.matrix("in.x1");
    let shift = fixture.number("hp.shift_k") as usize;
    let map = LayerMap::Dense(Dense { inputs: first.ncols(), outputs: 1 });
    if !two_views {
        return PairedRows::make(first, &map, false, &[shift]);
    }
    let rows = concatenate(Axis(0), &[first.view(), fixture.matrix("in.x2").view()]).unwrap();
    PairedRows::make(rows, &map, true, &[shift])
}

/// `sign` -1 negates weights and biases.
fn parameters(fixture: &Fixture, names: (&str, &str), sign: f32) -> Tensors {
    Tensors::linear(
        fixture.matrix(&format!("in.{}", names.0)) * sign,
        fixture.vector(&format!("in.{}", names.1)) * sign,
    )
}

/// Blocks of 5 channels, which do not divide 12 units.
fn spec(fixture: &Fixture, weight: &str, pairs: PairSource) -> LayerSpec {
    let (outputs, inputs) = fixture.matrix(&format!("in.{weight}")).dim();
    let map = LayerMap::Dense(Dense { inputs, outputs });
    LayerSpec {
        name: "dense".into(),
        map,
        pairs,
        transmit: Transmit::Triangle,
        pool: None,
        readout_pool: None,
        block: 5,
    }
}

fn frozen(
    fixture: &Fixture,
    names: (&str, &str),
    source: PairSource,
    transmit: Transmit,
    sign: f32,
) -> FrozenLayer {
    let spec = LayerSpec { transmit, ..spec(fixture, names.0, source) };
    FrozenLayer::new(spec, parameters(fixture, names, sign)).unwrap()
}
