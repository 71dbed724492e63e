//! Why there is no readout.

use scff::logistic::NoSpan;
use scff::readout::NotFinite;

use super::room::NoRoom;
use crate::features::FeaturesError;
use crate::run_dir::RunDirError;

/// Why there is no readout.
#[derive(Debug, thiserror::Error)]
pub enum ReadoutError {
    /// There is nothing to learn from.
    #[error(transparent)]
    Features(#[from] FeaturesError),
    /// There is no memory for what it learns from.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// It does not learn.
    #[error("{0}: try a smaller readout.lr")]
    NotFinite(#[from] NotFinite),
    /// Nothing can be learned of a few labels.
    #[error(transparent)]
    NoSpan(#[from] NoSpan),
    /// The run directory failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}
