//! Machines, and what lies between them.

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
