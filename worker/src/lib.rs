//! A Strata worker: hosts the frozen layers of a run, transforms activations through them, and trains layers, alone or
//! its part of one that a group shares.
//!
//! Modules stand in the order in which a message travels: `incoming` lets its connection in, `calls` and `service` take it, `hosting` and `transform` answer for frozen
//! layers, `train` runs a training stream; `session` says what that stream is doing, `group` hands on to those who share the
//! layer, `peers` exchanges sums with them, `drive` runs `trainer` on a thread, and `compute` has the threads that compute.
//!
//! Invariants: async code neither computes nor blocks; every channel is bounded, or what it holds is (`peers`); whatever a peer
//! sends ends at most that peer's stream, or the session that shares a layer with it.

pub mod cli;
pub mod limits;
mod complaints;
mod farewell;
pub mod incoming;
mod activity;
mod settings;
pub mod server;
mod calls;
mod service;
pub mod machine;
mod describe;
mod node;
mod run;
mod refusal;
mod hosting;
mod hosted;
mod transform;
mod train;
mod readout;
mod slot;
mod kernels;
mod stage;
mod session;
mod assembly;
mod share;
mod circle;
mod group;
mod meetings;
mod party;
mod peers;
mod columns;
mod drive;
mod trainer;
mod exchange;
mod samples;
mod cache;
mod busy;
mod compute;
mod system;
mod meters;

pub use server::{Ended, ServeError, serve};
pub use settings::Settings;
