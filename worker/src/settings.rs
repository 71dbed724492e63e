//! How a worker is set up.

use std::time::Duration;

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
    /// How long work that is under way may go on once it is to end.
    pub grace: Duration,
    /// A step in which it computes without an end, for tests.
    pub hang_in_step: Option<u64>,
    /// How it finds out which BLAS kernels it has.
    pub tester: Tester,
    /// What it shows to whoever watches it.
    pub observed: Observed,
    /// What it puts up with.
    pub limits: Limits,
}
