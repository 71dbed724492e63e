//! The readout: a linear classifier on features, trained and measured by all workers together, or on the head node.

mod room;
mod error;
mod run;
mod shared;
mod shares;
mod sharers;
mod said;

pub use error::ReadoutError;
pub use room::{NoRoom, check_room};
pub use run::ReadoutRun;
