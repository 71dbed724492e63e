//! A worker of another release: it says so, and does nothing.

use proto::wire;
use proto::wire::worker_server::{Worker, WorkerServer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// A worker in this process. It ends with this value.
pub struct OtherVersion(#[expect(dead_code, reason = "the worker runs on it")] Runtime);

impl OtherVersion {
    /// Listens at `address` and describes itself so.
    pub fn at(address: &str, description: wire::WorkerDescription) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a free address");
        let server = Server::builder().add_service(WorkerServer::new(Stranger(description)));
        runtime.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self(runtime)
    }
}

struct Stranger(wire::WorkerDescription);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Worker for Stranger {
    type TransformStream = BoxStream<wire::Rows>;
    type TrainStream = BoxStream<wire::TrainReply>;
    type ReadOutStream = BoxStream<wire::ReadoutReply>;
    type ExchangeStream = BoxStream<wire::ExchangeMessage>;

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Reply<wire::WorkerDescription> {
        Ok(Response::new(self.0.clone()))
    }

    async fn list_kernels(&self, _: Request<wire::ListKernelsRequest>) -> Reply<wire::KernelList> {
        Err(Status::unimplemented("list_kernels"))
    }

    async fn use_kernel(&self, _: Request<wire::UseKernelRequest>) -> Reply<wire::UseKernelReply> {
        Err(Status::unimplemented("use_kernel"))
    }

    async fn probe(&self, _: Request<Streaming<wire::ProbeRequest>>) -> Reply<wire::ProbeReply> {
        Err(Status::unimplemented("probe"))
    }

    async fn benchmark(&self, _: Request<wire::BenchmarkRequest>) -> Reply<wire::BenchmarkReply> {
        Err(Status::unimplemented("benchmark"))
    }

    async fn host_layer(&self, _: Request<Streaming<wire::HostLayerRequest>>) -> Reply<wire::HostLayerReply> {
        Err(Status::unimplemented("host_layer"))
    }

    async fn transform(&self, _: Request<Streaming<wire::TransformRequest>>) -> Reply<Self::TransformStream> {
        Err(Status::unimplemented("transform"))
    }

    async fn train(&self, _: Request<Streaming<wire::TrainRequest>>) -> Reply<Self::TrainStream> {
        Err(Status::unimplemented("train"))
    }

    async fn read_out(&self, _: Request<Streaming<wire::ReadoutRequest>>) -> Reply<Self::ReadOutStream> {
        Err(Status::unimplemented("read_out"))
    }

    async fn exchange(&self, _: Request<Streaming<wire::ExchangeMessage>>) -> Reply<Self::ExchangeStream> {
        Err(Status::unimplemented("exchange"))
    }

    async fn feed(&self, _: Request<Streaming<wire::FeedRequest>>) -> Reply<wire::FeedReply> {
        Err(Status::unimplemented("feed"))
    }
}
