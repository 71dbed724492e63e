//! The door: connections that come in, as many as there is room for, and none that say nothing or idle for long.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use proto::stream::Stream;
use proto::tls::{Role, Tls, distrust, peer_role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::activity::{Activity, end_when_idle};
use crate::complaints::Complaints;
use crate::farewell::Farewell;
use crate::limits::Limits;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What every TLS connection begins with: a record of its handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Connections that may owe their beginning at the same time: of more, the oldest goes.
const STRANGERS: usize = 64;
/// For a connection that is refused to be closed at both ends ...
const PARTING: Duration = Duration::from_secs(1);
/// ... after so many bytes at most.
const LAST_WORDS: u64 = 64 << 10;
/// Before trying again, where no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// A stream of connections that speak HTTP/2, within TLS where there are certificates.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Limits,
) -> ReceiverStream<io::Result<Visitor>> {
    let (admitted, stream) = mpsc::channel(1);
    let room = Arc::new(Semaphore::new(limits.connections));
    let (guests, complaints) = (Guests::default(), Complaints::default());
    let door = Door { limits, tls, room, guests, admitted, complaints };
    tokio::spawn(keep(door, listener));
    ReceiverStream::new(stream)
}

#[derive(Clone)]
struct Door {
    limits: Limits,
    tls: Option<Arc<Tls>>,
    room: Arc<Semaphore>,
    guests: Guests,
    admitted: mpsc::Sender<io::Result<Visitor>>,
    complaints: Complaints,
}

/// Lets connections in until nobody takes them any more.
async fn keep(door: Door, listener: TcpListener) {
    // Those who have not spoken yet, oldest first.
    let mut strangers: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.admitted.closed() => return,
        };
        strangers.retain(|stranger| !stranger.is_finished());
        let crowded = strangers.len() >= STRANGERS;
        if crowded {
            door.complaints
                .tell(&format!("{STRANGERS} connections have said nothing yet; the oldest is closed"));
        }
        if (accepted.is_err() || crowded)
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.abort();
        }
        match accepted {
            Ok((stream, peer)) => {
                strangers.push_back(tokio::spawn(door.clone().greet(stream, peer)).abort_handle());
            }
            Err(error) => {
                door.complaints.tell(&format!("no connection can be accepted: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Door {
    async fn greet(self, stream: TcpStream, peer: SocketAddr) {
        let Self { limits, tls, room, guests, admitted, complaints } = self;
        let refused = match tokio::time::timeout(limits.greeting, greeted(stream, tls)).await {
            Err(_) => Refused::silent(limits.greeting),
            Ok(Err(refused)) => refused,
            Ok(Ok((stream, role))) => match place(room, &guests).await {
                None => Refused::new(format!("there are {} at work already", limits.connections), stream),
                Some(place) => {
                    let activity = Arc::new(Activity::new(role, peer));
                    guests.add(&activity);
                    tokio::spawn(end_when_idle(Arc::downgrade(&activity), limits.idle));
                    let visitor = Visitor::new(stream, place, activity, complaints);
                    // Nobody takes it where the worker is about to end.
                    let _ = admitted.send(Ok(visitor)).await;
                    return;
                }
            },
        };
        complaints.tell(&format!("a connection of {} is closed: {}", peer.ip(), refused.reason));
        refused.part().await;
    }
}

/// A place for one more connection: where all are taken, that of the one that has idled longest.
async fn place(room: Arc<Semaphore>, guests: &Guests) -> Option<OwnedSemaphorePermit> {
    match room.clone().try_acquire_owned() {
        Ok(place) => Some(place),
        Err(_) if guests.show_out() => tokio::time::timeout(PARTING, room.acquire_owned()).await.ok()?.ok(),
        Err(_) => None,
    }
}

/// The connections that were let in.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<Vec<Weak<Activity>>>>);

impl Guests {
    fn add(&self, activity: &Arc<Activity>) {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(Arc::downgrade(activity));
    }

    /// Ends the connection that has idled longest; returns whether one idled at all.
    fn show_out(&self) -> bool {
        let guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = guests.iter().filter_map(|guest| {
            let guest = guest.upgrade()?;
            Some((guest.idle_since()?, guest))
        });
        let longest = idle.min_by_key(|(since, _)| *since);
        longest.inspect(|(_, guest)| guest.finish()).is_some()
    }
}

/// A connection that is not let in.
struct Refused {
    reason: String,
    stream: Option<Stream>,
}

impl Refused {
    fn new(reason: String, stream: Stream) -> Self {
        Self { reason, stream: Some(stream) }
    }

    fn silent(greeting: Duration) -> Self {
        Self { reason: format!("it said nothing for {} s", greeting.as_secs()), stream: None }
    }

    /// Closes the connection so that its peer can read what was said last: what it has sent itself must be read for that.
    async fn part(self) {
        let Some(mut stream) = self.stream else { return };
        let parted = async {
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(LAST_WORDS), &mut tokio::io::sink()).await
        };
        let _ = tokio::time::timeout(PARTING, parted).await;
    }
}

/// The connection once its peer has spoken HTTP/2, and the role in which it has come, where there are certificates.
async fn greeted(stream: TcpStream, tls: Option<Arc<Tls>>) -> Result<(Stream, Option<Role>), Refused> {
    let _ = stream.set_nodelay(true);
    let (mut stream, role) = match &tls {
        None => (Stream::Plain(stream), None),
        Some(tls) => secured(stream, tls).await?,
    };
    match expect_preface(&mut stream).await {
        Ok(()) => Ok((stream, role)),
        Err(reason) => Err(Refused::new(reason, stream)),
    }
}

async fn secured(stream: TcpStream, tls: &Tls) -> Result<(Stream, Option<Role>), Refused> {
    let accepted = TlsAcceptor::from(tls.configs().server).accept(stream).into_fallible().await;
    let stream = accepted.map_err(|(error, stream)| {
        Refused::new(distrust(&error).unwrap_or_else(|| error.to_string()), Stream::Plain(stream))
    })?;
    let role = peer_role(stream.get_ref().1.peer_certificates());
    let stream = Stream::Tls(Box::new(stream.into()));
    match role {
        None => Err(Refused::new("its certificate is for no role".to_owned(), stream)),
        role => Ok((stream, role)),
    }
}

async fn expect_preface(stream: &mut Stream) -> Result<(), String> {
    let (mut words, mut length) = ([0; PREFACE.len()], 0);
    while length < PREFACE.len() {
        match stream.read(&mut words[length..]).await {
            Ok(0) => return Err("it was closed at the other end".to_owned()),
            Ok(more) => length += more,
            Err(error) => return Err(distrust(&error).unwrap_or_else(|| error.to_string())),
        }
        if words[0] == HANDSHAKE && matches!(stream, Stream::Plain(_)) {
            return Err("it speaks TLS, and this worker has no certificate (--tls-cert)".to_owned());
        }
        if words[..length] != PREFACE[..length] {
            let said = words[..length].escape_ascii().to_string();
            return Err(format!("it began with {said:?}, expected HTTP/2"));
        }
    }
    Ok(())
}

/// A connection. It ends when it has idled for too long.
pub struct Visitor {
    /// What was read for the greeting.
    unread: &'static [u8],
    stream: Stream,
    activity: Arc<Activity>,
    farewell: Farewell,
    complaints: Complaints,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

impl Visitor {
    fn new(
        stream: Stream,
        place: OwnedSemaphorePermit,
        activity: Arc<Activity>,
        complaints: Complaints,
    ) -> Self {
        let (ended, farewell) = (Box::pin(activity.ended()), Farewell::default());
        Self { unread: PREFACE, stream, activity, farewell, complaints, ended, _place: place }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if let Some(rule) = self.farewell.broken_rule() {
            let peer = self.activity.peer().ip();
            self.complaints.tell(&format!("a connection of {peer} broke the rules of HTTP/2: {rule}"));
        }
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
        if !self.unread.is_empty() {
            let (now, later) = self.unread.split_at(self.unread.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.unread = later;
            return Poll::Ready(Ok(()));
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.farewell.note(&bytes[..*count]);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(mut count)) = written {
            for slice in slices {
                let of_slice = count.min(slice.len());
                self.farewell.note(&slice[..of_slice]);
                count -= of_slice;
            }
        }
        written
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
