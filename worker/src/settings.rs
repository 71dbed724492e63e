//! How a worker is set up.

use proto::observe::Observed;
use proto::self_test::Tester;

use crate::limits::Limits;

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that compute.
    pub threads: usize,
    /// Memory for kept activations, in bytes.
    pub cache_bytes: u64,
    /// How it finds out which BLAS kernels it has.
    pub tester: Tester,
    /// What it shows to whoever watches it.
    pub observed: Observed,
    /// What it puts up with.
    pub limits: Limits,
}
