//! A server in this process, and clients of it that give up after a while.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use proto::dial::Dialer;
use proto::limits::PAYLOAD_BYTES;
use proto::observe::Observed;
use proto::self_test::Tester;
use proto::silence::Silence;
use proto::state::{Header, encode, sha256};
use proto::wire;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::wire::worker_client::WorkerClient;
use scff::frozen::FrozenLayer;
use scff::layer::LayerState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use worker::incoming::incoming;
use worker::limits::Limits;
use worker::{Ended, ServeError, Settings, serve};

use crate::fixture::{Stage, frozen, spec, state_of};

/// Nothing here takes a second, except on a machine that has much else to do.
const DEADLINE: Duration = Duration::from_mins(1);

pub type Client = WorkerClient<Channel>;

/// Waits, but not for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it happens before the deadline")
}

pub async fn connect(address: SocketAddr) -> Channel {
    soon(Channel::from_shared(format!("http://{address}")).unwrap().connect()).await.unwrap()
}

/// A worker in this process. It ends when this value is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub ended: JoinHandle<Result<Ended, ServeError>>,
}

pub const CACHE_BYTES: u64 = 10_000;

pub async fn server() -> Server {
    server_with(Limits::default()).await
}

/// A worker that lets in no more than `limits` say.
pub async fn server_with(limits: Limits) -> Server {
    server_at("127.0.0.1:0".parse().unwrap(), limits).await
}

/// A worker that gives up who is silent for so long.
pub async fn server_of(silence: Duration) -> Server {
    let silence = Silence::seconds(silence.as_secs() as u16);
    let dialer = Dialer { silence, ..Dialer::default() };
    start("127.0.0.1:0".parse().unwrap(), Limits::default(), dialer).await
}

/// A worker at this address.
pub async fn server_at(address: SocketAddr, limits: Limits) -> Server {
    start(address, limits, Dialer::default()).await
}

async fn start(address: SocketAddr, limits: Limits, dialer: Dialer) -> Server {
    scff::blas::use_one_thread_per_call();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let incoming = incoming(listener, None, limits);
    let observed = Observed::new();
    let settings = Settings {
        threads: 2,
        cache_bytes: CACHE_BYTES,
        grace: Duration::ZERO,
        hang_in_step: None,
        tester: Tester::default(),
        limits,
        observed,
    };
    let ended = tokio::spawn(serve(incoming, dialer, settings, async { drop(stopped.await) }));
    Server { address, stop, ended }
}

impl Server {
    pub async fn client(&self) -> Client {
        Client::new(connect(self.address).await)
    }
}

/// What hosts a layer: begin and parts.
pub fn host_requests(run: &str, layer: u32, frozen: &FrozenLayer) -> Vec<wire::HostLayerRequest> {
    let bytes = encode(&[("", frozen.parameters())], Header::new());
    let begin = wire::HostLayerBegin {
        run: run.to_owned(),
        layer,
        spec: Some(frozen.spec().into()),
        length: bytes.len() as u64,
        sha256: sha256(&bytes),
    };
    let begin = wire::host_layer_request::Request::Begin(begin);
    let parts = bytes.chunks(100).map(|part| wire::host_layer_request::Request::Part(part.to_vec().into()));
    [begin]
        .into_iter()
        .chain(parts)
        .map(|request| wire::HostLayerRequest { request: Some(request) })
        .collect()
}

pub async fn host(client: &mut Client, run: &str, layers: std::ops::Range<u32>) {
    for layer in layers {
        assert_eq!(frozen(layer).spec(), &spec(layer));
        let requests = host_requests(run, layer, &frozen(layer));
        soon(client.host_layer(tokio_stream::iter(requests))).await.unwrap();
    }
}

/// One training stream, from the client's end.
pub struct Training {
    pub requests: mpsc::Sender<wire::TrainRequest>,
    pub replies: Streaming<wire::TrainReply>,
}

impl Training {
    /// Opens a stream and says nothing yet.
    pub async fn open(client: &mut Client) -> Self {
        let (requests, stream) = mpsc::channel(256);
        let replies = soon(client.train(ReceiverStream::new(stream))).await.unwrap().into_inner();
        Self { requests, replies }
    }

    /// Opens a stream and sends what comes before the first batch.
    pub async fn begin(client: &mut Client, stage: &Stage) -> Self {
        let training = Self::open(client).await;
        training.send(Request::Begin(stage.begin())).await;
        for part in stage.state.chunks(PAYLOAD_BYTES.min(1000)) {
            training.send(Request::State(part.to_vec().into())).await;
        }
        training
    }

    /// The same, and waits until it is taken in.
    pub async fn ready(client: &mut Client, stage: &Stage) -> Self {
        let mut training = Self::begin(client, stage).await;
        assert_eq!(training.reply().await.unwrap(), Some(Reply::Ready(wire::Ready {})));
        training
    }

    /// A worker that has ended the stream takes nothing more, which its reply explains.
    pub async fn send(&self, request: Request) {
        let _ = soon(self.requests.send(wire::TrainRequest { request: Some(request) })).await;
    }

    pub async fn send_all(&self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.send(request).await;
        }
    }

    /// The next reply; `None` where the stream has ended well.
    pub async fn reply(&mut self) -> Result<Option<Reply>, Status> {
        Ok(soon(self.replies.message()).await?.map(|reply| reply.reply.expect("a reply says something")))
    }

    pub async fn report(&mut self) -> wire::StepReport {
        match self.reply().await.unwrap() {
            Some(Reply::Step(report)) => {
                // How long it took, and what is kept, is not for the mathematics to say.
                assert!(report.waiting_seconds >= 0.0, "{report:?}");
                wire::StepReport { waiting_seconds: 0.0, kept_bytes: 0, ..report }
            }
            other => panic!("no report: {other:?}"),
        }
    }

    /// The state after the batches so far.
    pub async fn checkpoint(&mut self) -> Vec<u8> {
        self.send(Request::Checkpoint(wire::Checkpoint {})).await;
        let mut bytes = Vec::new();
        loop {
            let Some(Reply::State(part)) = self.reply().await.unwrap() else { panic!("no state") };
            bytes.extend_from_slice(&part.part);
            if bytes.len() as u64 == part.length {
                assert_eq!(state_of(&bytes).step.0, part.step);
                return bytes;
            }
        }
    }

    /// Ends the stream: all is well, and nothing is left to say.
    pub async fn finish(self) {
        let Self { requests, mut replies } = self;
        drop(requests);
        assert_eq!(soon(replies.message()).await.unwrap(), None);
    }

    /// What the stream ended with.
    pub async fn refusal(mut self) -> Status {
        loop {
            match self.reply().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}

/// Trains so many steps: the reports, and the state after them.
pub async fn train(
    client: &mut Client,
    stage: &Stage,
    steps: u64,
) -> (Vec<wire::StepReport>, LayerState, Vec<u8>) {
    let mut training = Training::ready(client, stage).await;
    training.send_all(stage.requests(steps)).await;
    let mut reports = Vec::new();
    for _ in 0..steps {
        reports.push(training.report().await);
    }
    let bytes = training.checkpoint().await;
    training.finish().await;
    (reports, state_of(&bytes), bytes)
}

/// Asserts that the worker is well: another client's training goes as it should.
pub async fn assert_serves(server: &Server) {
    let stage = Stage::plain();
    let (reports, state, _) = train(&mut server.client().await, &stage, 2).await;
    assert_eq!((reports, state), stage.expect(2));
}
