//! A worker that is none of ours: it does what a test says.

use proto::wire::worker_server::{Worker, WorkerServer};
use proto::{PROTOCOL_VERSION, limits, wire};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// What it does.
#[derive(Clone)]
pub struct Manners {
    /// What it says of itself.
    pub description: wire::WorkerDescription,
    /// Which kernels it says that it has.
    pub kernels: Vec<wire::Kernel>,
    /// How many bytes it says that it has taken of a probe of so many; nothing where it does not answer.
    pub probe: fn(u64) -> Option<u64>,
    /// How many operations a second it says that it does; nothing where it does not answer.
    pub benchmark: fn() -> Option<f64>,
    /// Its replies to a training stream that begins so.
    pub train: fn(wire::TrainBegin) -> BoxStream<wire::TrainReply>,
    /// Its reply to some rows, which is sent so many times.
    pub transform: fn(wire::Rows) -> (wire::Rows, usize),
    /// Its replies to a readout that begins so; no more come after all requests.
    pub read_out: fn(wire::ReadoutBegin) -> BoxStream<wire::ReadoutReply>,
}

impl Default for Manners {
    /// Those of a worker that takes layers in and never trains.
    fn default() -> Self {
        let description = wire::WorkerDescription {
            protocol_version: PROTOCOL_VERSION,
            version: "0.1.0".to_owned(),
            threads: 1,
            blas: "OpenBLAS".to_owned(),
            blas_kernel: "Nonesuch".to_owned(),
            identity: 7,
            ..wire::WorkerDescription::default()
        };
        let kernels = vec![wire::Kernel { name: "Nonesuch".to_owned(), digest: "0123".to_owned() }];
        Self {
            description,
            kernels,
            probe: Some,
            benchmark: || Some(1e11),
            train: |_| Box::pin(tokio_stream::pending()),
            transform: |rows| (rows, 1),
            read_out: |_| Box::pin(tokio_stream::pending()),
        }
    }
}

/// An impostor in this process. It ends with this value.
pub struct Impostor {
    /// Where it listens.
    pub address: String,
    _runtime: Runtime,
}

impl Impostor {
    /// Listens at a free address.
    pub fn new(manners: Manners) -> Self {
        Self::at("127.0.0.1:0", manners)
    }

    /// Listens at `address`.
    pub fn at(address: &str, manners: Manners) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a free address");
        let address = listener.local_addr().expect("an address").to_string();
        let service = WorkerServer::new(manners)
            .max_decoding_message_size(2 * limits::MESSAGE_BYTES)
            .max_encoding_message_size(2 * limits::MESSAGE_BYTES);
        let server = Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, _runtime: runtime }
    }
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Worker for Manners {
    type TransformStream = BoxStream<wire::Rows>;
    type TrainStream = BoxStream<wire::TrainReply>;
    type ReadOutStream = BoxStream<wire::ReadoutReply>;
    type ExchangeStream = BoxStream<wire::ExchangeMessage>;

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Reply<wire::WorkerDescription> {
        Ok(Response::new(self.description.clone()))
    }

    async fn list_kernels(&self, _: Request<wire::ListKernelsRequest>) -> Reply<wire::KernelList> {
        Ok(Response::new(wire::KernelList { kernels: self.kernels.clone() }))
    }

    async fn use_kernel(&self, _: Request<wire::UseKernelRequest>) -> Reply<wire::UseKernelReply> {
        Ok(Response::new(wire::UseKernelReply {}))
    }

    async fn probe(&self, parts: Request<Streaming<wire::ProbeRequest>>) -> Reply<wire::ProbeReply> {
        let (mut parts, mut bytes) = (parts.into_inner(), 0);
        while let Some(part) = parts.message().await? {
            bytes += part.payload.len() as u64;
        }
        match (self.probe)(bytes) {
            Some(bytes) => Ok(Response::new(wire::ProbeReply { bytes })),
            None => std::future::pending().await,
        }
    }

    async fn benchmark(&self, _: Request<wire::BenchmarkRequest>) -> Reply<wire::BenchmarkReply> {
        match (self.benchmark)() {
            Some(operations_per_second) => Ok(Response::new(wire::BenchmarkReply { operations_per_second })),
            None => std::future::pending().await,
        }
    }

    async fn host_layer(
        &self,
        requests: Request<Streaming<wire::HostLayerRequest>>,
    ) -> Reply<wire::HostLayerReply> {
        let mut requests = requests.into_inner();
        while requests.message().await?.is_some() {}
        Ok(Response::new(wire::HostLayerReply {}))
    }

    async fn transform(
        &self,
        requests: Request<Streaming<wire::TransformRequest>>,
    ) -> Reply<Self::TransformStream> {
        use tokio_stream::StreamExt;
        use wire::transform_request::Request;
        let transform = self.transform;
        let replies = requests.into_inner().filter_map(move |request| match request.ok()?.request? {
            Request::Begin(_) => None,
            Request::Rows(rows) => Some(transform(rows)),
        });
        // As often as it likes to.
        let replies = tokio_stream::StreamExt::map(replies, |(rows, times)| vec![rows; times]);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            tokio::pin!(replies);
            while let Some(rows) = replies.next().await {
                for rows in rows {
                    if sender.send(Ok(rows)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn train(&self, requests: Request<Streaming<wire::TrainRequest>>) -> Reply<Self::TrainStream> {
        let mut requests = requests.into_inner();
        let first = requests.message().await?.and_then(|request| request.request);
        let Some(wire::train_request::Request::Begin(begin)) = first else {
            return Err(Status::invalid_argument("no `begin`"));
        };
        // What else comes is taken and forgotten.
        tokio::spawn(async move { while let Ok(Some(_)) = requests.message().await {} });
        Ok(Response::new((self.train)(begin)))
    }

    async fn read_out(
        &self,
        requests: Request<Streaming<wire::ReadoutRequest>>,
    ) -> Reply<Self::ReadOutStream> {
        let mut requests = requests.into_inner();
        let first = requests.message().await?.and_then(|request| request.request);
        let Some(wire::readout_request::Request::Begin(begin)) = first else {
            return Err(Status::invalid_argument("no `begin`"));
        };
        // Its stream ends after all requests.
        let (open, end) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let _open = open;
            while let Ok(Some(_)) = requests.message().await {}
        });
        let end = tokio_stream::wrappers::ReceiverStream::new(end);
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain((self.read_out)(begin), end))))
    }

    async fn exchange(&self, _: Request<Streaming<wire::ExchangeMessage>>) -> Reply<Self::ExchangeStream> {
        Err(Status::unimplemented("exchange"))
    }

    async fn feed(&self, _: Request<Streaming<wire::FeedRequest>>) -> Reply<wire::FeedReply> {
        Err(Status::unimplemented("feed"))
    }
}
