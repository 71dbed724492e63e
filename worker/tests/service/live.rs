//! Layers that train at the same time, one upon the other. A test is at times who trains the lower one, and does not always mean well.

use std::collections::HashSet;

use ndarray::Array2;
use proto::limits::STEPS_AHEAD;
use proto::rows::Precision;
use proto::wire;
use proto::wire::feed_request;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use scff::batch::Batch;
use scff::train::{PassOn, TrainingLayer, TrainingStage};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status};

use crate::client::{Client, Server, Training, assert_serves, server, server_of, soon};
use crate::fixture::{BATCH, SHIFTS, Stage, WIDTHS, initial, report_message, spec, state_of, values};

const STEPS: u64 = 6;
const PAIRS: usize = BATCH * (1 + SHIFTS.len());
/// The number that the test describes itself with.
const OWN: u64 = 77;

/// Layer 0, which passes on all pairs, or layer 1, which takes them.
async fn ready(client: &mut Client, layer: u32, attempt: u64, others: Others) -> Training {
    let state = proto::state::encode_state(&initial(&spec(layer), layer), proto::state::Header::new());
    let stage = Stage { layer, cut_point: layer, spec: spec(layer), state, attempt, ..Stage::plain() };
    let (live, pass_on) = match layer {
        0 => (false, wire::PassOn::Pairs),
        _ => (true, wire::PassOn::Nothing),
    };
    let Others { feeders, takers } = others;
    let begin =
        wire::TrainBegin { live, pass_on: pass_on.into(), kept_bytes: 0, feeders, takers, ..stage.begin() };
    let mut training = Training::open(client).await;
    training.send(Request::Begin(begin)).await;
    training.send(Request::State(stage.state.into())).await;
    assert_eq!(training.reply().await.unwrap(), Some(Reply::Ready(wire::Ready {})));
    training
}

/// Who trains the layers below and above.
#[derive(Default)]
struct Others {
    feeders: Option<wire::Feeders>,
    takers: Option<wire::Takers>,
}

fn fed_by(worker: wire::Shard) -> Others {
    let (rows, way) = (PAIRS as u64, wire::Way::All.into());
    Others { feeders: Some(wire::Feeders { workers: vec![worker], way, rows, step: 0 }), takers: None }
}

fn feeding(worker: wire::Shard) -> Others {
    let way = wire::Way::All.into();
    Others { feeders: None, takers: Some(wire::Takers { layer: 1, workers: vec![worker], way }) }
}

fn worker(address: &str, identity: u64) -> wire::Shard {
    wire::Shard { address: address.to_owned(), identity, end_sample: BATCH as u64, ..wire::Shard::default() }
}

async fn identity(server: &Server) -> u64 {
    soon(server.client().await.describe(wire::DescribeRequest {})).await.unwrap().into_inner().identity
}

fn batch_message(batch: Batch) -> Request {
    Request::Batch((&proto::batch::ArrivingBatch { batch, arriving: Vec::new() }).into())
}

/// Trains layer 0 on one worker, and layer 1 upon it on another or the same.
async fn check(servers: [&Server; 2]) {
    let stage = Stage { kept_rows: 0, ..Stage::plain() };
    let mut workers = Vec::new();
    for server in servers {
        workers.push(worker(&server.address.to_string(), identity(server).await));
    }
    let mut below = ready(&mut servers[0].client().await, 0, 1, feeding(workers[1].clone())).await;
    let mut above = ready(&mut servers[1].client().await, 1, 1, fed_by(workers[0].clone())).await;
    let [mut direct_below, mut direct_above] = [0, 1].map(|layer| {
        let state = initial(&spec(layer), layer);
        TrainingStage::new(vec![], TrainingLayer::new(spec(layer), Stage::hyperparameters(), &state).unwrap())
    });
    let mut expected_above = Vec::new();
    for step in 0..STEPS {
        below.send_all(stage.step_requests(step, &mut HashSet::new())).await;
        let batch = stage.batch(step);
        let mut samples = Array2::zeros((BATCH, WIDTHS[0]));
        for (mut row, key) in samples.outer_iter_mut().zip(batch.rows()) {
            Precision::F32.decode(&stage.row(key), row.as_slice_mut().unwrap());
        }
        let (expected, passed_on) =
            direct_below.step_and_pass_on(samples, false, &batch.shifts, PassOn::Pairs);
        assert_eq!(below.report().await, report_message(&expected));
        expected_above.push(report_message(&direct_above.step(passed_on, false, &batch.shifts)));
        // The lower layer is two steps ahead, and done before the upper one.
        if step >= 2 {
            above.send(batch_message(stage.batch(step - 2))).await;
            assert_eq!(above.report().await, expected_above[step as usize - 2]);
        }
    }
    assert_eq!(state_of(&below.checkpoint().await), direct_below.layer().state());
    below.finish().await;
    for step in STEPS - 2..STEPS {
        above.send(batch_message(stage.batch(step))).await;
        assert_eq!(above.report().await, expected_above[step as usize]);
    }
    assert_eq!(state_of(&above.checkpoint().await), direct_above.layer().state());
    above.finish().await;
}

#[tokio::test]
async fn a_layer_trains_on_what_the_one_below_passes_on() {
    let (one, other) = (server().await, server().await);
    check([&one, &other]).await;
    check([&one, &one]).await;
    assert_serves(&one).await;
}

#[tokio::test]
async fn another_attempt_takes_over_from_all_layers_of_the_one_before() {
    let server = server().await;
    let mut client = server.client().await;
    let below = ready(&mut client, 0, 1, Others::default()).await;
    let above = ready(&mut client, 1, 1, Others::default()).await;
    let again = ready(&mut client, 1, 2, Others::default()).await;
    for before in [below, above] {
        let refusal = before.refusal().await;
        assert_eq!(refusal.code(), Code::Aborted, "{refusal}");
    }
    again.finish().await;
}

/// The test's stream to a worker, whose layer it feeds.
struct Feeder {
    parts: mpsc::Sender<wire::FeedRequest>,
    answer: JoinHandle<Result<Response<wire::FeedReply>, Status>>,
}

impl Feeder {
    async fn new(server: &Server, to: u64) -> Self {
        let (parts, outgoing) = mpsc::channel(64);
        let mut client = server.client().await;
        let answer = tokio::spawn(async move { client.feed(ReceiverStream::new(outgoing)).await });
        let feeder = Self { parts, answer };
        let run = "test".to_owned();
        let introduction = wire::Introduction { run, layer: 1, attempt: 1, from: OWN, to };
        feeder.send(Some(feed_request::Request::Introduction(introduction))).await;
        feeder
    }

    async fn send(&self, request: Option<feed_request::Request>) {
        // It may be refused already.
        let _ = soon(self.parts.send(wire::FeedRequest { request })).await;
    }

    async fn pass_on(&self, part: wire::PassedOn) {
        self.send(Some(feed_request::Request::PassedOn(part))).await;
    }

    async fn ended(self) -> Result<(), Status> {
        drop(self.parts);
        soon(self.answer).await.unwrap().map(|_| ())
    }
}

/// All that a step passes on.
fn part(step: u64) -> wire::PassedOn {
    let mut payload = Vec::new();
    Precision::F32.encode(&values(step as u32, PAIRS * WIDTHS[1]), &mut payload).unwrap();
    let rows = Some(wire::Rows::alike(PAIRS, payload));
    wire::PassedOn { step, pairs: (0..PAIRS as u32).collect(), rows }
}

/// Layer 1 on a worker, fed by the test.
async fn fed(server: &Server) -> (Training, Feeder) {
    let above = ready(&mut server.client().await, 1, 1, fed_by(worker("127.0.0.1:1", OWN))).await;
    (above, Feeder::new(server, identity(server).await).await)
}

#[tokio::test]
async fn a_feeder_may_be_some_steps_ahead_and_then_go() {
    let server = server().await;
    let (mut above, feeder) = fed(&server).await;
    for step in 0..STEPS_AHEAD {
        feeder.pass_on(part(step)).await;
    }
    feeder.ended().await.unwrap();
    let stage = Stage::plain();
    for step in 0..STEPS_AHEAD {
        above.send(batch_message(stage.batch(step))).await;
        assert_eq!(above.report().await.step, step);
    }
    above.finish().await;
    let (above, feeder) = fed(&server).await;
    feeder.pass_on(part(0)).await;
    feeder.ended().await.unwrap();
    above.send_all((0..2).map(|step| batch_message(stage.batch(step)))).await;
    let status = above.refusal().await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let expected = "worker 127.0.0.1:1, which trains the layer below: it has ended its stream";
    assert!(status.message().starts_with(expected), "{status}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_feeder_is_told_that_all_is_well_where_nothing_more_is_needed_of_it() {
    let server = server().await;
    let (mut above, feeder) = fed(&server).await;
    feeder.pass_on(part(0)).await;
    above.send(batch_message(Stage::plain().batch(0))).await;
    assert_eq!(above.report().await.step, 0);
    above.finish().await;
    let Feeder { parts, answer } = feeder;
    soon(answer).await.unwrap().unwrap();
    drop(parts);
    assert_serves(&server).await;
}

#[tokio::test]
async fn what_is_passed_on_wrongly_ends_the_session_with_the_field_and_who_sent_it() {
    type Change = fn(&mut wire::PassedOn);
    let cases: [(&str, Change); 8] = [
        ("passed_on.step: found 4, expected 0 to 3", |part| part.step = STEPS_AHEAD),
        ("passed_on.step: found 18446744073709551615, expected 0 to 3", |part| part.step = u64::MAX),
        ("passed_on.pairs: found 14 pairs, expected one for each of 15 rows", |part| part.pairs.truncate(14)),
        ("passed_on.pairs: found pair 15, expected one of the 15 that are passed on", |part| {
            part.pairs[3] = PAIRS as u32;
        }),
        ("passed_on.pairs: found pair 0 of step 0, expected each once", |part| part.pairs[1] = 0),
        ("passed_on.rows: found nothing", |part| part.rows = None),
        ("rows.payload: found 3 bytes", |part| part.rows.as_mut().unwrap().payload = vec![0; 3].into()),
        ("rows.rows: found 16, expected 1 to 15 rows", |part| part.rows.as_mut().unwrap().rows = 16),
    ];
    let server = server().await;
    for (says, change) in cases {
        let (above, feeder) = fed(&server).await;
        let mut wrong = part(0);
        change(&mut wrong);
        feeder.pass_on(wrong).await;
        above.send(batch_message(Stage::plain().batch(0))).await;
        let status = above.refusal().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let expected = format!("worker 127.0.0.1:1, which trains the layer below: {says}");
        assert!(status.message().starts_with(&expected), "{status}");
        let status = feeder.ended().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    for (message, says) in [
        (None, "request: found nothing, expected `passed_on`"),
        (
            Some(feed_request::Request::Introduction(wire::Introduction::default())),
            "request: found another `introduction`",
        ),
    ] {
        let (above, feeder) = fed(&server).await;
        feeder.send(message).await;
        above.send(batch_message(Stage::plain().batch(0))).await;
        let status = above.refusal().await;
        assert!(status.message().contains(says), "{status}");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_feeder_whom_nobody_expects_is_refused() {
    let server = server_of(Duration::from_secs(1)).await;
    let identity = identity(&server).await;
    let status = Feeder::new(&server, identity).await.ended().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.message(), "run `test`: nobody here expects who calls for layer 1");
    let status = Feeder::new(&server, identity ^ 1).await.ended().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().starts_with("introduction.to: found "), "{status}");
    assert_serves(&server).await;
}
