//! The readout: a linear classifier on features, trained and measured by all workers together, or on the head node.

mod error;
mod run;
mod shared;
mod shares;
mod sharers;

pub use error::ReadoutError;
pub use run::ReadoutRun;
