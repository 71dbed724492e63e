//! Five training steps against PyTorch's.

use ndarray::Axis;
use scff::batch::Step;
use scff::goodness::{Goodness, Loss, LossParameters};
use scff::layer::{LayerSpec, LayerState, Tensor, Tensors};
use scff::optimizer::OptimizerParameters;
use scff::pair_order::PairOrder;
use scff::train::{Hyperparameters, Paired, Round, Sharing, TrainingLayer};

use crate::fixture::Fixture;

/// Goodness, loss, gradients and five steps from `parameters`. `check` compares tensors with the golden ones whose names
/// begin with a prefix.
pub fn check_training<'a>(
    fixture: &Fixture,
    spec: &LayerSpec,
    parameters: Tensors,
    input: impl Into<Paired<'a>>,
    check: impl Fn(&str, &Tensors),
) {
    let input = input.into();
    let hp = |name: &str| fixture.number(&format!("hp.{name}"));
    let loss = LossParameters {
        theta_pos: hp("th1") as f32,
        theta_neg: hp("th2") as f32,
        lambda: hp("lambda_") as f32,
    };
    let optimizer = OptimizerParameters {
        learning_rate: hp("lr"),
        weight_decay: hp("weight_decay"),
        gamma: 1.0,
        period: 1,
    };
    let state = LayerState {
        step: Step(0),
        parameters,
        first_moments: Tensors::zeros(&spec.map.tensors()),
        second_moments: Tensors::zeros(&spec.map.tensors()),
    };
    let ways = [Sharing::Channels, Sharing::Samples, Sharing::Grid].into_iter();
    for sharing in ways.filter(|sharing| sharing.suits(spec)) {
        let hyperparameters = Hyperparameters { loss, optimizer, sharing };
        let layer = TrainingLayer::new(spec.clone(), hyperparameters, &state).unwrap();
        match input {
            Paired::Rows(input) if sharing == Sharing::Grid => {
                let (batch, negatives) = (input.positives(), input.pairs().len() / input.positives() - 1);
                let parts = sharing.sample_parts(spec, batch);
                let order = PairOrder::neighbouring(batch, &vec![1; negatives], &parts);
                check_steps(fixture, layer, (&input.clone().in_order(order)).into(), &check);
            }
            input => check_steps(fixture, layer, input, &check),
        }
    }
}

fn check_steps(
    fixture: &Fixture,
    mut layer: TrainingLayer,
    input: Paired<'_>,
    check: &impl Fn(&str, &Tensors),
) {
    let partial = layer.begin_step(input);
    if partial.round == Round::Goodness {
        let (order, positives) = match input {
            Paired::Rows(input) => (input.order().positives_first(), input.positives()),
            Paired::Sequences(input) => ((0..input.pairs().len()).collect(), input.positives()),
        };
        let goodness = Goodness::of_sums(partial.total().numbers, layer.spec().map.channels(), order.len());
        let goodness = goodness.0.select(Axis(0), &order);
        let (positive, negative) = goodness.view().split_at(Axis(0), positives);
        fixture.check("g_pos", positive);
        fixture.check("g_neg", negative);
    }

    let mut losses = Vec::new();
    for step in 1..=5 {
        losses.push(layer.step(input).loss);
        let state = layer.state();
        if step == 1 {
            // m = .1 G
            let gradient = |moment: &Tensor| Tensor { values: &moment.values * 10.0, ..*moment };
            check("grad.", &state.first_moments.iter().map(gradient).collect());
        }
        if step == 1 || step == 5 {
            check(&format!("step{step}."), &state.parameters);
        }
    }
    let state = layer.state();
    check("step5.exp_avg.", &state.first_moments);
    check("step5.exp_avg_sq.", &state.second_moments);

    // PyTorch's own f32 is off by 1.6e-5 where a term of the loss is near 0.
    let near_zero = Some(1e-5 * losses[0].total());
    fixture.check_values("loss", [losses[0].total()], None);
    fixture.check_values("loss_pos", [losses[0].positive], near_zero);
    fixture.check_values("loss_neg", [losses[0].negative], near_zero);
    fixture.check_values("loss_pen", [losses[0].penalty], near_zero);
    fixture.check_values("losses5", losses.iter().map(Loss::total), None);
}
