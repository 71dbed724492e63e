//! Machines, what lies between them, and how long sums take on their way.

use proto::limits::slices;

use super::rates::Rates;

/// Seconds from one process to the next, besides those of the network and those in which a core sends a message or takes one.
pub const HOP: f64 = 120e-6;
/// Seconds of a core for sending a message of sums, or for taking one.
const MESSAGE: f64 = 16e-6;
/// Bytes of a number.
const NUMBER: f64 = 4.0;

/// What lies between machines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Bytes a second that a machine can send.
    pub bytes_per_second: f64,
    /// Seconds there and back.
    pub round_trip: f64,
}

impl Network {
    /// Of machines of which nothing else is known: a gigabit a second, and 0.2 ms there and back.
    pub const USUAL: Self = Self { bytes_per_second: 125e6, round_trip: 0.2e-3 };
    /// Within a machine.
    pub const LOCAL: Self = Self { bytes_per_second: 2e9, round_trip: 0.05e-3 };

    /// Seconds in which so many members of a circle add up numbers of so many bytes, in two hops. Whoever adds up sends its addends of
    /// all slices but its own and the total of its own to all others, and takes as many messages.
    pub fn round(&self, members: usize, bytes: f64, rates: &Rates) -> f64 {
        if members < 2 {
            return 0.0;
        }
        let messages = 2 * (adders(members, bytes) - 1 + members - 1);
        let hop = self.round_trip / 2.0 + HOP / rates.speed;
        2.0 * hop + MESSAGE * messages as f64 / rates.cores() + self.sending(members, bytes)
    }

    /// Those of them in which a card sends: of whoever adds up.
    pub fn sending(&self, members: usize, bytes: f64) -> f64 {
        let adders = adders(members, bytes);
        (adders - 1 + members - 1) as f64 / adders as f64 * bytes / self.bytes_per_second
    }
}

/// How many of a circle's members add up numbers of so many bytes.
fn adders(members: usize, bytes: f64) -> usize {
    slices((bytes / NUMBER) as usize, members)
}

/// Machines like the one whose rates were measured.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// How many.
    pub count: usize,
    /// What each may fill with kept activations, in bytes.
    pub cache_bytes: u64,
    /// What lies between them.
    pub network: Network,
}
