//! Connections to workers. [`Dialer::dial`] is the one place that makes them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::address::Address;
use crate::refusal::{Reason, Refused, innermost, printable};
use crate::silence::{Heard, Silence};
use crate::stream::Stream;
use crate::tls::{Tls, distrust};
use crate::wire::worker_client::WorkerClient;
use crate::wire::worker_server::SERVICE_NAME;
use crate::{PROTOCOL_VERSION, limits, wire};

/// What calls go through.
pub type Client = WorkerClient<Channel>;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);

/// Reaches workers.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    /// How long they may be silent.
    pub silence: Silence,
    /// Who we are, and whom we trust; nobody asks where this is not set.
    pub tls: Option<Arc<Tls>>,
}

/// A connection to a worker. It comes to one process and is made once: where it has broken, calls fail, and who wants to go on
/// dials again and asks who is there now.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
    channel: Channel,
    heard: Heard,
    silence: Silence,
    encrypted: bool,
    left: Arc<AtomicBool>,
}

/// Why a worker could not be reached.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialError {
    /// No address.
    #[error("{address}: not an address: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        reason: String,
    },
    /// Nobody listens there.
    #[error("{address}: {reason}")]
    Connect {
        /// The address.
        address: String,
        /// The innermost reason.
        reason: String,
    },
    /// One of both does not trust the other.
    #[error("{address}: {reason}")]
    Distrust {
        /// The address.
        address: String,
        /// Who does not trust whom, and why.
        reason: String,
    },
    /// Somebody listens there who is no worker.
    #[error("{address}: no Strata worker: {message}")]
    Describe {
        /// The address.
        address: String,
        /// What it answered.
        message: String,
    },
    /// A worker of another version.
    #[error("{address}: speaks protocol version {found} (worker {version}), expected {PROTOCOL_VERSION}")]
    Version {
        /// The address.
        address: String,
        /// Its protocol version.
        found: u32,
        /// Its release.
        version: String,
    },
}

impl Dialer {
    /// Connects to the worker at `address` and asks it who it is.
    pub async fn dial(&self, address: &Address) -> Result<(Connection, wire::WorkerDescription), DialError> {
        let connection = self.connect(address).await?;
        let mut client = connection.client();
        let within = self.silence.duration();
        let described = tokio::time::timeout(within, client.describe(wire::DescribeRequest {})).await;
        let late = |_| DialError::Describe {
            address: address.to_string(),
            message: format!("it does not say who it is within {} s", within.as_secs()),
        };
        let described = described.map_err(late)?;
        let description = fit(described.map_err(|status| connection.unknown(address, &status))?.into_inner());
        if description.protocol_version != PROTOCOL_VERSION {
            let (found, version) = (description.protocol_version, description.version);
            return Err(DialError::Version { address: address.to_string(), found, version });
        }
        Ok((connection, description))
    }

    async fn connect(&self, address: &Address) -> Result<Connection, DialError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| DialError::Address { address: address.to_string(), reason: innermost(&error) })?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(self.silence.ask_after())
            .keep_alive_timeout(self.silence.answer_within())
            .keep_alive_while_idle(true)
            .initial_stream_window_size(limits::WINDOW_BYTES)
            // One stream that waits must not keep the others of its connection waiting.
            .initial_connection_window_size(4 * limits::WINDOW_BYTES)
            .max_frame_size(limits::FRAME_BYTES);
        let heard = Heard::now();
        let connector = tower::service_fn({
            let (address, tls, heard) = (address.clone(), self.tls.clone(), heard.clone());
            let made = Arc::new(AtomicBool::new(false));
            move |_| reach(address.clone(), tls.clone(), heard.clone(), made.clone())
        });
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
            let (address, reason) = (address.to_string(), innermost(&error));
            match heard.trouble() {
                Some(reason) => DialError::Distrust { address, reason },
                None => DialError::Connect { address, reason },
            }
        })?;
        let client = WorkerClient::new(channel.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        Ok(Connection {
            client,
            channel,
            heard,
            silence: self.silence,
            encrypted: self.tls.is_some(),
            left: Arc::default(),
        })
    }
}

/// What a worker says of itself, fit to be printed and kept.
pub fn fit(description: wire::WorkerDescription) -> wire::WorkerDescription {
    let wire::WorkerDescription { version, cpu, blas, blas_kernel, training, .. } = &description;
    let [version, cpu, blas, blas_kernel, training] =
        [version, cpu, blas, blas_kernel, training].map(|text| printable(text));
    wire::WorkerDescription { version, cpu, blas, blas_kernel, training, ..description }
}

/// `made`: whether it has been before. Another time another process might listen there.
async fn reach(
    address: Address,
    tls: Option<Arc<Tls>>,
    heard: Heard,
    made: Arc<AtomicBool>,
) -> io::Result<TokioIo<HeardStream>> {
    if made.swap(true, Ordering::Relaxed) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let stream = TcpStream::connect(&address.socket).await?;
    stream.set_nodelay(true)?;
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => secured(&tls, stream, &address.name, &heard).await?,
    };
    heard.again();
    Ok(TokioIo::new(HeardStream { stream, heard }))
}

async fn secured(tls: &Tls, stream: TcpStream, name: &str, heard: &Heard) -> io::Result<Stream> {
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let connected = TlsConnector::from(tls.configs().client).connect(name, stream).await;
    let stream = connected.inspect_err(|error| {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let closed = matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe);
        let trouble = closed.then(|| "it speaks no TLS, or closed the connection".to_owned());
        if let Some(trouble) = distrust(error).or(trouble) {
            heard.lost(trouble);
        }
    })?;
    Ok(Stream::Tls(Box::new(stream.into())))
}

impl Connection {
    /// What calls go through; all at the same time if need be.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// How long the worker may be silent.
    pub fn silence(&self) -> Silence {
        self.silence
    }

    /// Returns once the worker's health says that it is about to end; never, where its connection ends before that.
    pub async fn leaving(&self) {
        let service = SERVICE_NAME.to_owned();
        let watched = HealthClient::new(self.channel.clone()).watch(HealthCheckRequest { service }).await;
        if let Ok(watched) = watched {
            let mut changes = watched.into_inner();
            while let Ok(Some(change)) = changes.message().await {
                if change.status == ServingStatus::NotServing as i32 {
                    self.left.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// Whether [`Self::leaving`] has returned, here or on a clone.
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Why a peer that was just connected to does not say who it is.
    fn unknown(&self, address: &Address, status: &Status) -> DialError {
        let address = address.to_string();
        if let Some(reason) = self.heard.trouble() {
            return DialError::Distrust { address, reason };
        }
        let Refused { reason, message, .. } = self.refused(status);
        let hint = match reason {
            Reason::Broken if !self.encrypted => "; a worker with certificates expects one (--tls-cert)",
            _ => "",
        };
        DialError::Describe { address, message: format!("{message}{hint}") }
    }

    /// What the worker says instead of what it was asked for; or that it says nothing.
    pub fn refused(&self, status: &Status) -> Refused {
        let refused = Refused::read(status);
        let silent = self.heard.ago();
        // HTTP/2 gives up a peer that is silent as one whose connection broke.
        let given_up = refused.reason == Reason::Broken && status.details().is_empty();
        if given_up && silent >= self.silence.answer_within() {
            return Refused::passing(Reason::Silent, format!("silent for {} s", silent.as_secs()));
        }
        refused
    }
}

/// A connection that notes when the peer was last heard.
struct HeardStream {
    stream: Stream,
    heard: Heard,
}

impl AsyncRead for HeardStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) => self.heard.again(),
            // A peer that does not accept our certificate says so once we think that all is well.
            Poll::Ready(Err(error)) => {
                if let Some(trouble) = distrust(error) {
                    self.heard.lost(trouble);
                }
            }
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for HeardStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
