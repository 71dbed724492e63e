//! Layers that train at the same time, one upon the other.

use std::collections::HashSet;

use ndarray::Array2;
use proto::rows::Precision;
use proto::wire;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use scff::batch::Batch;
use scff::samples::Samples;
use scff::train::{PassOn, TrainingLayer, TrainingStage};
use tonic::Code;

use crate::client::{Client, Training, server};
use crate::fixture::{BATCH, SHIFTS, Stage, WIDTHS, initial, report_message, spec, state_of};

const STEPS: u64 = 4;
const PAIRS: usize = BATCH * (1 + SHIFTS.len());

/// Layer 0, which passes on all pairs, or layer 1, which takes them.
async fn ready(client: &mut Client, layer: u32, attempt: u64) -> Training {
    let state = proto::state::encode_state(&initial(&spec(layer), layer), proto::state::Header::new());
    let stage = Stage { layer, cut_point: layer, spec: spec(layer), state, attempt, ..Stage::plain() };
    let (live, pass_on) = match layer {
        0 => (false, wire::PassOn::Pairs),
        _ => (true, wire::PassOn::Nothing),
    };
    let begin = wire::TrainBegin { live, pass_on: pass_on.into(), kept_bytes: 0, ..stage.begin() };
    let mut training = Training::open(client).await;
    training.send(Request::Begin(begin)).await;
    training.send(Request::State(stage.state.into())).await;
    assert_eq!(training.reply().await.unwrap(), Some(Reply::Ready(wire::Ready {})));
    training
}

fn batch_message(batch: Batch) -> Request {
    Request::Batch((&proto::batch::ArrivingBatch { batch, arriving: Vec::new() }).into())
}

#[tokio::test]
async fn a_layer_trains_on_what_the_one_below_passes_on() {
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage { kept_rows: 0, ..Stage::plain() };
    let mut below = ready(&mut client, 0, 1).await;
    let mut above = ready(&mut client, 1, 1).await;
    let [mut direct_below, mut direct_above] = [0, 1].map(|layer| {
        let state = initial(&spec(layer), layer);
        TrainingStage::new(vec![], TrainingLayer::new(spec(layer), Stage::hyperparameters(), &state).unwrap())
    });
    for step in 0..STEPS {
        below.send_all(stage.step_requests(step, &mut HashSet::new())).await;
        let report = below.report().await;
        let mut rows = Vec::new();
        while rows.iter().map(|rows: &wire::Rows| rows.rows as usize).sum::<usize>() < PAIRS {
            let Some(Reply::PassedOn(part)) = below.reply().await.unwrap() else { panic!("no rows") };
            let before: usize = rows.iter().map(|rows| rows.rows as usize).sum();
            let message = part.rows.expect("rows");
            let pairs = before as u32..before as u32 + message.rows;
            assert_eq!((part.step, part.first_sample, part.pairs), (step, 0, pairs.collect()));
            rows.push(message);
        }
        let batch = stage.batch(step);
        let mut samples = Array2::zeros((BATCH, WIDTHS[0]));
        for (mut row, key) in samples.outer_iter_mut().zip(batch.rows()) {
            Precision::F32.decode(&stage.row(key), row.as_slice_mut().unwrap());
        }
        let (expected, passed_on) =
            direct_below.step_and_pass_on(samples, false, &batch.shifts, PassOn::Pairs);
        assert_eq!(report, report_message(&expected));
        let mut arrived = Array2::zeros((PAIRS, WIDTHS[1]));
        let payload: Vec<u8> = rows.iter().flat_map(|rows| rows.payload.to_vec()).collect();
        Precision::F32.decode(&payload, arrived.as_slice_mut().unwrap());
        assert_eq!(Samples::from(arrived), passed_on);

        let expected = direct_above.step(passed_on, false, &batch.shifts);
        above.send(batch_message(batch)).await;
        above.send_all(rows.into_iter().map(Request::Rows)).await;
        assert_eq!(above.report().await, report_message(&expected));
    }
    for (mut training, direct) in [(below, direct_below), (above, direct_above)] {
        let state = state_of(&training.checkpoint().await);
        assert_eq!(state, direct.layer().state());
        training.finish().await;
    }
}

#[tokio::test]
async fn another_attempt_takes_over_from_all_layers_of_the_one_before() {
    let server = server().await;
    let mut client = server.client().await;
    let below = ready(&mut client, 0, 1).await;
    let above = ready(&mut client, 1, 1).await;
    let again = ready(&mut client, 1, 2).await;
    for before in [below, above] {
        let refusal = before.refusal().await;
        assert_eq!(refusal.code(), Code::Aborted, "{refusal}");
    }
    again.finish().await;
}
