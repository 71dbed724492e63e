//! A Strata worker: hosts the frozen layers of a run, transforms activations through them, and trains layers, alone or
//! its part of one that a group shares.
//!
//! Modules stand in the order in which a message travels: `service` takes it in, `session` says what a
//! training stream is doing, `transform` and `train` run the streams, `group` reaches those who share a layer, `trainer` and
//! `compute` do the work.
//!
//! Invariants: async code neither computes nor blocks; every channel is bounded; whatever a peer sends ends at
//! most that peer's stream.

pub mod cli;
pub mod describe;
pub mod server;

mod cache;
mod compute;
mod group;
mod hosted;
mod hosting;
mod node;
mod parts;
mod refusal;
mod run;
mod service;
mod session;
mod slot;
mod stage;
mod train;
mod trainer;
mod transform;

pub use server::{ServeError, Settings, serve};
