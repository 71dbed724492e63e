//! A way to a worker that can be cut, in one direction alone, or is slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the worker.
    There,
    /// From the worker.
    Back,
}

/// A way to a worker: whoever connects to its address talks to the worker, until it is cut.
pub struct Wire {
    /// Where it begins.
    pub address: String,
    there: Arc<Cut>,
    back: Arc<Cut>,
    connections: Arc<AtomicUsize>,
}

/// From which connection on a direction is cut.
struct Cut(AtomicUsize);

impl Cut {
    fn none() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(usize::MAX)))
    }

    fn has(&self, connection: usize) -> bool {
        connection >= self.0.load(Ordering::Relaxed)
    }
}

impl Wire {
    /// A way to the worker at `address`. Its threads end with this process.
    pub fn to(address: &str) -> Self {
        Self::open(address, [None, None])
    }

    /// A way to the worker at `address` on which so many bytes a second come back.
    pub fn slow(address: &str, bytes_per_second: u32) -> Self {
        Self::open(address, [None, Some(bytes_per_second)])
    }

    /// A way to the worker at `address` on which so many bytes a second go there and come back.
    pub fn slow_both_ways(address: &str, bytes_per_second: u32) -> Self {
        Self::open(address, [Some(bytes_per_second); 2])
    }

    fn open(address: &str, [there_per_second, back_per_second]: [Option<u32>; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("an address").to_string();
        let [there, back] = [(); 2].map(|()| Cut::none());
        let connections = Arc::new(AtomicUsize::new(0));
        let (worker, ways) = (address.to_owned(), (there.clone(), back.clone()));
        let count = connections.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let Ok(far) = TcpStream::connect(&worker) else { continue };
                let (near_too, far_too) =
                    (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
                let (there, back) = ways.clone();
                std::thread::spawn(move || carry(near, far, &|| there.has(number), there_per_second));
                std::thread::spawn(move || carry(far_too, near_too, &|| back.has(number), back_per_second));
            }
        });
        Self { address: own, there, back, connections }
    }

    /// From now on nothing gets through in this direction, and nobody is told.
    pub fn cut(&self, direction: Direction) {
        self.cut_from(0, direction);
    }

    /// The same of connections that came after so many others.
    pub fn cut_from(&self, connection: usize, direction: Direction) {
        let way = if direction == Direction::There { &self.there } else { &self.back };
        way.0.store(connection, Ordering::Relaxed);
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Carries bytes until there are no more, at most so many a second. Those that come once the way is cut are lost.
fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &dyn Fn() -> bool, per_second: Option<u32>) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if let Some(per_second) = per_second {
            std::thread::sleep(Duration::from_secs_f64(bytes as f64 / f64::from(per_second)));
        }
        if !is_cut() && to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    if !is_cut() {
        let _ = to.shutdown(Shutdown::Write);
    }
}
