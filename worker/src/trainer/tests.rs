//! What trainers come to, alone and in groups.

mod setting;

use std::collections::VecDeque;

use scff::layer::{Conv, LayerMap, MapShape, Tensors};

use super::*;
use setting::{BIRNN, CONV, DENSE, GRID, Owned, Setting, TALL, carry, tell};

const THREE: &[Owned] = &[[8, 12, 0, 5], [4, 8, 0, 5], [0, 4, 0, 5]];
const SQUARE: &[Owned] = &[[0, 4, 0, 2], [4, 8, 0, 2], [0, 4, 2, 5], [4, 8, 2, 5]];

#[test]
fn a_group_comes_to_the_weights_of_one_alone() {
    for (setting, group) in [
        (DENSE, THREE),
        (DENSE, &[[0, 4, 0, 5], [4, 12, 0, 5]]),
        (CONV, &[[0, 4, 16, 32], [0, 4, 0, 8], [0, 4, 8, 16]]),
        (TALL, &[[0, 1, 0, 40], [1, 2, 0, 40]]),
        (BIRNN, &[[0, 5, 0, 5], [5, 10, 0, 5]]),
        (GRID, SQUARE),
    ] {
        let (state, reports) = setting.train(&[], 4).unwrap();
        assert_eq!((state.step, reports.len()), (Step(4), 4));
        assert_eq!(setting.train(group, 4).unwrap(), (state, reports), "{group:?}");
    }
}

#[test]
fn a_group_that_prepares_batches_ahead_comes_to_the_same() {
    // Taking pairs of many channels, a layer has more numbers of a gradient than of goodness.
    let LayerMap::Conv(conv) = GRID.map else { unreachable!("as it was made") };
    let input = MapShape { channels: 64, ..conv.input };
    let many_weights = Setting { map: LayerMap::Conv(Conv { input, ..conv }), ..GRID };
    let (goodness, gradient) = (wire::Round::Goodness, wire::Round::Gradient);
    for (setting, group, round) in [
        (DENSE, THREE, goodness),
        (CONV, &[[0, 4, 16, 32], [0, 4, 0, 8], [0, 4, 8, 16]], gradient),
        (BIRNN, &[[0, 5, 0, 5], [5, 10, 0, 5]], goodness),
        (GRID, SQUARE, goodness),
        (many_weights, SQUARE, gradient),
    ] {
        let (state, mut reports) = setting.train(group, 4).unwrap();
        let ((ahead, reports_ahead), prepared) = setting.train_ahead(group, 4);
        assert_eq!(prepared, vec![round; 3 * group.len()], "{group:?}");
        assert_eq!(ahead, state, "{group:?}");
        // Of batches that are there nobody waits for any but the first.
        reports[1..].iter_mut().for_each(|report| report.waiting_seconds = 0.0);
        assert_eq!(reports_ahead, reports, "{group:?}");
    }
    let (_, prepared) = DENSE.train_ahead(&[], 4);
    assert_eq!(prepared, [], "who is alone waits for nobody");
}

#[test]
fn what_is_wrong_with_the_next_batch_is_said_once_the_step_before_has_ended() {
    let mut trainers = DENSE.group(THREE);
    let mut told: Vec<VecDeque<_>> =
        trainers.iter().map(|_| VecDeque::from([DENSE.batch(0), DENSE.batch(1)])).collect();
    // The activations of the second batch are not there.
    let Some(Instruction::Step(batch)) = told[0].back_mut() else { panic!("a batch") };
    batch.message.arriving.clear();
    let mut replies = Vec::new();
    let refusal = carry(&mut trainers, told, &mut replies).unwrap_err().to_string();
    assert!(refusal.starts_with("batch.arriving: found no "), "{refusal}");
    assert!(matches!(replies[..], [Reply::Step(wire::StepReport { step: 0, .. })]), "{replies:?}");
}

#[test]
fn what_is_out_of_turn_is_refused_with_what_was_expected() {
    let slice = |step| wire::Slice { step, ..wire::Slice::default() };
    let refusal = |place: usize, events: Vec<Event>| {
        let mut trainer = DENSE.group(THREE).remove(place);
        let mut results = events.into_iter().map(|event| trainer.handle(event, Duration::ZERO));
        results.find_map(Result::err).expect("one of them is refused").to_string()
    };
    let step = |step| Event::Told(DENSE.batch(step));
    let idle = "expected `batch` or `checkpoint`";
    assert_eq!(refusal(0, vec![Event::Slice(1, slice(0))]), format!("request: found a `slice`, {idle}"));
    assert_eq!(refusal(0, vec![step(1)]), "batch.step: found 1, expected 0");
    let exchanging = "expected a `slice` of another member of the group";
    // One batch can be prepared meanwhile.
    assert_eq!(refusal(1, vec![step(0), step(1), step(2)]), format!("request: found `batch`, {exchanging}"));
    let early = refusal(2, vec![step(0), Event::Told(Instruction::Checkpoint)]);
    assert_eq!(early, format!("request: found `checkpoint`, {exchanging}"));
    // The member with the highest channels begins with that of the lowest.
    assert_eq!(
        refusal(0, vec![step(0), Event::Slice(1, slice(0))]),
        format!("request: found a `slice`, {exchanging}")
    );
    assert_eq!(
        refusal(0, vec![step(0), Event::Slice(2, slice(1))]),
        "worker a:2, which shares the layer: slice.step: found 1, expected 0"
    );
}

#[test]
fn training_that_diverges_stops_at_that_step_and_says_what_to_try() {
    for (setting, group, what) in [
        (DENSE, THREE, "goodness"),
        (CONV, &[[0, 4, 16, 32], [0, 4, 8, 16], [0, 4, 0, 8]], "a gradient or the loss"),
    ] {
        let setting = Setting { learning_rate: 1e20, ..setting };
        setting.train(&[], 1).unwrap();
        let said = setting.train(&[], 2).unwrap_err().to_string();
        let expected = format!(
            "layer 0 (`layer`): {what} is not finite any more in step 1, at a learning rate of 7.00e19: try a lower \
             layers.0.lr"
        );
        assert!(said.starts_with(&expected), "{said}");
        assert_eq!(setting.train(group, 2).unwrap_err().to_string(), said);
    }
}

#[test]
fn weights_that_are_not_finite_are_seen_in_the_step_that_makes_them() {
    for (setting, group) in
        [(DENSE, THREE), (CONV, &[[0, 4, 16, 32], [0, 4, 0, 16]]), (BIRNN, &[[0, 5, 0, 5], [5, 10, 0, 5]])]
    {
        let setting = Setting { learning_rate: 1e39, ..setting };
        for group in [&[], group] {
            let said = setting.train(group, 1).unwrap_err().to_string();
            assert!(
                said.starts_with("layer 0 (`layer`): a weight is not finite any more in step 0"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_state_that_is_not_finite_stays_where_it_is() {
    let mut state = DENSE.state();
    let mut moments = state.second_moments.weight().to_owned();
    moments[(3, 1)] = f32::INFINITY;
    state.second_moments = Tensors::linear(moments, state.second_moments.bias().to_owned());
    let mut trainer = DENSE.trainer(&[], 0, &state);
    trainer.handle(Event::Told(DENSE.batch(0)), Duration::ZERO).unwrap();
    let refusal = trainer.handle(Event::Told(Instruction::Checkpoint), Duration::ZERO).unwrap_err();
    assert!(refusal.to_string().starts_with("layer 0 (`layer`): its state is not finite any more in step 0"));
}

#[test]
fn time_is_what_the_clock_says() {
    let mut trainers = DENSE.group(&[]);
    for step in 0..2 {
        let replies = tell(&mut trainers, || DENSE.batch(step)).unwrap();
        assert!(matches!(&replies[..], [Reply::Step(report)] if (report.waiting_seconds - 3.0).abs() < 1e-9));
    }
    let replies = tell(&mut trainers, || Instruction::Checkpoint).unwrap();
    let [Reply::State(part)] = &replies[..] else { panic!("one part") };
    // A millisecond for each step, in three parts.
    assert!((part.part_seconds - 0.001 / 3.0).abs() < 1e-9, "{}", part.part_seconds);
}
