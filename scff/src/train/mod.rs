//! A layer that learns.
//!
//! A step has two halves, and the exchange between them is all that machines which share a layer need:
//!
//! 1. [`TrainingLayer::begin_step`]: the map of every row, z and relu(z) of every pair, and the partial sums
//!    of squares of each channel block;
//! 2. (total the partial sums: here, or across a group of workers);
//! 3. [`TrainingLayer::proceed`]: the loss, its gradient, and the optimiser's update.
//!
//! Where samples are shared instead of channels ([`Sharing`]), the first half goes on to the gradients of each worker's
//! samples, and these are added up; the second is the update. In a grid both are exchanged, one round after the other. Sums are taken in the order of a tree
//! ([`sum_tree`](crate::sum_tree)), so anybody can add up whatever is there.
//!
//! Each channel block owns its weights and moments. Products are single-threaded BLAS calls of a fixed shape, cut by
//! channel blocks and, in convolutions, by tiles of samples, so neither threads nor shards show in the result. Those of
//! recurrent layers are cut by directions and packs of pairs, of which a batch has the same whoever computes it.

mod block;
mod conv;
mod dense;
mod recurrent;
mod passed_on;
mod sharing;
mod partial;

mod check;
mod input;
mod own_samples;
mod layer;
mod live;
mod preparation;
mod stage;
mod trial;

pub use check::{HyperparameterError, HyperparameterField};
pub use input::{Paired, PairedSamples};
pub use layer::{Hyperparameters, TrainingLayer};
pub use partial::{NodeSums, Partial, Progress, Round, StepReport, Sums};
pub use passed_on::{PassOn, PassedOn};
pub use preparation::{Preparation, Prepared};
pub use sharing::{Exchanged, Shard, Sharing};
pub use stage::{Half, TrainingStage};
pub use trial::ProductTrial;
