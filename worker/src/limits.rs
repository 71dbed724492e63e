//! What a worker puts up with.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

/// How much peers may ask of a worker, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Calls at the same time on a connection. Each has a few messages under way.
    pub streams: u32,
    /// How long a connection may take to speak HTTP/2, and a call to say what it wants.
    pub greeting: Duration,
    /// How long a connection may be open without a call.
    pub idle: Duration,
    /// Bytes of a call's headers.
    pub headers: u32,
    /// Calls of a connection that may be broken off before they are taken up, or be broken.
    pub resets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            streams: 64,
            greeting: Duration::from_secs(10),
            idle: Duration::from_mins(5),
            headers: 16 << 10,
            resets: 64,
        }
    }
}

/// The same on the command line.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Limits for those who connect")]
pub struct LimitArgs {
    /// Connections at the same time. Of more, the one that has idled longest is closed, or the new one where none idles.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = up_to_a_million)]
    pub connections: usize,
    /// Calls at the same time on one connection.
    #[arg(long, value_name = "N", default_value_t = Limits::default().streams,
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub streams: u32,
    /// Close a connection that does not speak HTTP/2 within so many seconds, TLS included, and refuse a call that does not say
    /// what it wants.
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().greeting.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=MONTH))]
    pub greeting: u64,
    /// Close a connection on which nothing has been asked for so long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().idle.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=MONTH))]
    pub idle: u64,
    /// Bytes of a call's headers; calls with more are refused.
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(Limits::default().headers.into()),
        value_parser = headers)]
    pub headers: ByteSize,
    /// Close a connection that breaks off more calls than this before they are taken up, or makes as many that break the rules of
    /// HTTP/2.
    #[arg(long, value_name = "N", default_value_t = Limits::default().resets, value_parser = up_to_a_million)]
    pub resets: usize,
}

/// In seconds.
const MONTH: u64 = 30 * 24 * 60 * 60;

fn up_to_a_million(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("expected a number from 1 to 1,000,000".to_owned()),
    }
}

/// What a call of ours needs, and what nobody does.
fn headers(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(size @ ByteSize(1024..=16_777_216)) => Ok(size),
        _ => Err("expected a size from 1 KiB to 16 MiB".to_owned()),
    }
}

impl From<LimitArgs> for Limits {
    fn from(LimitArgs { connections, streams, greeting, idle, headers, resets }: LimitArgs) -> Self {
        let [greeting, idle] = [greeting, idle].map(Duration::from_secs);
        Self { connections, streams, greeting, idle, headers: headers.as_u64() as u32, resets }
    }
}
