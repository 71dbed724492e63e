//! The machine that a worker runs on.

use proto::machine::{Cores, Memory, processor};

/// The machine that a worker runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's model; empty where it is unknown.
    pub cpu: String,
    /// Its cores that this process may use.
    pub cores: Cores,
    /// Memory that this process may use.
    pub memory: Memory,
}

impl Machine {
    /// Looks at the machine that this process runs on.
    pub fn look() -> Self {
        Self { cpu: processor(), cores: Cores::look(), memory: Memory::look() }
    }
}
