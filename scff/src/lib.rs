//! Self-Contrastive Forward-Forward learning (SCFF, arXiv 2409.11593): the mathematics.
//!
//! Arrays in, arrays out. This crate knows no network, no file system, no environment and no clock.
//! Modules stand in the order in which a batch travels through them:
//!
//! 1. [`seed`]: all randomness, as pure functions of (seed, purpose, layer, epoch, step);
//! 2. [`batch`]: which sample variants meet in a step;
//! 3. [`normalize`] and [`pair`]: standardised rows, and the pairs that are read from them;
//! 4. [`layer`]: what a layer is;
//! 5. [`goodness`]: what it maximises and minimises, and its gradient;
//! 6. [`optimizer`]: AdamW and the step schedule;
//! 7. [`train`]: a layer that learns; [`frozen`]: one that no longer does;
//! 8. [`readout`]: the linear classifier that measures frozen features;
//! 9. [`analysis`]: label-free measures of features.
//!
//! Matrix products go to BLAS through [`blas`], always in calls of one fixed shape on one thread, so that
//! results do not depend on how many threads or machines there are.

pub mod analysis;
pub mod batch;
pub mod blas;
pub mod frozen;
pub mod goodness;
pub mod layer;
pub mod normalize;
pub mod optimizer;
pub mod pair;
pub mod readout;
pub mod seed;
pub mod train;

mod finite;
mod scratch;
