//! What a worker says about itself.

use proto::machine::peak_rss_bytes;
use proto::{PROTOCOL_VERSION, wire};

use crate::node::Node;

/// The answer to `Describe`.
pub fn description(node: &Node) -> wire::WorkerDescription {
    let Node { machine, compute, budget, identity, slot, .. } = node;
    wire::WorkerDescription {
        protocol_version: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cores: machine.cores.count as u32,
        threads: compute.threads() as u32,
        memory_bytes: machine.memory.bytes,
        cache_bytes: budget.cache_bytes,
        cpu: machine.cpu.clone(),
        blas: scff::blas::version(),
        blas_kernel: scff::blas::kernel(),
        peak_rss_bytes: peak_rss_bytes(),
        identity: *identity,
        training: slot.holder().map(|run| run.to_string()).unwrap_or_default(),
        leaving: slot.is_closed(),
        stuck_seconds: compute.stuck().map_or(0.0, |taken| taken.as_secs_f64()),
        computing_seconds: compute.longest().map_or(0.0, |taken| taken.as_secs_f64()),
    }
}
