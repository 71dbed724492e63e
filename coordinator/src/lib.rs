//! Strata's head node, as a library: modules stand in the order in which a run uses them.

pub mod cli;
pub mod config;
pub mod plan;

pub mod calibration;
pub mod estimate;

pub mod split;

pub mod order;

pub mod ledger;

pub mod stream;

pub mod cluster;

pub mod transform;

pub mod run_dir;

pub mod progress;

pub mod phase;

pub mod features;

pub mod readout;

pub mod summary;

pub mod sitting;

pub mod schedule;

pub mod run;

pub mod eval;
