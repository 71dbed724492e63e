//! A cluster for tests: real processes over real sockets, on small synthetic data.
//!
//! A [`Sandbox`] is a folder with a data set, a configuration and run directories; it starts coordinators and
//! workers, which end with their handles. Tests wait [`until`] something is so, never for a time.
//!
//! The programs are those beside the test programs in the target folder; `cargo build --workspace` makes them
//! current, `STRATA_BIN_DIR` names others.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines")]

mod data;
mod impostor;
mod other_version;
mod process;
mod run_dir;
mod sandbox;
mod undisturbed;

use std::path::Path;
use std::time::{Duration, Instant};

use procfs::Current;

pub use impostor::{Impostor, Manners};
pub use other_version::OtherVersion;
pub use process::{Ended, Pid, Process, program};
pub use run_dir::{RunDir, weights};
pub use sandbox::{Sandbox, Worker};
pub use undisturbed::{Undisturbed, reference};

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

/// The workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace")
}

/// The fastest of the kernels that OpenBLAS has for this processor, if it is one of those that tests know. OpenBLAS may not know the
/// processor, and take a slow one; running workers agree on the fastest.
pub(crate) fn fastest_kernel() -> Option<&'static str> {
    let cpus = procfs::CpuInfo::current().ok()?;
    let found = cpus.flags(0)?;
    let has = |flags: &[&str]| flags.iter().all(|flag| found.contains(flag));
    if has(&["avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"]) {
        return Some("SkylakeX");
    }
    has(&["avx2"]).then_some("Haswell")
}

/// Whether this processor can run both of two BLAS kernels that give different bits; says so if not.
pub fn has_two_kernels(test: &str) -> bool {
    let all = fastest_kernel() == Some("SkylakeX");
    if !all {
        println!("skipped: {test}: this processor cannot run the BLAS kernel SkylakeX");
    }
    all
}
