//! The links to workers, measured: how long a call takes there and back, and how many bytes a second go there. In which grids
//! workers stand is chosen for the slowest of them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use proto::address::Address;
use tokio::time::timeout;

use crate::clock::Stopwatch;
use crate::cluster::{Worker, WorkerFailure};
use crate::estimate::{HOP, Network};
use crate::worker_id::WorkerId;

/// Calls of which the fastest counts.
const CALLS: u32 = 5;
/// How long each of both figures may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of the first probe: soon over on slow links ...
const FIRST: usize = 64 << 10;
/// ... of the one after, so many times as many ...
const GROWTH: usize = 4;
/// ... and of the last: what fast links need to show what they are.
const LAST: usize = 4 << 20;
/// Probes of the most bytes that a link could take, of which the fastest counts.
const PROBES: u32 = 3;
/// Bytes a second that are worth telling apart, at most: 20 Gbit/s.
const FASTEST: f64 = 2.5e9;

/// The links of a run's workers. Each process is measured once, so that choices stay as they are while the workers do.
#[derive(Debug, Default)]
pub struct Links(HashMap<WorkerId, Option<Network>>);

impl Links {
    /// Whether the link to a worker was measured before, or could not be.
    pub fn is_known(&self, worker: WorkerId) -> bool {
        self.0.contains_key(&worker)
    }

    /// Measures the link to a worker that nothing was sent to yet. One that cannot be measured counts as usual: whoever is gone is found
    /// out by what follows.
    pub async fn measure(&mut self, worker: &Worker) -> Option<Network> {
        let measured = measured(worker).await;
        if let Err(reason) = &measured {
            tracing::warn!("{reason}; its link counts as one of {}", Network::USUAL);
        }
        let link =
            measured.ok().map(|link| if is_loopback(&worker.address) { at_best_usual(link) } else { link });
        self.0.insert(worker.id, link);
        link
    }

    /// What lies between workers, as the slowest of their links has it.
    pub fn slowest(&self, workers: impl IntoIterator<Item = WorkerId>) -> Network {
        let link = |worker| self.0.get(&worker).copied().flatten().unwrap_or(Network::USUAL);
        workers.into_iter().map(link).reduce(slower).unwrap_or(Network::USUAL)
    }
}

/// What two links come to.
fn slower(one: Network, other: Network) -> Network {
    Network {
        bytes_per_second: one.bytes_per_second.min(other.bytes_per_second),
        round_trip: one.round_trip.max(other.round_trip),
    }
}

/// A link within this machine, to workers that stand for others. How fast they are reached says nothing of a network, and depends on what else the
/// machine has to do.
fn at_best_usual(link: Network) -> Network {
    slower(link, Network::USUAL)
}

/// Whether a worker was given as one of this machine.
fn is_loopback(address: &Address) -> bool {
    match address.socket.parse::<SocketAddr>() {
        Ok(socket) => socket.ip().is_loopback(),
        Err(_) => address.name == "localhost",
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (megabits, milliseconds) = (8e-6 * self.bytes_per_second, 1e3 * self.round_trip);
        let (number, unit) = if megabits < 1e3 { (megabits, "Mbit/s") } else { (megabits / 1e3, "Gbit/s") };
        write!(f, "{number:.1} {unit}, {milliseconds:.2} ms there and back")
    }
}

/// Probes of as many bytes as a link could take so far, for whoever has much else to do may be late once.
#[derive(Clone, Copy, Debug)]
struct Probes {
    bytes: usize,
    /// How many there were of so many bytes.
    count: u32,
    /// Seconds of the fastest of them.
    fastest: f64,
    /// Of all, bytes and seconds of the one with the most bytes a second.
    best: Option<(usize, f64)>,
}

impl Probes {
    /// None yet.
    fn of(bytes: usize) -> Self {
        Self { bytes, count: 0, fastest: f64::INFINITY, best: None }
    }

    /// One more has taken so many seconds.
    fn took(self, seconds: f64) -> Self {
        let better = self.best.is_none_or(|(bytes, best)| self.bytes as f64 * best > bytes as f64 * seconds);
        let best = if better { Some((self.bytes, seconds)) } else { self.best };
        Self { count: self.count + 1, fastest: self.fastest.min(seconds), best, ..self }
    }

    /// Bytes a second of a link on which calls of no bytes take `call` seconds.
    fn bytes_per_second(self, call: f64) -> f64 {
        let rate = |(bytes, seconds): (usize, f64)| bytes as f64 / (seconds - call).max(0.0);
        self.best.map_or(FASTEST, rate).min(FASTEST)
    }

    /// Those to go on with: of more bytes where that is over within `left` seconds, or of as many.
    fn next(self, left: f64) -> Option<Self> {
        if GROWTH * self.bytes <= LAST && GROWTH as f64 * self.fastest <= left {
            return Some(Self { best: self.best, ..Self::of(GROWTH * self.bytes) });
        }
        (self.count < PROBES && left > 0.0).then_some(self)
    }
}

async fn measured(worker: &Worker) -> Result<Network, String> {
    let call = empty_call(worker).await?;
    let (began, mut probes) = (Stopwatch::start(), Probes::of(FIRST));
    loop {
        let probed = timeout(PATIENCE, probe(worker, probes.bytes)).await;
        // What takes longer counts as if it had come just then.
        probes = probes.took(probed.unwrap_or(Ok(PATIENCE.as_secs_f64()))?);
        let Some(next) = probes.next(PATIENCE.as_secs_f64() - began.seconds()) else { break };
        probes = next;
    }
    Ok(Network { bytes_per_second: probes.bytes_per_second(call), round_trip: on_the_way(call) })
}

/// The seconds of a call in which nothing is in either process.
fn on_the_way(call: f64) -> f64 {
    (call - 2.0 * HOP).max(0.0)
}

/// Seconds of the fastest of some calls that carry nothing.
async fn empty_call(worker: &Worker) -> Result<f64, String> {
    let (began, mut fastest) = (Stopwatch::start(), f64::INFINITY);
    for _ in 0..CALLS {
        let late = |_| format!("{worker}: no answer to a probe within {} s", PATIENCE.as_secs());
        match timeout(PATIENCE, probe(worker, 0)).await.map_err(late) {
            Ok(seconds) => fastest = seconds?.min(fastest),
            Err(late) if fastest.is_infinite() => return Err(late),
            Err(_) => break,
        }
        if began.elapsed() >= PATIENCE {
            break;
        }
    }
    Ok(fastest)
}

/// How many seconds pass until a worker says that it has taken so many bytes.
async fn probe(worker: &Worker, bytes: usize) -> Result<f64, String> {
    let (mut client, parts) = (worker.client(), proto::probe::parts(bytes));
    let watch = Stopwatch::start();
    let answered = client.probe(tokio_stream::iter(parts)).await;
    let seconds = watch.seconds();
    let refused = |status| WorkerFailure::of(worker, &status).to_string();
    let found = answered.map_err(refused)?.into_inner().bytes;
    if found != bytes as u64 {
        return Err(format!("{worker}: a probe's bytes: found {found}, expected {bytes}"));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(megabits: f64, milliseconds: f64) -> Network {
        Network { bytes_per_second: megabits * 1e6 / 8.0, round_trip: milliseconds / 1e3 }
    }

    #[test]
    fn what_processes_take_is_not_of_the_link() {
        assert!(on_the_way(0.14e-3).abs() < f64::EPSILON);
        assert!((on_the_way(5.24e-3) - 5e-3).abs() < 1e-12);
    }

    #[test]
    fn what_a_call_takes_is_no_sending() {
        let rate = |seconds| Probes::of(1_000_000).took(seconds).bytes_per_second(0.02);
        assert!((rate(0.1) - 12.5e6).abs() < 1e-3);
        for seconds in [0.0, 0.01, 0.02, 0.020_001] {
            assert!((rate(seconds) - FASTEST).abs() < 1.0, "{seconds}");
        }
    }

    /// What a link of so many bytes a second is found to have, and how many bytes and seconds that takes. Probes are late by so many
    /// seconds, one after the other.
    fn course(bytes_per_second: f64, late: &[f64]) -> (f64, usize, f64) {
        let (mut probes, mut sent, mut spent) = (Probes::of(FIRST), 0, 0.0);
        let mut late = late.iter().chain(std::iter::repeat(&0.0));
        loop {
            let seconds = probes.bytes as f64 / bytes_per_second + late.next().expect("no end");
            (sent, spent) = (sent + probes.bytes, spent + seconds);
            probes = probes.took(seconds);
            match probes.next(PATIENCE.as_secs_f64() - spent) {
                Some(next) => probes = next,
                None => return (probes.bytes_per_second(0.0), sent, spent),
            }
        }
    }

    #[test]
    fn slow_links_are_measured_by_fewer_bytes() {
        let sent = |bytes_per_second| course(bytes_per_second, &[]).1;
        assert_eq!(sent(125e6), (1 + 4 + 16 + 3 * 64) * FIRST, "1 Gbit/s");
        assert_eq!(sent(1.25e6), (1 + 3 * 4) * FIRST, "10 Mbit/s");
        assert_eq!(sent(1e5), 2 * FIRST, "0.8 Mbit/s");
        assert_eq!(sent(1e4), FIRST, "0.08 Mbit/s");
        for bytes_per_second in (5..=90).map(|tenths| 10f64.powf(f64::from(tenths) / 10.0)) {
            let (found, sent, seconds) = course(bytes_per_second, &[]);
            assert!((found / bytes_per_second - 1.0).abs() < 1e-9, "{found}, expected {bytes_per_second}");
            assert!(seconds <= 2.0 || sent == FIRST, "{bytes_per_second}: {seconds} s");
        }
    }

    #[test]
    fn whoever_is_late_once_has_no_slow_link() {
        for late in 0..6 {
            let mut seconds = [0.0; 6];
            seconds[late] = 0.5;
            assert!((course(125e6, &seconds).0 / 125e6 - 1.0).abs() < 1e-9, "{late}");
        }
    }

    #[test]
    fn the_slowest_counts_and_who_is_unknown_is_usual() {
        let links =
            [(1, Some(link(20_000.0, 0.1))), (2, Some(link(50.0, 8.0))), (3, Some(link(900.0, 30.0)))];
        let links =
            Links(links.into_iter().chain([(4, None)]).map(|(id, link)| (WorkerId(id), link)).collect());
        let slowest = |ids: &[u64]| links.slowest(ids.iter().copied().map(WorkerId));
        assert_eq!(slowest(&[1]), link(20_000.0, 0.1));
        assert_eq!(slowest(&[1, 2, 3]), link(50.0, 30.0));
        assert_eq!((slowest(&[1, 4]), slowest(&[])), (Network::USUAL, Network::USUAL));
    }

    #[test]
    fn loopback_is_no_faster_than_a_usual_link_and_may_be_slower() {
        assert_eq!(at_best_usual(link(20_000.0, 0.05)), Network::USUAL);
        assert_eq!(at_best_usual(link(50.0, 8.0)), link(50.0, 8.0));
        let is_loopback = |given| is_loopback(&Address::given(given));
        assert!(["127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "localhost:1"].into_iter().all(is_loopback));
        assert!(!["10.0.0.2:1", "[fe80::1]:1", "worker:1"].into_iter().any(is_loopback));
    }

    #[test]
    fn links_are_worded_in_the_units_that_they_are_sold_in() {
        let worded = [link(20_000.0, 0.087), link(940.4, 0.31), link(2.5, 41.0)].map(|link| link.to_string());
        let expected = ["20.0 Gbit/s, 0.09 ms", "940.4 Mbit/s, 0.31 ms", "2.5 Mbit/s, 41.00 ms"]
            .map(|link| format!("{link} there and back"));
        assert_eq!(worded, expected);
    }
}
