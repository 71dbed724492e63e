//! Machines, what lies between them, and how long sums take on their way.

/// Seconds for handing sums from one process to the next.
const HOP: f64 = 150e-6;

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

    /// Seconds in which so many members of a circle add up numbers of so many bytes, in two hops.
    pub fn round(&self, members: usize, bytes: f64) -> f64 {
        let hops = if members < 2 { 0.0 } else { 2.0 };
        hops * (self.round_trip / 2.0 + HOP) + self.sending(members, bytes)
    }

    /// Those of them in which a member's network card sends: its addends of all slices but its own, and the total of its own to all others.
    pub fn sending(&self, members: usize, bytes: f64) -> f64 {
        2.0 * (members - 1) as f64 / members as f64 * bytes / self.bytes_per_second
    }
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
