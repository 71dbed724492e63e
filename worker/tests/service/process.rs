//! The `worker` program.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use proto::refusal::{Reason, Refused};
use proto::wire;
use proto::wire::host_layer_request::Request;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::client::{Client, Training, connect, host_requests, soon};
use crate::fixture::{Stage, frozen};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A worker process. It is killed when this value is dropped.
struct Worker {
    child: Child,
    address: SocketAddr,
}

impl Worker {
    fn start(arguments: &[&str]) -> Self {
        let mut command = command(&["--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").expect("the first line").trim_end().parse().unwrap();
        Self { child, address }
    }

    async fn client(&self) -> Client {
        Client::new(connect(self.address).await)
    }

    async fn describe(&self) -> wire::WorkerDescription {
        soon(self.client().await.describe(wire::DescribeRequest {})).await.unwrap().into_inner()
    }

    /// The kernel in use, if the worker is there and not changing.
    async fn kernel_in_use(&self) -> Option<String> {
        let channel =
            Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.ok()?;
        let description = Client::new(channel).describe(wire::DescribeRequest {}).await.ok()?;
        Some(description.into_inner().blas_kernel)
    }

    async fn kernels(&self, in_use: bool) -> Vec<wire::Kernel> {
        let request = wire::ListKernelsRequest { in_use };
        soon(self.client().await.list_kernels(request)).await.unwrap().into_inner().kernels
    }

    async fn use_kernel(&self, name: &str) -> Result<(), Status> {
        let request = wire::UseKernelRequest { name: name.to_owned() };
        soon(self.client().await.use_kernel(request)).await.map(drop)
    }

    fn resident_bytes(&self) -> u64 {
        let process = procfs::process::Process::new(self.child.id() as i32).unwrap();
        process.status().unwrap().vmrss.expect("a living process") * 1024
    }

    /// Waits for the process's own end.
    async fn succeeds(mut self) {
        let status = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        assert!(soon(status).await.unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fails(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && stdout.is_empty(), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[tokio::test]
async fn a_worker_ends_when_its_input_does() {
    let mut worker = Worker::start(&["--until-stdin-closes"]);
    worker.describe().await;
    drop(worker.child.stdin.take());
    worker.succeeds().await;
}

#[tokio::test]
async fn a_worker_ends_when_told_to_and_tells_its_clients() {
    let worker = Worker::start(&["--threads", "1", "--grace", "0"]);
    let training = Training::ready(&mut worker.client().await, &Stage::plain()).await;
    let pid = worker.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(training.refusal().await.code(), Code::Unavailable);
    worker.succeeds().await;
}

#[test]
fn a_worker_refuses_to_be_open_to_anybody() {
    let error = fails(&["--listen", "0.0.0.0:0"]);
    assert!(error.contains("0.0.0.0:0") && error.contains("--insecure"), "{error}");
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(fails(&["--listen", &address]).contains(&address));
}

#[tokio::test]
async fn a_worker_runs_the_blas_kernel_it_is_told_or_says_why_not() {
    let own = scff::blas::kernel();
    let worker = Worker::start(&["--blas-kernel", &own]);
    assert_eq!(worker.describe().await.blas_kernel, own);
    let error = fails(&["--blas-kernel", "Abacus"]);
    assert!(error.contains("`Abacus` was asked for"), "{error}");
}

#[tokio::test]
async fn a_worker_changes_its_kernel_in_place_while_nobody_uses_it() {
    let worker = Worker::start(&["--threads", "1"]);
    let (own, digest) = (worker.describe().await.blas_kernel, |kernel: &wire::Kernel| kernel.digest.clone());
    let kernels = worker.kernels(false).await;
    let in_use = worker.kernels(true).await;
    assert!(in_use.iter().all(|kernel| kernel.name == own && kernels.contains(kernel)), "{in_use:?}");
    let Some(other) = kernels.iter().find(|kernel| digest(kernel) != digest(&in_use[0])) else {
        println!("skipped: this machine has no two BLAS kernels of different bits");
        return;
    };
    let training = Training::ready(&mut worker.client().await, &Stage::plain()).await;
    let refused = Refused::read(&worker.use_kernel(&other.name).await.unwrap_err());
    assert_eq!((refused.reason, refused.passing), (Reason::Busy { run: "test".into(), layer: 0 }, true));
    training.finish().await;
    soon(async {
        // The session may last a little longer than its stream.
        while worker.use_kernel(&other.name).await.is_err() {}
        while worker.kernel_in_use().await != Some(other.name.clone()) {}
    })
    .await;
    assert_eq!(worker.kernels(true).await, std::slice::from_ref(other));
    let training = Training::ready(&mut worker.client().await, &Stage::plain()).await;
    training.finish().await;
    let refused = Refused::read(&worker.use_kernel("Abacus").await.unwrap_err());
    assert_eq!((refused.reason, refused.passing), (Reason::Malformed, false));
    assert!(refused.message.contains("no BLAS kernel `Abacus`; it has "), "{}", refused.message);
}

#[tokio::test]
async fn what_was_kept_for_a_client_that_vanishes_is_given_back() {
    const ELEMENTS: usize = 1 << 17;
    const KEPT: u64 = 128 << 20;
    let worker = Worker::start(&["--cache-memory", "1GiB"]);
    let before = worker.resident_bytes();
    let stage = Stage::wide(ELEMENTS, 256);
    let mut training = Training::ready(&mut worker.client().await, &stage).await;
    let mut kept = std::collections::HashSet::new();
    for step in 0..KEPT / (5 * 4 * ELEMENTS as u64) {
        training.send_all(stage.distinct_samples(step, &mut kept)).await;
        training.report().await;
    }
    assert!(worker.resident_bytes() > before + KEPT / 2, "activations are kept");
    drop(training);
    soon(async {
        while worker.resident_bytes() > before + KEPT / 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_promise_of_many_bytes_takes_no_memory() {
    const PROMISE: u64 = 4 << 30;
    let worker = Worker::start(&[]);
    let before = worker.describe().await;
    assert!(before.memory_bytes > PROMISE, "this test needs a machine that could keep the promise");
    let mut client = worker.client().await;
    let (requests, stream) = tokio::sync::mpsc::channel(2);
    let mut message = host_requests("test", 0, &frozen(0)).remove(0);
    if let Some(Request::Begin(begin)) = &mut message.request {
        begin.length = PROMISE;
    }
    requests.send(message).await.unwrap();
    let hosting = tokio::spawn(async move { client.host_layer(ReceiverStream::new(stream)).await });
    let training = Training::open(&mut worker.client().await).await;
    let begin = wire::TrainBegin { state_length: PROMISE, ..Stage::plain().begin() };
    training.send(proto::wire::train_request::Request::Begin(begin)).await;
    training.send(proto::wire::train_request::Request::State(vec![0; 10].into())).await;
    // The stream's end says that the rest is missing: so all before it was taken in.
    let Training { requests: training_requests, mut replies } = training;
    drop(training_requests);
    let refusal = soon(replies.message()).await.unwrap_err();
    assert!(refusal.message().contains("4294967286 more bytes of `state`"), "{refusal}");
    drop(requests);
    let refusal = soon(hosting).await.unwrap().unwrap_err();
    assert!(refusal.message().contains("0 bytes of parts, expected 4294967296 bytes"), "{refusal}");
    let grown = worker.describe().await.peak_rss_bytes - before.peak_rss_bytes;
    assert!(grown < 64 << 20, "{grown} bytes");
}
