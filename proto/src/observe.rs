//! What a process shows to whoever watches it, over HTTP: `/metrics` for Prometheus, `/live` and `/ready` for probes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, IntGauge, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::serve;
use crate::machine::resident_bytes;

/// A process that can be watched.
#[derive(Clone, Debug)]
pub struct Observed {
    registry: Registry,
    resident: IntGauge,
    ready: Arc<watch::Sender<bool>>,
}

impl Observed {
    /// A process that is not ready yet.
    pub fn new() -> Self {
        let registry = Registry::new();
        let resident = IntGauge::with_opts(Opts::new("process_resident_memory_bytes", "Resident memory."));
        let resident = resident.expect("a valid name");
        registry.register(Box::new(resident.clone())).expect("the first of its name");
        Self { registry, resident, ready: Arc::new(watch::Sender::new(false)) }
    }

    /// Where the process registers its metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Says whether it can do what it is there for.
    pub fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Shows it at an address until the process ends; returns the address, with the port that was found where none was named.
    pub async fn show(self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/live", get(async || "live\n"))
            .route("/ready", get(ready))
            .with_state(self);
        tokio::spawn(serve(listener, routes));
        tracing::info!("metrics on http://{address}/metrics, probes on /live and /ready");
        Ok(address)
    }
}

impl Default for Observed {
    fn default() -> Self {
        Self::new()
    }
}

async fn ready(State(observed): State<Observed>) -> Response {
    if *observed.ready.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn metrics(State(observed): State<Observed>) -> Response {
    observed.resident.set(resident_bytes() as i64);
    let mut text = Vec::new();
    match TextEncoder::new().encode(&observed.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
