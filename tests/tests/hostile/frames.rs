//! Peers that break the rules of HTTP/2, or keep them and mean no good: frames by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// How a worker ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The connection is closed.
    Closed,
    /// The call is broken off.
    Reset,
    /// It does no harm: the worker answers on.
    Answered,
}

/// What is thrown: its name, what it does, and what comes of it.
pub type Throw = (&'static str, fn(&mut Raw), Fate);

/// What no HTTP/2 connection begins with.
pub const WORDS: [Throw; 8] = [
    ("random bytes", |raw| raw.write(&noise(1, 4096)), Fate::Closed),
    ("a request of HTTP/1", |raw| raw.write(b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n"), Fate::Closed),
    ("a greeting of TLS", |raw| raw.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), Fate::Closed),
    ("zeros without end", |raw| raw.write(&vec![0; 1 << 20]), Fate::Closed),
    ("half a preface", |raw| (raw.write(&PREFACE[..12]), raw.hang_up()).1, Fate::Closed),
    ("a preface and random bytes", |raw| (raw.write(PREFACE), raw.write(&noise(2, 4096))).1, Fate::Closed),
    (
        "a preface and another frame than its settings",
        |raw| (raw.write(PREFACE), raw.frame(DATA, 0, 1, b"x")).1,
        Fate::Closed,
    ),
    ("a preface twice", |raw| (raw.write(PREFACE), raw.write(PREFACE)).1, Fate::Closed),
];

/// What comes after a good beginning.
pub const FRAMES: [Throw; 28] = [
    ("a frame of 16 MiB", |raw| raw.write(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]), Fate::Closed),
    ("data on no stream", |raw| raw.frame(DATA, 0, 0, b"x"), Fate::Closed),
    ("data on a stream that nobody opened", |raw| raw.frame(DATA, 0, 7, b"x"), Fate::Closed),
    ("a stream of the server's", |raw| raw.call(2, END_STREAM, &[]), Fate::Closed),
    (
        "streams in the wrong order",
        |raw| (raw.call(9, END_STREAM, &[]), raw.call(5, END_STREAM, &[])).1,
        Fate::Closed,
    ),
    ("headers that are none", |raw| raw.frame(HEADERS, END_HEADERS, 1, &[0xff; 64]), Fate::Closed),
    ("headers that grow by reference", grown_headers, Fate::Closed),
    ("headers of 20 KB, whose call gets status 431", |raw| long_headers(raw, 200), Fate::Answered),
    ("headers of 1 MB", |raw| long_headers(raw, 10_000), Fate::Closed),
    ("a continuation of nothing", |raw| raw.frame(CONTINUATION, END_HEADERS, 1, b"x"), Fate::Closed),
    ("headers without end", endless_headers, Fate::Closed),
    ("continuations without content", empty_continuations, Fate::Closed),
    ("a flood of pings", |raw| raw.flood(100_000, &frame(PING, 0, 0, &[1; 8])), Fate::Answered),
    ("a flood of answers to pings", |raw| raw.flood(100_000, &frame(PING, ACK, 0, &[1; 8])), Fate::Answered),
    (
        "a flood of settings",
        |raw| raw.flood(50_000, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
        Fate::Answered,
    ),
    ("settings that there are not", |raw| raw.frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), Fate::Closed),
    ("settings of a wrong length", |raw| raw.frame(SETTINGS, 0, 0, &[0; 5]), Fate::Closed),
    ("a ping of a wrong length", |raw| raw.frame(PING, 0, 0, b"short"), Fate::Closed),
    (
        "a window beyond all windows",
        |raw| raw.flood(2, &frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        Fate::Closed,
    ),
    ("a window that does not grow", |raw| raw.frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Fate::Closed),
    ("calls that are broken off at once", rapid_resets, Fate::Closed),
    ("calls whose answers nobody takes", no_window, Fate::Answered),
    ("more calls than there may be", many_calls, Fate::Reset),
    (
        "a flood of priorities",
        |raw| raw.flood(50_000, &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
        Fate::Answered,
    ),
    ("a flood of frames without data", empty_data, Fate::Closed),
    (
        "more padding than frame",
        |raw| (raw.call(1, 0, &[]), raw.frame(DATA, PADDED, 1, &[200, 1, 2])).1,
        Fate::Closed,
    ),
    ("a promise by a client", |raw| raw.frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), Fate::Closed),
    ("a flood of frames of no kind", |raw| raw.flood(50_000, &frame(0xee, 0xff, 3, &[7; 9])), Fate::Answered),
];

/// A connection by hand.
pub struct Raw {
    stream: TcpStream,
    /// What has come and was not looked at.
    read: Vec<u8>,
}

impl Raw {
    /// A connection on which nothing is said yet.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(strata_tests::PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        Self { stream, read: Vec::new() }
    }

    /// A connection that begins as HTTP/2 should.
    pub fn greeting(address: &str) -> Self {
        let mut raw = Self::connect(address);
        raw.write(PREFACE);
        raw.frame(SETTINGS, 0, 0, &[]);
        raw
    }

    /// Whoever is not wanted any more is not heard to the end.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload));
    }

    fn flood(&mut self, times: usize, frame: &[u8]) {
        let many = frame.repeat(1000);
        for _ in 0..times / 1000 {
            // Answers are read, or nobody would get on.
            if self.stream.write_all(&many).is_err() {
                return;
            }
            self.read_what_is_there();
        }
        self.write(&frame.repeat(times % 1000));
    }

    fn read_what_is_there(&mut self) {
        self.stream.set_nonblocking(true).expect("a socket");
        let mut bytes = [0; 16_384];
        while let Ok(read @ 1..) = self.stream.read(&mut bytes) {
            self.read.extend_from_slice(&bytes[..read]);
        }
        self.stream.set_nonblocking(false).expect("a socket");
    }

    fn hang_up(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// A call of `Describe`, without its message.
    fn call(&mut self, stream: u32, flags: u8, more: &[(&str, &str)]) {
        self.frame(HEADERS, END_HEADERS | flags, stream, &headers(more));
    }

    /// What comes of it in the end.
    pub fn fate(mut self) -> Fate {
        self.frame(PING, 0, 0, b"hostile?");
        self.end()
    }

    /// What comes of it where nothing more is said.
    pub fn end(mut self) -> Fate {
        let mut reset = false;
        let mut buffer = [0; 16_384];
        loop {
            while let Some((kind, payload)) = take_frame(&mut self.read) {
                match kind {
                    RST_STREAM => reset = true,
                    GOAWAY => return Fate::Closed,
                    PING if payload == b"hostile?" => {
                        return if reset { Fate::Reset } else { Fate::Answered };
                    }
                    _ => {}
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Fate::Closed,
                Ok(read) => self.read.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither answer nor end"),
                Err(_) => return Fate::Closed,
            }
        }
    }
}

/// The first whole frame, if there is one: its kind and what it holds.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let length = bytes.get(..3)?;
    let end = 9 + u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
    if bytes.len() < end {
        return None;
    }
    let frame: Vec<u8> = bytes.drain(..end).collect();
    Some((frame[3], frame[9..].to_vec()))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers of a call of `Describe`, as literals that nobody remembers (RFC 7541, section 6.2.2).
fn headers(more: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/strata.v1.Worker/Describe"),
        (":authority", "worker"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in own.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// One long header that is remembered, and then named by a byte each time: 4 KB of frame, and 16 MB of headers.
fn grown_headers(raw: &mut Raw) {
    let mut block = headers(&[]);
    // A literal that is remembered, of 3,900 bytes: 127 and what is left, seven bits at a time.
    block.extend([0x40, 1, b'x', 0x7f]);
    let rest = 3900 - 127;
    block.extend([(rest & 0x7f) as u8 | 0x80, (rest >> 7) as u8]);
    block.extend(vec![b'y'; 3900]);
    block.extend(vec![0xbe; 4096]);
    raw.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
}

/// A hundred bytes each.
fn long_headers(raw: &mut Raw, count: usize) {
    let block = [headers(&[]), [&[0, 1, b'a', 97][..], &[b'b'; 97]].concat().repeat(count)].concat();
    raw.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
}

fn endless_headers(raw: &mut Raw) {
    raw.frame(HEADERS, 0, 1, &headers(&[]));
    let part = [&[0, 1, b'a', 100][..], &[b'b'; 100]].concat();
    raw.flood(20_000, &frame(CONTINUATION, 0, 1, &part));
}

fn empty_continuations(raw: &mut Raw) {
    raw.frame(HEADERS, 0, 1, &headers(&[]));
    raw.flood(20_000, &frame(CONTINUATION, 0, 1, b""));
}

fn rapid_resets(raw: &mut Raw) {
    for call in 0..10_000 {
        let stream = 2 * call + 1;
        let words = [
            frame(HEADERS, END_HEADERS, stream, &headers(&[])),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ];
        if raw.stream.write_all(&words.concat()).is_err() {
            return;
        }
    }
}

/// Nothing may be sent to this client, which asks a lot.
fn no_window(raw: &mut Raw) {
    raw.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    for call in 0..60 {
        raw.call(2 * call + 1, 0, &[]);
        raw.frame(DATA, END_STREAM, 2 * call + 1, &[0; 5]);
    }
}

fn many_calls(raw: &mut Raw) {
    for call in 0..100 {
        raw.call(2 * call + 1, 0, &[]);
    }
}

fn empty_data(raw: &mut Raw) {
    raw.call(1, 0, &[]);
    raw.flood(50_000, &frame(DATA, 0, 1, b""));
}

/// SplitMix64.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
