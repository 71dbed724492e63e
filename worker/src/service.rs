//! The gRPC service: messages in, messages out.

use std::sync::Arc;

use proto::wire::worker_server::Worker;
use proto::{kernels, wire};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::activity::Call;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::{benchmark, describe, hosting, inlets, peers, probe, readout, train, transform};

/// `strata.v1.Worker`.
pub struct Service {
    node: Arc<Node>,
}

impl Service {
    /// The service of a worker.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl Worker for Service {
    type TransformStream = transform::Replies;
    type TrainStream = train::Replies;
    type ReadOutStream = readout::Replies;
    type ExchangeStream = BoxStream<wire::ExchangeMessage>;

    async fn describe(
        &self,
        request: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::WorkerDescription>, Status> {
        drop(Call::of(&request));
        Ok(Response::new(describe::description(&self.node)))
    }

    async fn list_kernels(
        &self,
        request: Request<wire::ListKernelsRequest>,
    ) -> Result<Response<wire::KernelList>, Status> {
        let call = Call::of(&request);
        call.by_coordinator("asking for BLAS kernels")?;
        let kernels = &self.node.kernels;
        let list = if request.into_inner().in_use { kernels.in_use().await } else { kernels.offered().await };
        Ok(Response::new(wire::KernelList { kernels: list.iter().map(Into::into).collect() }))
    }

    async fn use_kernel(
        &self,
        request: Request<wire::UseKernelRequest>,
    ) -> Result<Response<wire::UseKernelReply>, Status> {
        let call = Call::of(&request);
        call.by_coordinator("changing the BLAS kernel")?;
        let name = kernels::text("name", request.into_inner().name).map_err(Refusal::from)?;
        self.node.kernels.change_to(&name, &self.node.slot).await?;
        Ok(Response::new(wire::UseKernelReply {}))
    }

    async fn probe(
        &self,
        parts: Request<Streaming<wire::ProbeRequest>>,
    ) -> Result<Response<wire::ProbeReply>, Status> {
        let call = Call::of(&parts);
        call.by_coordinator("probing the link")?;
        let bytes = probe::count(&self.node, parts.into_inner()).await?;
        Ok(Response::new(wire::ProbeReply { bytes }))
    }

    async fn benchmark(
        &self,
        request: Request<wire::BenchmarkRequest>,
    ) -> Result<Response<wire::BenchmarkReply>, Status> {
        let call = Call::of(&request);
        call.by_coordinator("measuring how fast this worker computes")?;
        let operations_per_second = benchmark::operations_per_second(&self.node).await?;
        Ok(Response::new(wire::BenchmarkReply { operations_per_second }))
    }

    async fn host_layer(
        &self,
        requests: Request<Streaming<wire::HostLayerRequest>>,
    ) -> Result<Response<wire::HostLayerReply>, Status> {
        let call = Call::of(&requests);
        call.by_coordinator("hosting layers")?;
        hosting::host(&self.node, requests.into_inner()).await?;
        Ok(Response::new(wire::HostLayerReply {}))
    }

    async fn transform(
        &self,
        requests: Request<Streaming<wire::TransformRequest>>,
    ) -> Result<Response<Self::TransformStream>, Status> {
        let call = Call::of(&requests);
        call.by_coordinator("transforming samples")?;
        Ok(Response::new(transform::stream(Arc::clone(&self.node), requests.into_inner(), call)))
    }

    async fn train(
        &self,
        requests: Request<Streaming<wire::TrainRequest>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        let call = Call::of(&requests);
        Ok(Response::new(train::stream(Arc::clone(&self.node), requests.into_inner(), call)))
    }

    async fn read_out(
        &self,
        requests: Request<Streaming<wire::ReadoutRequest>>,
    ) -> Result<Response<Self::ReadOutStream>, Status> {
        let call = Call::of(&requests);
        call.by_coordinator("training a readout")?;
        Ok(Response::new(readout::stream(Arc::clone(&self.node), requests.into_inner(), call)))
    }

    async fn exchange(
        &self,
        messages: Request<Streaming<wire::ExchangeMessage>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let call = Call::of(&messages);
        Ok(Response::new(peers::welcome(&self.node, messages.into_inner(), call).await?))
    }

    async fn feed(
        &self,
        messages: Request<Streaming<wire::FeedRequest>>,
    ) -> Result<Response<wire::FeedReply>, Status> {
        let call = Call::of(&messages);
        inlets::welcome(&self.node, messages.into_inner(), call).await?;
        Ok(Response::new(wire::FeedReply {}))
    }
}
