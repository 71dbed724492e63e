//! The door: connections that come in, as many as there is room for, and none that say nothing or idle for long.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::activity::{Activity, end_when_idle};

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections that may owe it at the same time: of more, the oldest goes.
const STRANGERS: usize = 64;
/// Before looking again whether the rest of it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Before trying again, where no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(20);
/// At most one line about the same trouble in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// How many connections a worker has, and how long it puts up with them.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// How long one may take to speak HTTP/2.
    pub greeting: Duration,
    /// How long one may be open without a call.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections: 256, greeting: Duration::from_secs(10), idle: Duration::from_mins(5) }
    }
}

/// A stream of connections that speak HTTP/2.
pub fn incoming(listener: TcpListener, limits: ConnectionLimits) -> ReceiverStream<io::Result<Visitor>> {
    let (admitted, stream) = mpsc::channel(1);
    let door = Door {
        limits,
        room: Arc::new(Semaphore::new(limits.connections)),
        strangers: VecDeque::new(),
        admitted,
        trouble: Trouble::default(),
    };
    tokio::spawn(door.keep(listener));
    ReceiverStream::new(stream)
}

struct Door {
    limits: ConnectionLimits,
    room: Arc<Semaphore>,
    /// Those who have not spoken yet, oldest first.
    strangers: VecDeque<AbortHandle>,
    admitted: mpsc::Sender<io::Result<Visitor>>,
    trouble: Trouble,
}

impl Door {
    /// Until nobody takes the stream's connections any more.
    async fn keep(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.admitted.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.greet(stream, peer),
                Err(error) => {
                    self.trouble.tell(format_args!("no connection can be accepted: {error}"));
                    self.turn_away_oldest();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn greet(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.strangers.retain(|stranger| !stranger.is_finished());
        if self.strangers.len() >= STRANGERS {
            self.turn_away_oldest();
        }
        let Self { limits, room, admitted, .. } = self;
        let (limits, room, admitted) = (*limits, room.clone(), admitted.clone());
        let greeting = tokio::spawn(async move {
            match greeted(&stream, limits.greeting).await {
                Ok(()) => {}
                Err(reason) => return tracing::debug!(%peer, "a connection is closed: {reason}"),
            }
            let Ok(place) = room.try_acquire_owned() else {
                return tracing::warn!(%peer, "a connection is closed: {} are open", limits.connections);
            };
            let _ = stream.set_nodelay(true);
            let _ = admitted.send(Ok(Visitor::new(stream, place, peer, limits.idle))).await;
        });
        self.strangers.push_back(greeting.abort_handle());
    }

    fn turn_away_oldest(&mut self) {
        if let Some(oldest) = self.strangers.pop_front() {
            oldest.abort();
        }
    }
}

/// Whether a peer speaks HTTP/2, as far as its first words tell; they stay to be read.
async fn greeted(stream: &TcpStream, within: Duration) -> Result<(), String> {
    let peeked = async {
        let mut words = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut words).await {
                Ok(0) => return Err("it said nothing".to_owned()),
                Ok(length) if words[..length] != PREFACE[..length] => {
                    return Err(format!("it began with {:?}", words[..length].escape_ascii().to_string()));
                }
                Ok(length) if length == PREFACE.len() => return Ok(()),
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let silent = |_| Err(format!("it said nothing for {} s", within.as_secs()));
    tokio::time::timeout(within, peeked).await.unwrap_or_else(silent)
}

/// Says what is the matter, but not all the time.
#[derive(Default)]
struct Trouble {
    told: Option<tokio::time::Instant>,
}

impl Trouble {
    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        if self.told.is_none_or(|told| told.elapsed() >= COMPLAIN_EVERY) {
            self.told = Some(tokio::time::Instant::now());
            tracing::warn!("{what}");
        }
    }
}

/// A connection. It ends when it has idled for too long.
pub struct Visitor {
    stream: TcpStream,
    activity: Arc<Activity>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

impl Visitor {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, peer: SocketAddr, idle: Duration) -> Self {
        let activity = Arc::new(Activity::new());
        tokio::spawn(end_when_idle(Arc::downgrade(&activity), peer, idle));
        let ended = Box::pin(activity.ended());
        Self { stream, activity, ended, _place: place }
    }
}

impl Connected for Visitor {
    type ConnectInfo = Arc<Activity>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.activity.clone()
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(())); // The end of what comes in.
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Visitor {
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
