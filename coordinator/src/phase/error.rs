//! How a phase ends other than by its last step.

use proto::address::Address;

use crate::cluster::WorkerFailure;
use crate::run_dir::RunDirError;
use crate::stop::Stopped;
use crate::stream::UnfitSample;
use crate::worker_id::WorkerId;

/// Why a phase ended early.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailure),
    /// The run directory failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A sample does not get to the workers.
    #[error(transparent)]
    Sample(#[from] UnfitSample),
    /// A worker has come that may take part from the checkpoint on.
    #[error("{address} has come")]
    Newcomer {
        /// Where it listens.
        address: String,
    },
    /// A worker is about to end, and what it had under way is in the checkpoint.
    #[error("worker {address} leaves")]
    Left {
        /// Which worker.
        id: WorkerId,
        /// Where it listens.
        address: Address,
    },
    /// The process was asked to end, and a checkpoint is written.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
