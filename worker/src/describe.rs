//! What a worker says about itself.

use proto::{PROTOCOL_VERSION, wire};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// The machine that a worker runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// Memory that this process may use: of the machine, or of the container.
    pub memory_bytes: u64,
}

impl Machine {
    /// Looks at the machine that this process runs on.
    pub fn look() -> Result<Self, sysinfo::Error> {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(kinds)?;
        let limit = system.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0);
        Ok(Self {
            cpu: system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.total_memory().min(limit.unwrap_or(u64::MAX)),
        })
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

/// The most memory that this process has had resident; 0 where that is unknown.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| kibibytes(line.strip_prefix("VmHWM:")?)).unwrap_or(0)
}

fn kibibytes(text: &str) -> Option<u64> {
    Some(text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_processor_and_memory() {
        let machine = Machine::look().unwrap();
        assert!(
            machine.cores > 0 && machine.memory_bytes > 1 << 20 && !machine.cpu.is_empty(),
            "{machine:?}"
        );
    }

    #[test]
    fn memory_is_read_from_the_status_file() {
        assert_eq!(kibibytes("\t   12 kB"), Some(12_288));
        assert_eq!(kibibytes("many"), None);
    }
}
