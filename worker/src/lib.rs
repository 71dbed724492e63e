//! A Strata worker: hosts the frozen layers of a run, transforms activations through them, and trains layers, alone or
//! its part of one that a group shares.
//!
//! Modules stand in the order in which a message travels: `incoming` lets its connection in, `calls` and `service` take it, `probe` counts it where it measures the link, `benchmark` measures how fast this worker computes, `hosting` and `transform` answer for frozen
//! layers, `train` runs a training stream and `readout` one of a readout, each a `conversation`; `session` says what that stream is
//! doing, `group` hands on to those who share the layer, `peers` exchanges sums with them, `inlets` and `outlets` go to those who train
//! the layers below and above, `drive` runs `trainer` on a thread, `ahead` is what that knows of the next step, and `compute` has the
//! threads that compute.
//!
//! Invariants: async code neither computes nor blocks; every channel is bounded, or what it holds is (`peers`, `outlets`); whatever a peer
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
mod probe;
mod benchmark;
mod hosting;
mod hosted;
mod transform;
mod conversation;
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
mod passing;
mod gathering;
mod inlets;
mod outlets;
mod passed_rows;
mod columns;
mod drive;
mod ahead;
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
