//! The server around the service.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use proto::dial::Dialer;
use proto::limits::{FRAME_BYTES, MESSAGE_BYTES, WINDOW_BYTES};
use proto::wire::worker_server::WorkerServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tower::layer::layer_fn;

use crate::calls::Calls;
use crate::compute::Compute;
use crate::kernels::Kernels;
use crate::machine::Machine;
use crate::node::Node;
use crate::service::Service;
use crate::settings::Settings;
use crate::system::System;

/// How long streams may take to end when the worker does.
const GRACE: Duration = Duration::from_secs(5);

/// Why a worker no longer serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was to shut down.
    ShutDown,
    /// It is to compute with the BLAS kernel of this name, for which its process is to be executed anew.
    ForKernel(String),
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

/// Serves on the connections of `incoming` until `shutdown` returns, or a client asks for another kernel; then streams end with
/// an error, and so does the server. `dialer` reaches those who share a layer with this worker.
pub async fn serve<C>(
    incoming: impl Stream<Item = io::Result<C>>,
    dialer: Dialer,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<Ended, ServeError>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (close, closing) = watch::channel(false);
    let compute = Compute::new(settings.threads, dialer.silence.duration())?;
    let (system, kernels) = (System::of_the_machine(), Kernels::new(settings.tester.clone()));
    let silence = dialer.silence;
    let node = Node::new(Machine::look(), compute, system, dialer, &settings, kernels, closing.clone());
    let node = Arc::new(node);
    let service = WorkerServer::new(Service::new(Arc::clone(&node))).max_decoding_message_size(MESSAGE_BYTES);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<WorkerServer<Service>>().await;
    settings.observed.set_ready(true);
    let limits = settings.limits;
    let complaints = node.complaints.clone();
    let server = Server::builder()
        .layer(layer_fn(move |methods| Calls { methods, complaints: complaints.clone() }))
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(limits.streams)
        .http2_max_header_list_size(limits.headers)
        .http2_max_pending_accept_reset_streams(Some(limits.resets))
        .http2_max_local_error_reset_streams(Some(limits.resets))
        .initial_stream_window_size(WINDOW_BYTES)
        // One stream that waits must not keep the others of its connection waiting.
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .http2_keepalive_interval(Some(silence.ask_after()))
        .http2_keepalive_timeout(Some(silence.answer_within()))
        .add_service(health_service)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, closed(closing));
    let mut ended = Ended::ShutDown;
    let end = async {
        tokio::pin!(shutdown);
        tokio::select! {
            () = &mut shutdown => {}
            kernel = node.kernels.change() => {
                tracing::info!("changing to BLAS kernel {kernel}");
                let _ = close.send(true);
                ended = Ended::ForKernel(kernel);
                tokio::select! {
                    () = &mut shutdown => {}
                    () = tokio::time::sleep(GRACE) => return,
                }
            }
        }
        ended = Ended::ShutDown;
        // Coordinators watch this: they take over what is under way, and send nothing new.
        node.slot.leave();
        settings.observed.set_ready(false);
        health.set_not_serving::<WorkerServer<Service>>().await;
        tracing::info!("leaving: nothing new begins here");
        if tokio::time::timeout(settings.grace, node.streams_end()).await.is_err() {
            tracing::warn!("what is under way is cut off after {} s", settings.grace.as_secs());
        }
        tracing::info!("shutting down");
        let _ = close.send(true);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result?,
        () = end => {}
    }
    Ok(ended)
}

async fn closed(mut closing: watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}
