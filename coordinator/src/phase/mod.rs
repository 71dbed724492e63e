//! One phase: training the layers that are at work at the same time, from their checkpoint to its end.
//!
//! Every member of the phase has a training stream of its own. Samples go to the lowest; what a step of a member passes on goes straight
//! to those who train the member above, which is told of the batch once the member below has taken the step. So member k trains on
//! batch t while the one above it trains on batch t - 1. A phase of a greedy schedule has one member.

mod error;

mod shares;

mod sending;

mod reporter;

mod under_way;

mod culprit;

mod states;

mod listener;

mod begin;

mod attempt;

pub use attempt::{Assignment, PhaseRun, save_checkpoint};
pub use error::PhaseError;
pub use shares::{WorkerRates, share_out};
