//! The server around the service.

use std::future::Future;
use std::time::Duration;

use proto::limits::{FRAME_BYTES, MESSAGE_BYTES, WINDOW_BYTES};
use proto::wire::worker_server::WorkerServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::compute::Compute;
use crate::describe::Machine;
use crate::node::Node;
use crate::service::Service;
use crate::system::System;

/// A peer that says nothing for this long is asked whether it is there ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ... and is gone if it does not answer within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long streams may take to end when the worker does.
const GRACE: Duration = Duration::from_secs(5);
/// Streams of one connection. Each has a few messages under way.
const STREAMS: u32 = 64;

/// How a worker is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that compute.
    pub threads: usize,
    /// Memory for kept activations, in bytes.
    pub cache_bytes: u64,
}

/// Why a worker cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No threads to compute on.
    #[error("starting the compute threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The connection failed.
    #[error("serving: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves on `listener` until `shutdown` returns; then streams end with an error, and so does the server.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (close, closing) = watch::channel(false);
    let compute = Compute::new(settings.threads)?;
    let node =
        Node::new(Machine::look(), compute, System::of_the_machine(), settings.cache_bytes, closing.clone());
    let service = WorkerServer::new(Service::new(node)).max_decoding_message_size(MESSAGE_BYTES);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<WorkerServer<Service>>().await;
    let server = Server::builder()
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        // One stream that waits must not keep the others of its connection waiting.
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health_service)
        .add_service(service)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            closed(closing.clone()),
        );
    let end = async {
        shutdown.await;
        tracing::info!("shutting down");
        let _ = close.send(true);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => Ok(result?),
        () = end => Ok(()),
    }
}

async fn closed(mut closing: watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}
