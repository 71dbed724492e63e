//! Strata's head node, as a library: modules stand in the order in which a run uses them.

pub mod cli;

pub mod stop;

mod clock;

pub mod version;

pub mod certs;

pub mod location;

pub mod objects;

mod mistyped;

pub mod retries;

pub mod grid;

pub mod way;

pub mod config;

pub mod plan;

pub mod calibration;

pub mod estimate;

pub mod totals;

pub mod accuracies;

pub mod summary;

pub mod run_dir;

pub mod part_file;

pub mod table;

pub mod model;

pub mod export;

pub mod worker_id;

pub mod pace;

pub mod kernels;

pub mod cluster;

pub mod links;

pub mod benchmarks;

pub mod events;

pub mod terminal;

pub mod event_log;

pub mod metrics_log;

pub mod meters;

pub mod schedule;

pub mod data_folder;

pub mod data_place;

pub mod split;

pub mod order;

pub mod ledger;

pub mod stream;

pub mod back;

pub mod transform;

pub mod phase;

pub mod features;

pub mod readout;

pub mod without_labels;

pub mod few_labels;

pub mod sitting;

pub mod run;

pub mod eval;

pub mod extraction;

pub mod scoring;

pub mod init;

pub mod baseline;
