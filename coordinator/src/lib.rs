//! Strata's head node, as a library: modules stand in the order in which a run uses them.

pub mod cli;
pub mod config;
pub mod plan;

pub mod calibration;
pub mod estimate;

pub mod order;

pub mod ledger;

pub mod cluster;
pub mod schedule;

pub mod stream;
pub mod transform;

pub mod progress;
pub mod run_dir;

pub mod phase;

pub mod summary;

pub mod readout;
pub mod run;
