//! Calls that keep to HTTP/2, and say what no coordinator would.

use bytes::Bytes;
use h2::client;
use strata_tests::PATIENCE;
use tokio::net::TcpStream;
use tonic::codegen::http::{HeaderMap, Request};

/// A call: where it goes, with which headers besides or instead, and what it says.
#[derive(Clone)]
pub struct Call {
    pub name: &'static str,
    pub path: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: Vec<u8>,
    /// Whether it says that it is over.
    pub over: bool,
    /// The status that it gets, and words of its message and of the worker's line about it.
    pub status: u16,
    pub says: &'static str,
}

const DESCRIBE: &str = "/strata.v1.Worker/Describe";
const TRAIN: &str = "/strata.v1.Worker/Train";
const TRANSFORM: &str = "/strata.v1.Worker/Transform";
const READ_OUT: &str = "/strata.v1.Worker/ReadOut";
const EXCHANGE: &str = "/strata.v1.Worker/Exchange";
const FEED: &str = "/strata.v1.Worker/Feed";
const HOST: &str = "/strata.v1.Worker/HostLayer";
const USE: &str = "/strata.v1.Worker/UseKernel";
const PROBE: &str = "/strata.v1.Worker/Probe";

/// Codes of gRPC.
const INVALID: u16 = 3;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const PRECONDITION: u16 = 9;

/// A message after its five bytes.
fn message(content: &[u8]) -> Vec<u8> {
    prefixed(0, content.len() as u32, content)
}

/// Bytes that say so of themselves.
fn prefixed(compressed: u8, length: u32, content: &[u8]) -> Vec<u8> {
    [&[compressed], &length.to_be_bytes()[..], content].concat()
}

/// A field of protobuf that holds bytes, of this length as it says.
fn field(number: u8, length: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, length], content].concat()
}

/// A call that is over once it has said this, and what comes of it.
fn call(name: &'static str, path: &'static str, body: Vec<u8>, status: u16, says: &'static str) -> Call {
    Call { name, path, headers: &[], body, over: true, status, says }
}

/// The same, without a word that it is over.
fn open(name: &'static str, path: &'static str, body: Vec<u8>, status: u16, says: &'static str) -> Call {
    Call { over: false, ..call(name, path, body, status, says) }
}

/// The name of a run, as a field.
fn run(name: &[u8]) -> Vec<u8> {
    field(1, name.len() as u8, name)
}

/// A first message that says so.
fn begin(content: &[u8]) -> Vec<u8> {
    message(&field(1, content.len() as u8, content))
}

/// All calls.
pub fn calls() -> Vec<Call> {
    [methods(), messages(), kernels(), probes(), trainings(), transforms(), readouts(), exchanges(), feeds()]
        .concat()
}

/// Of methods and encodings.
fn methods() -> Vec<Call> {
    vec![
        call("an unknown method", "/strata.v1.Worker/Explode", message(b""), UNIMPLEMENTED, "Explode"),
        call(
            "an unknown service",
            "/strata.v9.Master/Describe",
            message(b""),
            UNIMPLEMENTED,
            "strata.v9.Master",
        ),
        call("no method at all", "/", message(b""), UNIMPLEMENTED, "call"),
        Call {
            headers: &[("grpc-encoding", "zstd")],
            ..call("an encoding that there is not", DESCRIBE, message(b""), UNIMPLEMENTED, "zstd")
        },
        call("a compressed message without an encoding", DESCRIBE, prefixed(1, 0, b""), INTERNAL, "compress"),
    ]
}

/// Whose messages are none.
fn messages() -> Vec<Call> {
    vec![
        call("a flag that there is not", DESCRIBE, prefixed(7, 0, b""), INTERNAL, "compression flag: 7"),
        call("no message", DESCRIBE, vec![], INTERNAL, "Describe"),
        call("a message that is cut in its length", DESCRIBE, vec![0, 0, 0], INTERNAL, "Describe"),
        call("a message that is cut", USE, prefixed(0, 9, &run(b"ab")), INTERNAL, "UseKernel"),
        open(
            "a message of 4 GiB",
            DESCRIBE,
            prefixed(0, u32::MAX, b"x"),
            INVALID,
            "a first message of 4294967295 bytes",
        ),
        open(
            "a first message of 63 MiB",
            TRAIN,
            prefixed(0, 63 << 20, b"x"),
            INVALID,
            "a first message of 66060288 bytes",
        ),
        call("bytes that are no message", USE, message(&[0xff; 40]), INTERNAL, "UseKernel"),
        call(
            "a field that is longer than its message",
            USE,
            message(&field(1, 100, b"ab")),
            INTERNAL,
            "UseKernel",
        ),
        call("text that is no text", USE, message(&run(b"\xff\xfe")), INTERNAL, "UseKernel"),
    ]
}

/// About kernels.
fn kernels() -> Vec<Call> {
    vec![
        call("a kernel with commands in its name", USE, message(&run(b"\x1b[2J")), INVALID, "name: found"),
        call(
            "a kernel that there is not",
            USE,
            message(&run(b"Nonsense")),
            INVALID,
            "no BLAS kernel `Nonsense`",
        ),
    ]
}

/// Of a link.
fn probes() -> Vec<Call> {
    // `payload`, of 262,145 bytes.
    let long = [vec![0x0a, 0x81, 0x80, 0x10], vec![0; 262_145]].concat();
    vec![
        open("a probe without an end", PROBE, message(b"").repeat(65), INVALID, "probe: found more parts"),
        open("a probe of a long part", PROBE, message(&long), INVALID, "payload: found 262145 bytes"),
        open(
            "a probe beyond the limit of messages",
            PROBE,
            [message(b""), prefixed(0, 2 << 20, b"x")].concat(),
            INVALID,
            "a too large message of 2097152 bytes",
        ),
    ]
}

/// About training.
fn trainings() -> Vec<Call> {
    vec![
        call("training that ends before it begins", TRAIN, vec![], INVALID, "`begin` first"),
        call("training that says nothing", TRAIN, message(b""), INVALID, "`begin` first"),
        call("training of a run without a name", TRAIN, begin(b""), INVALID, "run: found 0 bytes"),
        call(
            "training of a run of two lines",
            TRAIN,
            begin(&run(b"a\nb")),
            INVALID,
            "run: found a control character",
        ),
        call("training of no layer", TRAIN, begin(&run(b"abc")), INVALID, "spec: found nothing"),
        call(
            "training that begins in the middle",
            TRAIN,
            message(&field(2, 3, b"abc")),
            INVALID,
            "`begin` first",
        ),
        open(
            "training with bytes that are no message",
            TRAIN,
            message(&[0xff; 9]),
            INVALID,
            "failed to decode Protobuf message",
        ),
    ]
}

/// About samples that are to pass through layers, and about these.
fn transforms() -> Vec<Call> {
    vec![
        call("samples for nobody", TRANSFORM, vec![], INVALID, "`begin` first"),
        call("samples of no elements", TRANSFORM, begin(&run(b"abc")), INVALID, "wire: found 0"),
        call(
            "samples for a layer that is not there",
            TRANSFORM,
            // `inputs`: 3, `layers`: 2, `wire`: 1.
            begin(&[&run(b"abc")[..], &[0x10, 3, 0x18, 2, 0x20, 1]].concat()),
            PRECONDITION,
            "layer 0 is not hosted",
        ),
        call(
            "a message beyond the limit",
            TRANSFORM,
            [begin(&[&run(b"abc")[..], &[0x10, 3, 0x20, 1]].concat()), prefixed(0, 65 << 20, b"x")].concat(),
            INVALID,
            "too large",
        ),
        call("a layer of nothing", HOST, vec![], INVALID, "`begin` first"),
        call("a layer without a shape", HOST, begin(&run(b"abc")), INVALID, "spec: found nothing"),
    ]
}

/// From who trains the layer below.
fn feeds() -> Vec<Call> {
    vec![
        call("outputs for nobody", FEED, vec![], INVALID, "`introduction` first"),
        call("outputs of a run without a name", FEED, begin(b""), INVALID, "run: found 0 bytes"),
        call(
            "outputs for another process than this",
            FEED,
            begin(&run(b"abc")),
            INVALID,
            "introduction.to: found 0",
        ),
        call(
            "outputs without an introduction",
            FEED,
            message(&field(2, 0, b"")),
            INVALID,
            "`introduction` first",
        ),
    ]
}

/// About a readout.
fn readouts() -> Vec<Call> {
    vec![
        call("a readout that ends before it begins", READ_OUT, vec![], INVALID, "`begin` first"),
        call("a readout of nothing", READ_OUT, begin(b""), INVALID, "transform: found nothing"),
        call(
            "a readout of layers that are not there",
            READ_OUT,
            // `transform`, of `inputs`: 3, `layers`: 2, `wire`: 1.
            begin(&field(1, 11, &[&run(b"abc")[..], &[0x10, 3, 0x18, 2, 0x20, 1]].concat())),
            PRECONDITION,
            "layer 0 is not hosted",
        ),
    ]
}

/// Between those who share a layer.
fn exchanges() -> Vec<Call> {
    vec![
        call("an exchange with nobody", EXCHANGE, vec![], INVALID, "`introduction` first"),
        call("an exchange of a run without a name", EXCHANGE, begin(b""), INVALID, "run: found 0 bytes"),
        call(
            "an exchange with another process than this",
            EXCHANGE,
            begin(&run(b"abc")),
            INVALID,
            "introduction.to: found 0",
        ),
        call(
            "an exchange that begins in the middle",
            EXCHANGE,
            message(&field(2, 0, b"")),
            INVALID,
            "`introduction` first",
        ),
    ]
}

/// Makes the call; its status and the message with it.
pub async fn make(address: &str, call: &Call) -> (u16, String) {
    let made = async {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (client, connection) = client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        let mut client = client.ready().await.expect("it takes calls");
        let (answer, mut words) = client.send_request(request(call), false).expect("a call");
        // It may have been answered already.
        let _ = words.send_data(Bytes::from(call.body.clone()), call.over);
        let (head, mut body) = answer.await.expect("an answer").into_parts();
        if let Some(status) = status(&head.headers) {
            return status;
        }
        while let Some(data) = body.data().await {
            let data = data.expect("an answer to its end");
            let _ = body.flow_control().release_capacity(data.len());
        }
        let trailers = body.trailers().await.expect("an end").expect("a status");
        status(&trailers).expect("a status")
    };
    tokio::time::timeout(PATIENCE, made).await.unwrap_or_else(|_| panic!("no answer to {}", call.name))
}

fn request(call: &Call) -> Request<()> {
    let mut request = Request::post(format!("http://worker{}", call.path));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(call.headers)
    {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

fn status(headers: &HeaderMap) -> Option<(u16, String)> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let code = text("grpc-status")?.parse().ok()?;
    Some((code, text("grpc-message").unwrap_or_default()))
}
