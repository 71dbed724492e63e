//! What is measured.

use std::path::Path;

/// The programs, and what they work on.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The kernel of all workers.
    pub blas_kernel: &'a str,
    /// Its worker lies beside it.
    pub coordinator: &'a Path,
    /// The folder of data sets.
    pub data: &'a Path,
    /// Where runs are put.
    pub folder: &'a Path,
}

/// What is changed about configs/cifar10.toml: one view of each sample, so that from the second epoch on all are kept; a few
/// seconds of steps.
pub const CHANGES: [&str; 10] = [
    "data.flip=false",
    "training.report_every=5",
    "training.checkpoint_every=1000",
    "layers.0.epochs=20",
    "layers.1.epochs=8",
    "layers.2.epochs=8",
    "readout.epochs=1",
    "layers.0.readout=false",
    "layers.1.readout=false",
    "seed=1",
];
