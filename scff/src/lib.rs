//! Self-Contrastive Forward-Forward learning (SCFF, arXiv 2409.11593): the mathematics.
//!
//! Arrays in, arrays out. This crate knows no network, no file system, no environment and no clock.
//! Modules stand in the order in which a batch travels through them:
//!
//! 1. [`batch`]: which sample variants meet in a step; [`seed`]: all randomness, as pure functions of (seed, purpose,
//!    layer, epoch, step);
//! 2. [`layer`]: what a layer is; [`samples`]: what it reads, rows or [`sequences`] of different lengths; [`normalize`],
//!    [`pair`] and [`sequence_pair`]: standardised rows or sequences, and the pairs that it reads from them, in a
//!    [`pair_order`];
//! 3. [`goodness`]: what it maximises and minimises, and its gradient; [`optimizer`]: AdamW and the step schedule;
//! 4. [`train`]: a layer that learns; [`sum_tree`]: sums over those who share one; [`frozen`]: one that no longer does;
//! 5. [`readout`]: the linear classifier that measures frozen features, and [`logistic`], one for few labels; [`analysis`]:
//!    label-free measures of them; [`anomaly`]: how unlike others a sample is.
//!
//! Matrix products go to BLAS through [`blas`], always in calls of one fixed shape on one thread, so that
//! results do not depend on how many threads or machines there are.

pub mod batch;
pub mod seed;

pub mod layer;
pub mod sequences;
pub mod samples;
pub mod normalize;
pub mod pair_order;
pub mod pair;
pub mod sequence_pair;

pub mod goodness;
pub mod optimizer;

pub mod sum_tree;
pub mod train;
pub mod frozen;

pub mod readout;
pub mod logistic;
pub mod analysis;
pub mod anomaly;

pub mod blas;

mod recurrence;
mod winograd;

#[cfg(test)]
#[path = "../tests/common/fixture.rs"]
mod fixture;

mod finite;
mod matrix;
mod scratch;
mod softplus;
