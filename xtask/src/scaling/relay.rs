//! A link made of a process's own threads, for kernels that add no delay: bytes are passed on later, and only so many a second.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::hosts::Link;

/// Bytes that are passed on together, at most.
const PIECE: usize = 16 << 10;
/// Pieces on their way.
const PIECES: usize = 1024;

/// The network card of a worker: whoever connects to the relay's address talks to the worker, all of them through one card.
///
/// Its threads end with this process.
pub struct Relay {
    /// Where it listens.
    pub address: String,
}

/// One direction of a card.
struct Lane {
    link: Link,
    /// When what was taken in so far has gone out.
    free: Mutex<Instant>,
}

impl Relay {
    /// Puts `link` in front of the worker at `address`.
    pub fn to(address: &str, link: Link) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a relay's port")?;
        let own = listener.local_addr()?.to_string();
        let worker = address.to_owned();
        let [there, back] = [(); 2].map(|()| Arc::new(Lane { link, free: Mutex::new(Instant::now()) }));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // A worker that cannot be reached is noticed by whoever dials: the connection closes.
                let Ok(far) = TcpStream::connect(&worker) else { continue };
                let _ = carry(&near, &far, &there).and_then(|()| carry(&far, &near, &back));
            }
        });
        Ok(Self { address: own })
    }
}

/// Begins to carry what comes from one end to the other.
fn carry(from: &TcpStream, to: &TcpStream, lane: &Arc<Lane>) -> std::io::Result<()> {
    to.set_nodelay(true)?;
    let (from, to, lane) = (from.try_clone()?, to.try_clone()?, Arc::clone(lane));
    let (pieces, due) = sync_channel(PIECES);
    std::thread::spawn(move || take_in(from, &lane, &pieces));
    std::thread::spawn(move || give_out(&due, to));
    Ok(())
}

fn take_in(mut from: TcpStream, lane: &Lane, pieces: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if pieces.send((lane.due(bytes), buffer[..bytes].to_vec())).is_err() {
            break;
        }
    }
}

fn give_out(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, piece) in pieces {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl Lane {
    /// When so many bytes that come now are at the other end.
    fn due(&self, bytes: usize) -> Instant {
        let sending = Duration::from_secs_f64(8e-6 * bytes as f64 / f64::from(self.link.megabits));
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(Instant::now()) + sending;
        *free + Duration::from_secs_f64(self.link.round_trip_ms / 2e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that sends back what it gets.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut near, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            near.read_to_end(&mut bytes).unwrap();
            near.write_all(&bytes).unwrap();
        });
        address
    }

    #[test]
    fn bytes_come_whole_and_no_sooner_than_the_link_lets_them() {
        let relay = Relay::to(&echo(), Link { megabits: 80, round_trip_ms: 20.0 }).unwrap();
        let sent: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
        let mut stream = TcpStream::connect(&relay.address).unwrap();
        let began = Instant::now();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut come = Vec::new();
        stream.read_to_end(&mut come).unwrap();
        assert_eq!(come, sent);
        // 10 ms each way for the bytes, and a round trip.
        assert!(began.elapsed() >= Duration::from_millis(40), "{:?}", began.elapsed());
    }
}
