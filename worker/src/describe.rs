//! What a worker says about itself.

use proto::machine::{Cores, Memory, peak_rss_bytes, processor};
use proto::{PROTOCOL_VERSION, wire};

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

/// The answer to `Describe`.
pub fn description(machine: &Machine, threads: usize, cache_bytes: u64) -> wire::WorkerDescription {
    wire::WorkerDescription {
        protocol_version: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cores: machine.cores.count as u32,
        threads: threads as u32,
        memory_bytes: machine.memory.bytes,
        cache_bytes,
        cpu: machine.cpu.clone(),
        blas: scff::blas::version(),
        blas_kernel: scff::blas::kernel(),
        peak_rss_bytes: peak_rss_bytes(),
    }
}
