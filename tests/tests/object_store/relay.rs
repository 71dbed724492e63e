//! The way to a store, with faults that a test orders.

#![expect(clippy::disallowed_methods, reason = "it has threads of its own")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks when half of its body has come.
    CutBody,
    /// The store does as it is told, and the connection breaks before it says so.
    CutAnswer,
    /// The store does as it is told, and says so after so long.
    Late(Duration),
    /// The store says 503, and does nothing.
    Unavailable,
}

/// Faults that some requests meet.
struct Order {
    method: &'static str,
    /// What the path contains.
    path: &'static str,
    fault: Fault,
    times: u32,
}

/// A way to a store. Its threads end with this process.
pub struct Relay {
    /// Where it begins.
    pub address: String,
    orders: Arc<Mutex<Vec<Order>>>,
    gone: Arc<AtomicBool>,
    /// Methods and paths of the requests that came.
    requests: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Way {
    store: String,
    orders: Arc<Mutex<Vec<Order>>>,
    gone: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// A way to the store at `address`.
    pub fn to(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let way = Way {
            store: address.to_owned(),
            orders: Arc::default(),
            gone: Arc::default(),
            requests: Arc::default(),
        };
        let relay = Self {
            address: own,
            orders: way.orders.clone(),
            gone: way.gone.clone(),
            requests: way.requests.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let way = way.clone();
                // A connection that breaks is what tests are about.
                std::thread::spawn(move || way.carry(stream));
            }
        });
        relay
    }

    /// The next requests of this method, so many of them, whose path contains `path`, meet a fault.
    pub fn order(&self, method: &'static str, path: &'static str, fault: Fault, times: u32) {
        self.orders.lock().unwrap().push(Order { method, path, fault, times });
    }

    /// Whether all that was ordered has happened.
    pub fn is_done(&self) -> bool {
        self.orders.lock().unwrap().is_empty()
    }

    /// From now on nobody is there, or somebody again.
    pub fn set_gone(&self, gone: bool) {
        self.gone.store(gone, Ordering::Relaxed);
    }

    /// How many requests began with `start`, such as "GET /bucket/key".
    pub fn count(&self, start: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|request| request.starts_with(start)).count()
    }
}

impl Way {
    /// Carries one request and its answer. The connection ends with it.
    fn carry(&self, mut near: TcpStream) -> io::Result<()> {
        let (head, mut body) = read_head(&mut near)?;
        if self.gone.load(Ordering::Relaxed) {
            return near.shutdown(Shutdown::Both);
        }
        let line = head.lines().next().unwrap_or_default().to_owned();
        self.requests.lock().unwrap().push(line.clone());
        let fault = self.fault(&line);
        let length = content_length(&head);
        if fault == Some(Fault::CutBody) {
            let mut far = TcpStream::connect(&self.store)?;
            read_to(&mut near, &mut body, length / 2)?;
            far.write_all(head.as_bytes())?;
            far.write_all(&body[..length / 2])?;
            return Ok(());
        }
        read_to(&mut near, &mut body, length)?;
        if fault == Some(Fault::Unavailable) {
            return near.write_all(
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        }
        let mut far = TcpStream::connect(&self.store)?;
        // No other request comes after this one.
        far.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
        far.write_all(&body)?;
        let mut answer = Vec::new();
        far.read_to_end(&mut answer)?;
        match fault {
            Some(Fault::CutAnswer) => return near.shutdown(Shutdown::Both),
            Some(Fault::Late(pause)) => std::thread::sleep(pause),
            _ => {}
        }
        near.write_all(&answer)
    }

    fn fault(&self, line: &str) -> Option<Fault> {
        let mut orders = self.orders.lock().unwrap();
        let meets = |order: &Order| line.starts_with(order.method) && line.contains(order.path);
        let place = orders.iter().position(meets)?;
        orders[place].times -= 1;
        let fault = orders[place].fault;
        if orders[place].times == 0 {
            orders.remove(place);
        }
        Some(fault)
    }
}

/// The head of a request, with the empty line, and what of its body has come with it.
fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        let length = bytes.len() + 1;
        read_to(stream, &mut bytes, length)?;
    }
}

/// Reads until there are so many bytes at least.
fn read_to(stream: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while bytes.len() < length {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

fn content_length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.flat_map(|(_, value)| value.trim().parse()).next().unwrap_or(0)
}
