//! What those who share a layer send each other: a test is one of them, and does not always mean well.

use std::collections::HashSet;
use std::time::Duration;

use proto::batch::ArrivingBatch;
use proto::limits::{PAYLOAD_BYTES, SLICE_BYTES};
use proto::wire;
use proto::wire::exchange_message::Message;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::client::{Server, Training, assert_serves, server, server_of, soon};
use crate::fixture::{BATCH, SHIFTS, Stage};

/// The number that the test describes itself with.
const OWN: u64 = 77;
/// Numbers of a step, of a dense layer: so few that the first member adds them up.
const NUMBERS: usize = BATCH * (1 + SHIFTS.len());

/// The test's end of a stream.
struct Peer {
    letters: mpsc::Sender<wire::ExchangeMessage>,
    slices: Streaming<wire::ExchangeMessage>,
}

fn introduction(to: u64) -> wire::Introduction {
    wire::Introduction { run: "test".to_owned(), layer: 0, attempt: 1, from: OWN, to }
}

/// Calls a worker.
async fn call(server: &Server, first: Message) -> Result<Peer, Status> {
    let (letters, outgoing) = mpsc::channel(8);
    letters.send(wire::ExchangeMessage { message: Some(first) }).await.unwrap();
    let slices = soon(server.client().await.exchange(ReceiverStream::new(outgoing))).await?;
    Ok(Peer { letters, slices: slices.into_inner() })
}

async fn identity(server: &Server) -> u64 {
    soon(server.client().await.describe(wire::DescribeRequest {})).await.unwrap().into_inner().identity
}

/// A training stream to the second of a group, of which the test is the first; and the stream between both.
async fn share(server: &Server) -> (Training, Peer) {
    let identity = identity(server).await;
    let shard = |start, end, identity| wire::Shard {
        address: "127.0.0.1:1".to_owned(),
        start,
        end,
        end_sample: BATCH as u64,
        identity,
        ..wire::Shard::default()
    };
    let stage = Stage::plain();
    let group = vec![shard(0, 4, OWN), shard(4, 10, identity)];
    let mut training = Training::open(&mut server.client().await).await;
    training.send(Request::Begin(wire::TrainBegin { group, place: 1, ..stage.begin() })).await;
    training.send(Request::State(stage.state.clone().into())).await;
    assert_eq!(training.reply().await.unwrap(), Some(Reply::Ready(wire::Ready {})));
    let peer = call(server, Message::Introduction(introduction(identity))).await.unwrap();
    (training, peer)
}

/// A slice that is as it should be.
fn slice(step: u64, kind: wire::SliceKind, numbers: usize) -> wire::Slice {
    wire::Slice {
        step,
        round: wire::Round::Goodness.into(),
        kind: kind.into(),
        first: 0,
        payload: 0.5_f32.to_le_bytes().repeat(numbers).into(),
        losses: Vec::new(),
    }
}

fn total(step: u64) -> wire::Slice {
    slice(step, wire::SliceKind::Total, NUMBERS)
}

impl Peer {
    async fn send(&self, slice: wire::Slice) {
        // It may be refused already.
        let _ = self.letters.send(wire::ExchangeMessage { message: Some(Message::Slice(slice)) }).await;
    }

    async fn receive(&mut self) -> wire::Slice {
        let message = soon(self.slices.message()).await.unwrap().expect("a slice");
        let Some(Message::Slice(slice)) = message.message else { panic!("{message:?} is no slice") };
        slice
    }
}

#[tokio::test]
async fn who_adds_up_gets_addends_and_sends_the_total() {
    let server = server().await;
    let (mut training, mut peer) = share(&server).await;
    training.send_all(Stage::plain().requests(2)).await;
    for step in 0..2 {
        // It may be ahead of the worker.
        peer.send(total(step)).await;
        let found = peer.receive().await;
        // Of two nodes: the worker's are no whole half of the tree.
        assert_eq!(
            (found.step, found.kind(), found.payload.len()),
            (step, wire::SliceKind::Addends, 8 * NUMBERS)
        );
        let report = training.report().await;
        assert_eq!((report.step, report.exchanged_bytes), (step, 12 * NUMBERS as u64));
    }
    training.finish().await;
    assert!(soon(peer.slices.message()).await.unwrap().is_none(), "the stream ends");
    drop(peer);
    assert_serves(&server).await;
}

#[tokio::test]
async fn slices_that_are_none_end_the_session_with_the_field_and_who_sent_them() {
    type Change = fn(&mut wire::Slice);
    let cases: [(&str, Change); 7] = [
        ("slice.step: found 1, expected 0", |slice| slice.step = 1),
        ("slice.round: found ROUND_GRADIENT (2)", |slice| slice.round = wire::Round::Gradient.into()),
        ("slice.kind: found SLICE_KIND_UNSPECIFIED (9)", |slice| slice.kind = 9),
        ("slice.first: found 18446744073709551615, expected 0", |slice| slice.first = u64::MAX),
        ("slice.payload: found 3 bytes", |slice| slice.payload = vec![0; 3].into()),
        ("slice.payload: found 1048576 bytes", |slice| slice.payload = vec![0; PAYLOAD_BYTES].into()),
        ("slice.losses: found 5, expected 5 numbers for each of 0 losses", |slice| {
            slice.losses = vec![0.0; 5];
        }),
    ];
    let server = server().await;
    for (says, change) in cases {
        let (training, peer) = share(&server).await;
        training.send_all(Stage::plain().requests(1)).await;
        let mut slice = total(0);
        change(&mut slice);
        peer.send(slice).await;
        let status = training.refusal().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let expected = format!("worker 127.0.0.1:1, which shares the layer: {says}");
        assert!(status.message().starts_with(&expected), "{status}");
    }
    for (message, says) in [
        (None, "message: found nothing, expected a `slice`"),
        (Some(Message::Introduction(introduction(1))), "message: found another introduction"),
    ] {
        let (training, peer) = share(&server).await;
        training.send_all(Stage::plain().requests(1)).await;
        peer.letters.send(wire::ExchangeMessage { message }).await.unwrap();
        let status = training.refusal().await;
        assert!(status.message().contains(says), "{status}");
    }
    assert_serves(&server).await;
}

/// While slices arrive the worker looks at what comes next: a batch is prepared, all else waits.
#[tokio::test]
async fn what_follows_upon_a_step_waits_until_it_has_ended() {
    let server = server().await;
    let (stage, mut kept) = (Stage::plain(), HashSet::new());
    let (mut training, mut peer) = share(&server).await;
    training.send_all(stage.step_requests(0, &mut kept)).await;
    assert_eq!(peer.receive().await.kind(), wire::SliceKind::Addends);
    training.send(Request::Checkpoint(wire::Checkpoint {})).await;
    training.send_all(stage.step_requests(1, &mut kept)).await;
    peer.send(total(0)).await;
    assert_eq!(training.report().await.step, 0);
    let Some(Reply::State(state)) = training.reply().await.unwrap() else { panic!("no state") };
    assert_eq!(state.step, 1);
    assert_eq!(peer.receive().await.kind(), wire::SliceKind::Addends);
    // A batch that is wrong ends the session once the step before it has ended.
    let message = ArrivingBatch { batch: stage.batch(5), arriving: Vec::new() };
    training.send(Request::Batch((&message).into())).await;
    peer.send(total(1)).await;
    assert_eq!(training.report().await.step, 1);
    let status = training.refusal().await;
    assert!(status.message().contains("batch.step: found 5, expected 2"), "{status}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_member_that_goes_away_is_named() {
    let server = server().await;
    let (training, peer) = share(&server).await;
    training.send_all(Stage::plain().requests(1)).await;
    drop(peer);
    let status = training.refusal().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("worker 127.0.0.1:1, which shares the layer: "), "{status}");
    assert_serves(&server).await;
}

/// It is far ahead, and the worker waits for its client.
#[tokio::test]
async fn a_member_that_says_too_much_waits() {
    let server = server().await;
    let (training, peer) = share(&server).await;
    let much = slice(0, wire::SliceKind::Total, PAYLOAD_BYTES / 4);
    let mut sent = 0_usize;
    // What the stream's window holds and what waits on both ends, and no more.
    let flood = async {
        while sent < 64 {
            peer.send(much.clone()).await;
            sent += 1;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), flood).await.is_err(), "{sent} MiB were taken");
    assert!(sent < 24, "{sent} MiB were taken");
    training.send_all(Stage::plain().requests(1)).await;
    let status = training.refusal().await;
    assert!(status.message().contains("slice.payload: found 1048576 bytes"), "{status}");
    let (training, peer) = share(&server).await;
    peer.send(slice(0, wire::SliceKind::Total, SLICE_BYTES / 4 + 1)).await;
    training.send_all(Stage::plain().requests(1)).await;
    let status = training.refusal().await;
    assert!(status.message().contains("too large message"), "{status}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn who_is_not_expected_is_refused() {
    let server = server_of(Duration::from_secs(1)).await;
    let identity = identity(&server).await;
    let refusal = async |message| match call(&server, message).await {
        Err(status) => status,
        Ok(_) => panic!("nobody expects it"),
    };
    let status = refusal(Message::Introduction(introduction(identity))).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.message(), "run `test`: nobody here expects who calls for layer 0");
    let status = refusal(Message::Introduction(introduction(identity ^ 1))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().starts_with("introduction.to: found "), "{status}");
    let status = refusal(Message::Slice(total(0))).await;
    assert!(status.message().starts_with("message: found no `introduction`"), "{status}");
    let run = "a\nb".to_owned();
    let status = refusal(Message::Introduction(wire::Introduction { run, ..introduction(identity) })).await;
    assert!(status.message().starts_with("run: found a control character"), "{status}");
    assert_serves(&server).await;
}
