//! The gRPC service: messages in, messages out.

use std::sync::Arc;

use proto::wire;
use proto::wire::worker_server::Worker;
use tonic::{Request, Response, Status, Streaming};

use crate::activity::Call;
use crate::node::Node;
use crate::{describe, hosting, train, transform};

/// `strata.v1.Worker`.
pub struct Service {
    node: Arc<Node>,
}

impl Service {
    /// The service of a worker.
    pub fn new(node: Node) -> Self {
        Self { node: Arc::new(node) }
    }
}

#[tonic::async_trait]
impl Worker for Service {
    type TransformStream = transform::Replies;
    type TrainStream = train::Replies;

    async fn describe(
        &self,
        request: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::WorkerDescription>, Status> {
        drop(Call::of(&request));
        Ok(Response::new(describe::description(&self.node)))
    }

    async fn host_layer(
        &self,
        requests: Request<Streaming<wire::HostLayerRequest>>,
    ) -> Result<Response<wire::HostLayerReply>, Status> {
        let _call = Call::of(&requests);
        hosting::host(&self.node, requests.into_inner()).await?;
        Ok(Response::new(wire::HostLayerReply {}))
    }

    async fn transform(
        &self,
        requests: Request<Streaming<wire::TransformRequest>>,
    ) -> Result<Response<Self::TransformStream>, Status> {
        let call = Call::of(&requests);
        Ok(Response::new(transform::stream(Arc::clone(&self.node), requests.into_inner(), call)))
    }

    async fn train(
        &self,
        requests: Request<Streaming<wire::TrainRequest>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        let call = Call::of(&requests);
        Ok(Response::new(train::stream(Arc::clone(&self.node), requests.into_inner(), call)))
    }
}
