//! A cluster for tests: real processes over real sockets, on small synthetic data.
//!
//! A [`Sandbox`] is a folder with a data set, a configuration and run directories; it starts coordinators and
//! workers, which end with their handles. Tests wait [`until`] something is so, never for a time.
//!
//! The programs are those beside the test programs in the target folder; `cargo build --workspace` makes them
//! current, `STRATA_BIN_DIR` names others.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines")]

mod company;
mod data;
mod impostor;
mod other_version;
mod process;
mod run_dir;
mod sandbox;
mod undisturbed;
mod wire;

use std::path::Path;
use std::time::{Duration, Instant};

use procfs::Current;

pub use company::{addresses, begun, check_killed, wait_for};
pub use data::{label, write_bitmaps};
pub use impostor::{Impostor, Manners};
pub use other_version::OtherVersion;
pub use process::{Ended, Pid, Process, program};
pub use run_dir::{RunDir, weights};
pub use sandbox::{Sandbox, Worker};
pub use undisturbed::{Undisturbed, reference};
pub use wire::{Direction, Wire};

/// How long anything may take before a test fails: far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `look` sees what `awaited` names.
pub fn until<T>(awaited: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {awaited}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Numbers below what is asked for that look random, and are the same every time.
pub fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Words of a run of three layers that is soon over.
pub const FEW_EPOCHS: [&str; 8] = [
    "--set",
    "layers.0.epochs=1",
    "--set",
    "layers.1.epochs=1",
    "--set",
    "layers.2.epochs=1",
    "--threads",
    "1",
];

/// The workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace")
}

/// Whether this processor can run both of two BLAS kernels that give different bits; says so if not.
pub fn has_two_kernels(test: &str) -> bool {
    let flags = ["avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"];
    let cpus = procfs::CpuInfo::current().ok();
    let found = cpus.as_ref().and_then(|cpus| cpus.flags(0)).unwrap_or_default();
    let all = flags.iter().all(|flag| found.contains(flag));
    if !all {
        println!("skipped: {test}: this processor cannot run the BLAS kernel SkylakeX");
    }
    all
}
