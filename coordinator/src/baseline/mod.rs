//! Baselines: what other ways of learning reach with the network of a configuration, on the same samples and measured by the
//! same code as a run.
//!
//! Random weights are a run of no epochs. The others are computed in this process ([`::baseline`]), on the labelled samples;
//! one that is interrupted goes on after the last epoch that it finished.

pub mod summary;

mod batches;
mod measure;
mod training;

mod back_propagation;
mod forward_forward;
mod random;

pub use back_propagation::{Start, back_propagate};
pub use forward_forward::forward_forward;
pub use random::random;
pub use training::Wanted;
