//! How fast activations stream between two processes on loopback, and in how much memory.
//!
//! The client is this process, the worker another one, first plain and then with certificates. Two real paths of the service
//! are measured:
//!
//! - *echo*: a transform through no layers, so that nothing is computed. Every byte crosses twice, once each way
//!   at the same time; a rate is that of one direction.
//! - *training*: rows to a layer of one unit that keeps nothing. Bytes cross once, and each is decoded,
//!   standardised and multiplied (forward and gradient) by a worker that shares this machine's cores.
//!
//! The bytes that come back and the steps reported are checked. Rates are compared with that of bare bytes which a thread sends
//! back, in the same run. `cargo bench` fails where the echo falls below `PLAIN` or `ENCRYPTED` of that, or the worker's memory grows
//! beyond `GROWTH_BYTES` while gigabytes pass.

#![expect(clippy::disallowed_methods, reason = "benches measure")]

#[path = "stream/bare.rs"]
mod bare;
#[path = "stream/certificates.rs"]
mod certificates;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proto::address::Address;
use proto::batch::ArrivingBatch;
use proto::dial::{Client, Dialer};
use proto::limits::{PAYLOAD_BYTES, rows_per_message};
use proto::rows::Precision;
use proto::silence::Silence;
use proto::state::{Header, encode_state};
use proto::tls::{Role, Tls};
use proto::wire;
use proto::wire::train_reply::Reply;
use scff::batch::{Batch, Epoch, LayerIndex, SampleKey, Step, Variant};
use scff::goodness::LossParameters;
use scff::layer::{Dense, LayerMap, LayerSpec, LayerState, PairSource, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::seed::{Purpose, Seed};
use scff::train::{Hyperparameters, Sharing};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use certificates::Certificates;

/// What the echo must reach of the rate of bare bytes.
const PLAIN: f64 = 0.4;
/// The same with certificates.
const ENCRYPTED: f64 = 0.2;
/// How much the worker's peak memory may grow.
const GROWTH_BYTES: u64 = 256 << 20;
/// Elements of an activation: those of the second layer of CIFAR-10.
const ELEMENTS: usize = 96 * 16 * 16;
/// Samples of a training batch.
const BATCH: usize = 100;

/// How much is sent.
struct Amount {
    /// Echoes; the best counts, for other work on the machine only ever slows one down.
    rounds: usize,
    /// Messages of an echo.
    messages: usize,
    /// Batches of a training.
    steps: u64,
}

const BENCH: Amount = Amount { rounds: 3, messages: 6 << 10, steps: 300 };
/// Under `cargo test`, which builds without optimisation, the answers are checked but not the rates.
const TEST: Amount = Amount { rounds: 1, messages: 100, steps: 5 };

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let amount = if measured { BENCH } else { TEST };
    let certificates = Certificates::make()?;
    for (name, certificates, least) in
        [("plain", None, PLAIN), ("with certificates", Some(&certificates), ENCRYPTED)]
    {
        let mut bare = 0.0_f64;
        for _ in 0..amount.rounds {
            bare = bare.max(tokio::task::block_in_place(|| bare::echo(PAYLOAD_BYTES, amount.messages))?);
        }
        let best = stream(name, certificates, &amount).await?;
        let share = best / bare;
        println!("echo      {:.0} % of the {bare:.2} GB/s of bare bytes", 100.0 * share);
        assert!(
            !measured || share >= least,
            "{name}: {share:.2} of the rate of bare bytes is less than {least}"
        );
    }
    Ok(())
}

/// Measures a worker; returns the best rate of the echoes, in GB/s.
async fn stream(name: &str, certificates: Option<&Certificates>, amount: &Amount) -> Result<f64, Failure> {
    let mut worker = Worker::start(certificates)?;
    let tls =
        certificates.map(|certificates| Tls::load(certificates.files(Role::Coordinator), Role::Coordinator));
    let dialer = Dialer { silence: Silence::seconds(30), tls: tls.transpose()?.map(Arc::new) };
    let (connection, before) = dialer.dial(&Address::given(&worker.address)).await?;
    let mut client = connection.client();
    println!("{} ({} cores), 1 MiB messages, two processes on loopback, {name}", before.cpu, before.cores);
    let mut best = 0.0_f64;
    for _ in 0..amount.rounds {
        let rate = echo(&mut client, amount.messages).await?;
        println!("echo      {rate:.2} GB/s out and {rate:.2} GB/s back at the same time, all bytes checked");
        best = best.max(rate);
    }
    let between = client.describe(wire::DescribeRequest {}).await?.into_inner();
    for precision in [Precision::F32, Precision::F16] {
        let rate = train(&mut client, precision, amount.steps).await?;
        println!("training  {rate:.2} GB/s out, {precision:?}, with a step for every {BATCH} rows");
    }
    let after = client.describe(wire::DescribeRequest {}).await?.into_inner();
    let [before, between, after] = [before, between, after].map(|worker| worker.peak_rss_bytes);
    let [first, second, third] = [before, between, after].map(|bytes| bytes >> 20);
    println!(
        "worker's peak memory: {first} MiB at first, {second} MiB after the echoes, {third} MiB at last"
    );
    drop(worker.child.stdin.take());
    worker.child.wait()?;
    assert!(after - before <= GROWTH_BYTES, "the worker's memory grew by more than {GROWTH_BYTES} bytes");
    Ok(best)
}

struct Worker {
    child: Child,
    address: String,
}

impl Worker {
    fn start(certificates: Option<&Certificates>) -> Result<Self, Failure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .args(["--listen", "127.0.0.1:0", "--until-stdin-closes"])
            .args(certificates.map(Certificates::of_worker).into_iter().flatten())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").ok_or("no address")?.to_owned();
        Ok(Self { child, address })
    }
}

/// Some bytes that are unlike each other.
fn payload(seed: u64, length: usize) -> Bytes {
    let mix = |i: u64| (i ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(seed | 1);
    (0..length as u64 / 8).flat_map(|i| mix(i).to_le_bytes()).collect()
}

/// Sends rows through no layers; GB/s in one direction.
async fn echo(client: &mut Client, messages: usize) -> Result<f64, Failure> {
    let payloads: Vec<Bytes> = (1..=16).map(|seed| payload(seed, PAYLOAD_BYTES)).collect();
    let (requests, stream) = mpsc::channel(4);
    let mut replies = client.transform(ReceiverStream::new(stream)).await?.into_inner();
    let rows = 16;
    let begin = wire::TransformBegin {
        run: "bench".to_owned(),
        inputs: (PAYLOAD_BYTES / rows / 4) as u64,
        layers: 0,
        wire: wire::Wire::F32.into(),
        taps: vec![],
    };
    let start = Instant::now();
    let sent = payloads.clone();
    tokio::spawn(async move {
        use wire::transform_request::Request;
        let message = |request| wire::TransformRequest { request: Some(request) };
        requests.send(message(Request::Begin(begin))).await?;
        for payload in sent.iter().cycle().take(messages) {
            let rows = wire::Rows::alike(rows, payload.clone());
            requests.send(message(Request::Rows(rows))).await?;
        }
        Ok::<_, mpsc::error::SendError<_>>(())
    });
    for expected in payloads.iter().cycle().take(messages) {
        let reply = replies.message().await?.ok_or("the worker ended the stream")?;
        assert!(reply.payload == expected, "a message came back changed");
    }
    Ok((messages * PAYLOAD_BYTES) as f64 / 1e9 / start.elapsed().as_secs_f64())
}

/// Streams all activations of every batch to a layer of one unit; GB/s.
async fn train(client: &mut Client, precision: Precision, steps: u64) -> Result<f64, Failure> {
    use wire::train_request::Request;
    let map = LayerMap::Dense(Dense { inputs: ELEMENTS, outputs: 1 });
    let (pairs, transmit) = (PairSource::Makes, Transmit::Relu);
    let spec =
        LayerSpec { name: "one".to_owned(), map, pairs, transmit, pool: None, readout_pool: None, block: 1 };
    let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(0), Epoch(0), Step(0));
    let state = encode_state(&LayerState::initial(&map, &mut random), Header::new());
    let hyperparameters = Hyperparameters {
        loss: LossParameters { theta_pos: 1.0, theta_neg: 1.0, lambda: 0.0 },
        optimizer: OptimizerParameters { learning_rate: 1e-4, weight_decay: 0.0, gamma: 1.0, period: 1000 },
        sharing: Sharing::Channels,
    };
    let begin = wire::TrainBegin {
        run: "bench".to_owned(),
        layer: 0,
        spec: Some((&spec).into()),
        hyperparameters: Some((&hyperparameters).into()),
        cut_point: 0,
        batch: BATCH as u32,
        two_views: false,
        elements: ELEMENTS as u64,
        wire: wire::Wire::from(precision).into(),
        kept_bytes: 0,
        state_length: state.len() as u64,
        attempt: 1,
        live: false,
        pass_on: wire::PassOn::Nothing.into(),
        feeders: None,
        takers: None,
        group: Vec::new(),
        place: 0,
        silence_seconds: 30,
    };
    let (requests, stream) = mpsc::channel(4);
    let mut replies = client.train(ReceiverStream::new(stream)).await?.into_inner();
    let row_bytes = ELEMENTS * precision.bytes();
    let values: Vec<f32> = (0..BATCH * ELEMENTS).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
    let mut rows = Vec::with_capacity(BATCH * row_bytes);
    precision.encode(&values, &mut rows)?;
    let messages: Vec<Bytes> = {
        let rows = Bytes::from(rows);
        let length = rows_per_message(row_bytes) * row_bytes;
        (0..rows.len())
            .step_by(length)
            .map(|start| rows.slice(start..rows.len().min(start + length)))
            .collect()
    };
    let send = async move |request| requests.send(wire::TrainRequest { request: Some(request) }).await;
    send(Request::Begin(begin)).await?;
    send(Request::State(state.into())).await?;
    let ready = replies.message().await?.and_then(|reply| reply.reply);
    assert!(matches!(ready, Some(Reply::Ready(_))), "the state was not taken in");
    let start = Instant::now();
    tokio::spawn(async move {
        let keys: Vec<_> = (0..BATCH as u32).map(|index| SampleKey { index, variant: Variant(0) }).collect();
        for step in 0..steps {
            let batch = Batch { step: Step(step), first: keys.clone(), second: None, shifts: vec![1] };
            let arriving = keys.iter().map(|&key| (key, false)).collect();
            send(Request::Batch((&ArrivingBatch { batch, arriving }).into())).await?;
            for payload in &messages {
                let rows = wire::Rows::alike(payload.len() / row_bytes, payload.clone());
                send(Request::Rows(rows)).await?;
            }
        }
        Ok::<_, mpsc::error::SendError<_>>(())
    });
    for step in 0..steps {
        let report = match replies.message().await?.and_then(|reply| reply.reply) {
            Some(Reply::Step(report)) => report,
            other => return Err(format!("no report: {other:?}").into()),
        };
        assert!(report.step == step && report.goodness_pos.is_finite(), "{report:?}");
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(replies.message().await?.is_none(), "all steps were reported");
    Ok((steps as usize * BATCH * row_bytes) as f64 / 1e9 / seconds)
}
