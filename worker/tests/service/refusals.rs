//! Bad messages get an answer that names the field, and do the worker no harm.

use proto::limits;
use proto::probe::{PART_BYTES, PARTS, parts};
use proto::rows::Precision;
use proto::wire;
use proto::wire::host_layer_request::Request as HostRequest;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::wire::transform_request::Request as TransformRequest;
use scff::layer::{CHANNELS, ELEMENTS};
use tonic::{Code, Status};

use crate::client::{CACHE_BYTES, Training, assert_serves, host, host_requests, server, soon};
use crate::fixture::{BATCH, Stage, frozen};
use crate::transforming::{begin, rows, samples, transform};

/// Asserts that a refusal is of this kind and says so.
fn check(status: &Status, code: Code, says: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(says), "`{}` does not say `{says}`", status.message());
}

fn shard(start: u64, end: u64) -> wire::Shard {
    let end_sample = BATCH as u64;
    wire::Shard { address: "127.0.0.1:1".to_owned(), start, end, end_sample, ..wire::Shard::default() }
}

#[tokio::test]
async fn a_stage_that_cannot_be_trained_is_refused_by_field() {
    type Change = fn(&mut wire::TrainBegin);
    let field: [(&str, Change); 28] = [
        ("run: found 0 bytes", |begin| begin.run.clear()),
        ("run: found 100000 bytes", |begin| begin.run = "x".repeat(100_000)),
        ("run: found a control character", |begin| begin.run = "a\nERROR b".to_owned()),
        ("spec: found nothing", |begin| begin.spec = None),
        ("spec.name: found a control character", |begin| {
            begin.spec.as_mut().unwrap().name = "\x1b[2J".to_owned();
        }),
        ("spec.block", |begin| begin.spec.as_mut().unwrap().block = 0),
        ("spec.pairs", |begin| begin.spec.as_mut().unwrap().pairs = wire::PairSource::Makes.into()),
        ("hyperparameters: found nothing", |begin| begin.hyperparameters = None),
        ("hyperparameters.period", |begin| begin.hyperparameters.as_mut().unwrap().period = 0),
        ("hyperparameters.gamma", |begin| begin.hyperparameters.as_mut().unwrap().gamma = f64::NAN),
        ("hyperparameters.sharing: found 3", |begin| begin.hyperparameters.as_mut().unwrap().sharing = 3),
        (
            "hyperparameters.sharing: found samples, expected channels: samples only of direct convolutions",
            |begin| {
                begin.hyperparameters.as_mut().unwrap().sharing = wire::Sharing::Samples.into();
            },
        ),
        ("group.start: found 1..4, expected whole parts", |begin| begin.group = vec![shard(1, 4)]),
        ("group.start: found 4, expected 0, where the channels before it end", |begin| {
            begin.group = vec![shard(4, 8)];
        }),
        ("group.first_sample: found 0..4, expected whole parts", |begin| {
            begin.group = vec![wire::Shard { end_sample: 4, ..shard(0, 8) }];
        }),
        ("place: found 1, expected one of a group of 1", |begin| {
            (begin.group, begin.place) = (vec![shard(0, 8)], 1);
        }),
        ("group: found channels 0..4 of a layer that passes on, expected all channels", |begin| {
            begin.group = vec![shard(0, 4), shard(4, 8)];
            begin.pass_on = wire::PassOn::Pairs.into();
        }),
        ("cut_point: found 3, expected at most the layer, 2", |begin| begin.cut_point = 3),
        ("cut_point: found a layer that takes pairs", |begin| begin.cut_point = 1),
        ("spec.pairs: found a layer that takes pairs", |begin| begin.cut_point = 2),
        ("batch: found 1", |begin| begin.batch = 1),
        ("batch: found 65537", |begin| begin.batch = limits::BATCH as u32 + 1),
        ("elements: found 13, expected 12", |begin| begin.elements = 13),
        ("wire: found 0", |begin| begin.wire = 0),
        ("pass_on: found 3", |begin| begin.pass_on = 3),
        ("two_views: found two views", |begin| (begin.live, begin.two_views) = (true, true)),
        ("kept_bytes", |begin| begin.kept_bytes = CACHE_BYTES + 1),
        ("state_length", |begin| begin.state_length = limits::STATE_BYTES + 1),
    ];
    let precondition: [(&str, Change); 2] = [
        ("run `other`: layer 0 is not hosted", |begin| begin.run = "other".to_owned()),
        ("run `test`: layer 2 is not hosted", |begin| begin.layer = 3),
    ];
    let cases = field.map(|case| (Code::InvalidArgument, case)).into_iter();
    let cases = cases.chain(precondition.map(|case| (Code::FailedPrecondition, case)));

    let server = server().await;
    let mut client = server.client().await;
    host(&mut client, "test", 0..2).await;
    for (code, (says, change)) in cases {
        let mut begin = Stage::new(true, false, Precision::F32, 4).begin();
        change(&mut begin);
        let training = Training::open(&mut client).await;
        training.send(Request::Begin(begin)).await;
        check(&training.refusal().await, code, says);
    }
    let mut begin = Stage::new(true, false, Precision::F32, 4).begin();
    if let Some(wire::layer_spec::Map::Dense(dense)) = &mut begin.spec.as_mut().unwrap().map {
        dense.inputs += 1;
    }
    let training = Training::open(&mut client).await;
    training.send(Request::Begin(begin)).await;
    check(
        &training.refusal().await,
        Code::InvalidArgument,
        "spec.map: found one that reads 10 elements, expected 9",
    );
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_batch_beyond_all_memory_is_refused_before_any_is_taken() {
    let server = server().await;
    let mut client = server.client().await;
    let mut begin = Stage::plain().begin();
    begin.batch = limits::BATCH as u32;
    begin.elements = ELEMENTS as u64;
    begin.kept_bytes = 0;
    let dense = wire::Dense { inputs: ELEMENTS as u64, outputs: CHANNELS as u64 };
    begin.spec.as_mut().unwrap().map = Some(wire::layer_spec::Map::Dense(dense));
    let training = Training::open(&mut client).await;
    training.send(Request::Begin(begin)).await;
    check(&training.refusal().await, Code::ResourceExhausted, "batch");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_state_that_is_not_the_layers_is_refused() {
    let server = server().await;
    let mut client = server.client().await;
    let good = Stage::plain();
    let other = Stage::new(true, false, Precision::F32, 4);
    let mut flipped = good.state.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (state, says) in [
        (b"nonsense nonsense".to_vec(), "state: not a safetensors file"),
        (flipped, "state: header field `sha256`"),
        (other.state, "state: parameters: found a weight"),
    ] {
        let training = Training::begin(&mut client, &Stage { state, ..good.clone() }).await;
        check(&training.refusal().await, Code::InvalidArgument, says);
    }
    let training = Training::open(&mut client).await;
    training.send(Request::Begin(good.begin())).await;
    training.send(Request::State(vec![0; good.state.len() + 1].into())).await;
    check(&training.refusal().await, Code::InvalidArgument, "state_length");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_bad_batch_is_refused_by_field_after_the_good_ones_before_it_are_reported() {
    type Change = fn(&mut wire::Batch);
    let cases: [(&str, Change); 10] = [
        ("batch.step: found 7, expected 1", |batch| batch.step = 7),
        ("batch.first: found 4 keys, expected 5", |batch| batch.first.truncate(4)),
        ("batch.first", |batch| batch.first[0] = u64::MAX),
        ("batch.second", |batch| batch.second.clone_from(&batch.first)),
        ("batch.shifts: found 5", |batch| batch.shifts = vec![5]),
        ("batch.shifts: found none", |batch| batch.shifts.clear()),
        ("batch.shifts: found one twice", |batch| batch.shifts = vec![2, 2]),
        ("batch.arriving: found 3 keys, 2 flags", |batch| batch.keep.truncate(2)),
        ("batch.arriving: found sample 3 variant 0 twice", |batch| batch.arriving = vec![3 << 16; 3]),
        ("batch.keep: found 336 bytes to keep, expected at most 192", |batch| batch.keep.fill(true)),
    ];
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage::plain();
    let (reports, _) = stage.expect(1);
    for (says, change) in cases {
        let mut training = Training::ready(&mut client, &stage).await;
        let mut kept = std::collections::HashSet::new();
        training.send_all(stage.step_requests(0, &mut kept)).await;
        let mut requests = stage.step_requests(1, &mut kept);
        let Request::Batch(batch) = &mut requests[0] else { panic!("the batch is first") };
        change(batch);
        training.send_all(requests).await;
        assert_eq!(training.report().await, reports[0], "{says}");
        check(&training.refusal().await, Code::InvalidArgument, says);
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn an_activation_that_neither_arrives_nor_is_kept_is_named() {
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage::plain();
    let training = Training::ready(&mut client, &stage).await;
    let Request::Batch(batch) = stage.requests(1).remove(0) else { panic!("the batch is first") };
    let nothing = wire::Batch { arriving: vec![], keep: vec![], ..batch };
    training.send(Request::Batch(nothing)).await;
    check(&training.refusal().await, Code::InvalidArgument, "batch.arriving: found no sample 0 variant 0");
    assert_serves(&server).await;
}

#[tokio::test]
async fn rows_that_are_no_rows_are_refused() {
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage::plain();
    for (count, bytes, says) in [
        (1, 47, "rows.payload: found 47 bytes, expected 1 rows of 48 bytes"),
        (0, 0, "rows.rows: found 0"),
        (6, 288, "rows.rows: found 6"),
        (u32::MAX, 48, "rows.rows: found 4294967295"),
    ] {
        let training = Training::ready(&mut client, &stage).await;
        training.send(stage.requests(1).remove(0)).await;
        training.send(Request::Rows(wire::Rows::alike(count as usize, vec![0; bytes]))).await;
        check(&training.refusal().await, Code::InvalidArgument, says);
    }
    let training = Training::ready(&mut client, &stage).await;
    training.send(stage.requests(1).remove(0)).await;
    training.send(Request::Rows(wire::Rows { lengths: vec![12], ..wire::Rows::alike(1, vec![0; 48]) })).await;
    let says = "rows.lengths: found 1 lengths, expected none: all rows have 12 elements";
    check(&training.refusal().await, Code::InvalidArgument, says);
    assert_serves(&server).await;
}

#[tokio::test]
async fn messages_out_of_turn_are_refused() {
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage::plain();
    let training = Training::open(&mut client).await;
    training.send(Request::Checkpoint(wire::Checkpoint {})).await;
    check(&training.refusal().await, Code::InvalidArgument, "`begin` first");
    let training = Training::ready(&mut client, &stage).await;
    training.send(Request::Begin(stage.begin())).await;
    check(&training.refusal().await, Code::InvalidArgument, "request: found another `begin`");
    let training = Training::ready(&mut client, &stage).await;
    training.send(stage.requests(1).remove(0)).await;
    let Training { requests, mut replies } = training;
    drop(requests);
    let refusal = soon(replies.message()).await.unwrap_err();
    check(&refusal, Code::InvalidArgument, "request: found the end of the stream, expected 4 more `rows`");
    assert_serves(&server).await;
}

#[tokio::test]
async fn activations_that_are_no_numbers_do_no_harm() {
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage::plain();
    let training = Training::ready(&mut client, &stage).await;
    for mut request in stage.requests(1) {
        if let Request::Rows(rows) = &mut request {
            rows.payload = vec![0xff; rows.payload.len()].into();
        }
        training.send(request).await;
    }
    check(&training.refusal().await, Code::OutOfRange, "a weight is not finite any more in step 0");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_layer_that_cannot_be_hosted_is_refused_by_field() {
    type Change = fn(&mut Vec<HostRequest>);
    fn begin(requests: &mut [HostRequest]) -> &mut wire::HostLayerBegin {
        let HostRequest::Begin(begin) = &mut requests[0] else { panic!("begin is first") };
        begin
    }
    let cases: [(&str, Change); 10] = [
        ("`begin` first", |requests| drop(requests.remove(0))),
        ("`begin` first", Vec::clear),
        ("request: found another `begin`", |requests| requests.push(requests[0].clone())),
        ("run: found 0 bytes", |requests| begin(requests).run.clear()),
        ("spec: found nothing", |requests| begin(requests).spec = None),
        ("length: found 17179869185", |requests| begin(requests).length = limits::STATE_BYTES + 1),
        ("length: found 18446744073709551615", |requests| begin(requests).length = u64::MAX),
        ("bytes of parts", |requests| drop(requests.pop())),
        ("sha256", |requests| begin(requests).sha256 = "0".repeat(64)),
        ("sha256: found 3 characters", |requests| begin(requests).sha256 = "abc".to_owned()),
    ];
    let server = server().await;
    let mut client = server.client().await;
    for (says, change) in cases {
        let messages = host_requests("test", 0, &frozen(0)).into_iter();
        let mut requests: Vec<_> = messages.map(|message| message.request.unwrap()).collect();
        change(&mut requests);
        let messages = requests.into_iter().map(|request| wire::HostLayerRequest { request: Some(request) });
        let result = soon(client.host_layer(tokio_stream::iter(messages.collect::<Vec<_>>()))).await;
        check(&result.unwrap_err(), Code::InvalidArgument, says);
    }
    let mut requests = host_requests("test", 0, &frozen(1));
    if let Some(HostRequest::Begin(begin)) = &mut requests[0].request {
        begin.spec = Some(frozen(0).spec().into());
    }
    let refusal = soon(client.host_layer(tokio_stream::iter(requests))).await.unwrap_err();
    check(&refusal, Code::InvalidArgument, "part: parameters: found a weight");
    host(&mut client, "test", 0..3).await;
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_transform_that_cannot_be_done_is_refused_by_field() {
    let server = server().await;
    let mut client = server.client().await;
    host(&mut client, "test", 0..2).await;
    let good = begin(2, Precision::F32, &[]);
    let message = rows(&samples(1, 2), Precision::F32);
    for (bad, code, says) in [
        (wire::TransformBegin { run: String::new(), ..good.clone() }, Code::InvalidArgument, "run: "),
        (wire::TransformBegin { wire: 9, ..good.clone() }, Code::InvalidArgument, "wire: found 9"),
        (wire::TransformBegin { inputs: 0, ..good.clone() }, Code::InvalidArgument, "inputs: found 0"),
        (
            wire::TransformBegin { inputs: 11, ..good.clone() },
            Code::InvalidArgument,
            "inputs: found 11, expected 12",
        ),
        (
            wire::TransformBegin { taps: vec![true], ..good.clone() },
            Code::InvalidArgument,
            "taps: found 1 flags",
        ),
        (
            wire::TransformBegin { layers: u32::MAX, ..good.clone() },
            Code::FailedPrecondition,
            "layer 2 is not hosted",
        ),
        (
            wire::TransformBegin { run: "other".to_owned(), ..good.clone() },
            Code::FailedPrecondition,
            "run `other`: layer 0 is not hosted",
        ),
    ] {
        let requests = vec![TransformRequest::Begin(bad), TransformRequest::Rows(message.clone())];
        check(&transform(&mut client, requests).await.unwrap_err(), code, says);
    }
    for (payload, count, says) in [
        (vec![0; 95], 2, "rows.payload: found 95 bytes"),
        (vec![], 0, "rows.rows: found 0"),
        (vec![0; 96], u32::MAX, "rows.rows: found 4294967295"),
    ] {
        let bad = wire::Rows::alike(count as usize, payload);
        let requests = vec![TransformRequest::Begin(good.clone()), TransformRequest::Rows(bad)];
        check(&transform(&mut client, requests).await.unwrap_err(), Code::InvalidArgument, says);
    }
    let rows_first = vec![TransformRequest::Rows(message.clone())];
    check(&transform(&mut client, rows_first).await.unwrap_err(), Code::InvalidArgument, "`begin` first");
    // Layers that do not fit each other.
    let requests = host_requests("test", 1, &frozen(2));
    soon(client.host_layer(tokio_stream::iter(requests))).await.unwrap();
    let requests = vec![TransformRequest::Begin(good), TransformRequest::Rows(message)];
    let refusal = transform(&mut client, requests).await.unwrap_err();
    check(&refusal, Code::InvalidArgument, "layer 1 takes 9 elements, but the layer below passes on 10");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let server = server().await;
    let mut client = server.client().await;
    let stage = Stage::plain();
    let training = Training::ready(&mut client, &stage).await;
    let payload = vec![0; limits::MESSAGE_BYTES + 1];
    training.send(Request::Rows(wire::Rows::alike(1, payload))).await;
    check(&training.refusal().await, Code::InvalidArgument, "too large");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_worker_says_how_fast_it_multiplies_however_many_ask() {
    let server = server().await;
    let ask = || async {
        let mut client = server.client().await;
        let reply = soon(client.benchmark(wire::BenchmarkRequest {})).await.unwrap().into_inner();
        reply.operations_per_second
    };
    let (one, other) = tokio::join!(ask(), ask());
    for found in [one, other, ask().await] {
        assert!((1e6..1e15).contains(&found), "{found} operations a second");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_probe_is_counted_and_too_much_of_one_is_refused() {
    let server = server().await;
    let mut client = server.client().await;
    for bytes in [0, 1, PART_BYTES + 1, PARTS * PART_BYTES] {
        let reply = soon(client.probe(tokio_stream::iter(parts(bytes)))).await.unwrap().into_inner();
        assert_eq!(reply.bytes, bytes as u64);
    }
    let long = wire::ProbeRequest { payload: vec![0; PART_BYTES + 1].into() };
    for (parts, says) in [
        (parts(PARTS * PART_BYTES + 1), "probe: found more parts, expected at most 64"),
        (vec![wire::ProbeRequest::default(); PARTS + 1], "probe: found more parts, expected at most 64"),
        (vec![long], "payload: found 262145 bytes, expected at most 262144"),
    ] {
        let refused = soon(client.probe(tokio_stream::iter(parts))).await.unwrap_err();
        check(&refused, Code::InvalidArgument, says);
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_layer_is_not_shared_with_another_process_than_the_one_that_was_named() {
    let (head, below) = (server().await, server().await);
    let mut below_client = below.client().await;
    let identity = soon(below_client.describe(wire::DescribeRequest {})).await.unwrap().into_inner().identity;
    let share = |identity| {
        let stage = Stage::plain();
        let address = below.address.to_string();
        let below = wire::Shard { address, identity, ..shard(0, 4) };
        wire::TrainBegin { group: vec![shard(4, 10), below], ..stage.begin() }
    };
    let mut client = head.client().await;
    let training = Training::open(&mut client).await;
    training.send(Request::Begin(share(identity ^ 1))).await;
    let status = training.refusal().await;
    check(&status, Code::Unavailable, "which shares the layer: another process than the one");
    let mut training = Training::open(&mut client).await;
    training.send(Request::Begin(share(identity))).await;
    training.send(Request::State(Stage::plain().state.into())).await;
    assert_eq!(training.reply().await.unwrap(), Some(Reply::Ready(wire::Ready {})));
}
