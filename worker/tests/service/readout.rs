//! A readout that several share: a test is one of them, and does not always mean well.

use proto::wire;
use proto::wire::exchange_message::Message;
use proto::wire::readout_reply::Reply;
use proto::wire::readout_request::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::client::{CACHE_BYTES, Server, assert_serves, host, server, soon};
use crate::fixture::frozen;

/// The number that the test describes itself with.
const OWN: u64 = 77;
const SAMPLES: usize = 3;
const CLASSES: u32 = 2;

fn features() -> usize {
    frozen(0).spec().features()
}

/// A readout of layer 0, of which the test has the first share, without a feature, and the worker the second.
fn begin(identity: u64) -> wire::ReadoutBegin {
    let shard = |end: usize, identity| wire::Shard {
        address: "127.0.0.1:1".to_owned(),
        end: end as u64,
        identity,
        ..wire::Shard::default()
    };
    wire::ReadoutBegin {
        transform: Some(wire::TransformBegin {
            run: "test".to_owned(),
            inputs: frozen(0).spec().map.inputs() as u64,
            layers: 1,
            wire: wire::Wire::F32.into(),
            taps: vec![true],
        }),
        attempt: 1,
        group: vec![shard(0, OWN), shard(features(), identity)],
        place: 1,
        classes: CLASSES,
        seed: 1,
        learning_rate: 0.01,
        batch: 2,
        epochs: 2,
        dropout: 0.0,
        parts: vec![wire::ReadoutPart { samples: SAMPLES as u64, views: 1 }],
        silence_seconds: 30,
    }
}

/// What makes a message wrong.
type Change<T> = fn(&mut T);

/// The test's ends of its streams, as who orders the readout and as who shares it.
struct Shared {
    requests: mpsc::Sender<wire::ReadoutRequest>,
    replies: Streaming<wire::ReadoutReply>,
    columns: mpsc::Sender<wire::ExchangeMessage>,
    _answer: Streaming<wire::ExchangeMessage>,
}

async fn identity(server: &Server) -> u64 {
    soon(server.client().await.describe(wire::DescribeRequest {})).await.unwrap().into_inner().identity
}

/// Orders a readout.
async fn order(
    server: &Server,
    begin: wire::ReadoutBegin,
) -> (mpsc::Sender<wire::ReadoutRequest>, Streaming<wire::ReadoutReply>) {
    let (requests, outgoing) = mpsc::channel(8);
    requests.send(wire::ReadoutRequest { request: Some(Request::Begin(begin)) }).await.unwrap();
    let replies = soon(server.client().await.read_out(ReceiverStream::new(outgoing))).await.unwrap();
    (requests, replies.into_inner())
}

async fn share(server: &Server) -> Shared {
    let identity = identity(server).await;
    let (requests, replies) = order(server, begin(identity)).await;
    let (columns, outgoing) = mpsc::channel(8);
    let introduction =
        wire::Introduction { run: "test".to_owned(), layer: 1, attempt: 1, from: OWN, to: identity };
    columns.send(wire::ExchangeMessage { message: Some(Message::Introduction(introduction)) }).await.unwrap();
    let answer = soon(server.client().await.exchange(ReceiverStream::new(outgoing))).await.unwrap();
    Shared { requests, replies, columns, _answer: answer.into_inner() }
}

/// Features of all samples.
fn columns() -> wire::Columns {
    let payload = (0..SAMPLES * features()).flat_map(|index| (index as f32).sin().to_le_bytes());
    wire::Columns { part: 0, first: 0, payload: payload.collect::<Vec<u8>>().into() }
}

impl Shared {
    async fn request(&self, request: Request) {
        // It may have ended already, and says why.
        let _ = soon(self.requests.send(wire::ReadoutRequest { request: Some(request) })).await;
    }

    async fn send(&self, columns: wire::Columns) {
        let _ =
            soon(self.columns.send(wire::ExchangeMessage { message: Some(Message::Columns(columns)) })).await;
    }

    async fn reply(&mut self) -> Result<Option<Reply>, Status> {
        Ok(soon(self.replies.message()).await?.map(|reply| reply.reply.expect("a reply says something")))
    }

    async fn refusal(mut self) -> Status {
        loop {
            match self.reply().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}

fn labels(labels: &[u32]) -> Request {
    Request::Labels(wire::ReadoutLabels { labels: labels.to_vec() })
}

/// So many samples, from one of a part on.
fn samples(part: u32, first: u64, rows: usize) -> Request {
    let bytes = rows * frozen(0).spec().map.inputs() * size_of::<f32>();
    let rows = Some(wire::Rows::alike(rows, vec![0; bytes]));
    Request::Samples(wire::ReadoutSamples { part, first, rows })
}

fn learn() -> Request {
    Request::Learn(wire::ReadoutLearn {})
}

#[tokio::test]
async fn features_of_others_are_learned_from() {
    let server = server().await;
    host(&mut server.client().await, "test", 0..1).await;
    let mut shared = share(&server).await;
    shared.request(labels(&[0, 1])).await;
    shared.request(labels(&[1])).await;
    shared.send(columns()).await;
    let stored = wire::ReadoutStored { rows: SAMPLES as u64 };
    assert_eq!(shared.reply().await.unwrap(), Some(Reply::Stored(stored)));
    shared.request(learn()).await;
    for epoch in 0..2 {
        let Some(Reply::Epoch(told)) = shared.reply().await.unwrap() else { panic!("no epoch") };
        assert_eq!(told.epoch, epoch);
    }
    let Some(Reply::Measured(measured)) = shared.reply().await.unwrap() else { panic!("no measures") };
    assert_eq!(measured.correct.len(), 1);
    let Some(Reply::Parameters(bytes)) = shared.reply().await.unwrap() else { panic!("no parameters") };
    assert_eq!(bytes.len(), 4 * CLASSES as usize * (features() + 1));
    assert_eq!(shared.reply().await.unwrap(), None);
    drop(shared);
    assert_serves(&server).await;
}

#[tokio::test]
async fn features_that_are_none_end_the_session_with_the_field_and_who_sent_them() {
    let server = server().await;
    host(&mut server.client().await, "test", 0..1).await;
    let cases: [(&str, Change<wire::Columns>); 3] = [
        ("columns.part: found 7", |columns| columns.part = 7),
        ("columns.payload: found ", |columns| columns.first = u64::MAX),
        ("columns.payload: found 3 bytes", |columns| columns.payload = vec![0; 3].into()),
    ];
    for (says, change) in cases {
        let shared = share(&server).await;
        let mut wrong = columns();
        change(&mut wrong);
        shared.send(wrong).await;
        let status = shared.refusal().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(
            status.message().starts_with("worker 127.0.0.1:1, which shares the readout: ")
                && status.message().contains(says),
            "{status}"
        );
    }
    // Twice the same.
    let shared = share(&server).await;
    shared.send(columns()).await;
    shared.send(columns()).await;
    let status = shared.refusal().await;
    assert!(status.message().contains("some of which have come before"), "{status}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused() {
    let server = server().await;
    host(&mut server.client().await, "test", 0..1).await;
    let identity = identity(&server).await;
    let cases: [(&str, Change<wire::ReadoutBegin>); 8] = [
        ("place: found 7", |begin| begin.place = 7),
        ("place: found 0", |begin| begin.place = 0),
        ("classes: found 0", |begin| begin.classes = 0),
        ("batch: found 0", |begin| begin.batch = 0),
        ("dropout: found 1", |begin| begin.dropout = 1.0),
        ("group.end: found 0", |begin| begin.group[1].end = 0),
        ("transform.taps: found 0 features", |begin| {
            begin.transform.as_mut().expect("it has one").taps = vec![false];
        }),
        ("readout's features", |begin| begin.parts[0].samples = CACHE_BYTES),
    ];
    for (says, change) in cases {
        let mut begin = begin(identity);
        change(&mut begin);
        let (_requests, mut replies) = order(&server, begin).await;
        let status = soon(replies.message()).await.expect_err(says);
        assert!(status.message().contains(says), "{status} says {says}");
    }
    for (says, request) in [
        ("labels.labels: found 2, expected one of 2 classes", labels(&[2])),
        ("labels.labels: found 4, expected the 3 missing", labels(&[0; 4])),
        ("labels: found 0, expected 3", learn()),
        ("request: found another `begin`, expected `labels`", Request::Begin(self::begin(identity))),
        ("samples.rows: found nothing", Request::Samples(wire::ReadoutSamples::default())),
        ("samples.part: found 7, expected one of 1", samples(7, 0, 1)),
        ("samples.first: found 1 rows from 3, expected rows of 3", samples(0, 3, 1)),
        ("samples.first: found 2 rows from 2, expected rows of 3", samples(0, 2, 2)),
        ("samples.first: found 1 rows from 18446744073709551615", samples(0, u64::MAX, 1)),
    ] {
        let shared = share(&server).await;
        shared.request(request).await;
        let status = shared.refusal().await;
        assert!(status.message().contains(says), "{status} says {says}");
    }
    let shared = share(&server).await;
    shared.request(labels(&[0; 3])).await;
    shared.request(learn()).await;
    let status = shared.refusal().await;
    assert!(status.message().contains("features missing"), "{status}");
    assert_serves(&server).await;
}
