//! What a worker says about itself.

use proto::machine::{memory_bytes, peak_rss_bytes};
use proto::{PROTOCOL_VERSION, wire};
use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// The machine that a worker runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's model; empty where it is unknown.
    pub cpu: String,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// Memory that this process may use; 0 where it is unknown.
    pub memory_bytes: u64,
}

impl Machine {
    /// Looks at the machine that this process runs on.
    pub fn look() -> Self {
        let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()));
        let brand = |system: System| system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
        Self {
            cpu: system.ok().and_then(brand).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(),
        }
    }
}

/// The answer to `Describe`.
pub fn description(machine: &Machine, threads: usize, cache_bytes: u64) -> wire::WorkerDescription {
    wire::WorkerDescription {
        protocol_version: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cores: machine.cores as u32,
        threads: threads as u32,
        memory_bytes: machine.memory_bytes,
        cache_bytes,
        cpu: machine.cpu.clone(),
        blas: scff::blas::version(),
        blas_kernel: scff::blas::kernel(),
        peak_rss_bytes: peak_rss_bytes(),
    }
}
