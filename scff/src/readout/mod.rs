//! The readout: dropout, a linear classifier, cross entropy and Adam, on features computed once.
//!
//! Features are cut into [`BLOCK`]s of fixed width, the parts of which [`crate::sum_tree`] speaks: each contributes to the logits, and
//! what all contribute is added up by the tree, so neither the number of threads nor who has which blocks shows in the result. Those
//! who share a readout own consecutive blocks each: weights of these features, and the features themselves. In a step they
//! exchange what their blocks contribute to the logits, (batch, classes), and nothing else: each computes the whole cross
//! entropy, updates the weights of its blocks, and the bias, which all have.

mod classifier;
mod contributions;
mod dropout;
mod features;
mod training;

pub use classifier::{BLOCK, Blocks, Readout, largest, probabilities};
pub use contributions::Contributions;
pub use features::Features;
pub use training::{Course, NotFinite, ReadoutSpec, halvings, train};
