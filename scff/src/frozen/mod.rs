//! A layer that no longer learns: it transforms samples, and pairs for the layers of algorithm 1 above it.

mod layer;
mod sequences;
mod winograd;

mod chain;
mod goodness;

pub use chain::{features, transform};
pub use goodness::goodness;
pub use layer::{FrozenLayer, ROWS_PER_CALL};

pub(crate) use layer::transmit;
