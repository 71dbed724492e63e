//! One phase: training the layers that are at work at the same time, from their checkpoint to its end.
//!
//! Every member of the phase has a training stream of its own. Samples go to the lowest; what a step of a member passes on
//! comes back here and goes on to the member above, so that member k trains on batch t while the one above it trains on
//! batch t - 1. A phase of a greedy schedule has one member.

mod error;

mod shares;

mod sending;

mod reporter;

mod under_way;

mod culprit;

mod states;

mod gathering;

mod listener;

mod attempt;

pub use attempt::{Assignment, PhaseRun, save_checkpoint};
pub use error::PhaseError;
pub use shares::{WorkerRates, share_out};
