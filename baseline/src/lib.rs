//! What other ways of learning reach with the same networks, to compare with: back-propagation, which may go on from what
//! SCFF has learnt (fine-tuning), and the original Forward-Forward algorithm.
//!
//! Gradients are composed by candle, an automatic differentiation library; everything else about a network is what `scff` says:
//! its layers' specifications, its tensors, which are read and written, and its optimiser. What a network computes here
//! equals what its frozen layers and readout compute (`tests/forward.rs`). Modules stand in the order in which a batch
//! travels through them:
//!
//! 1. [`activations`]: rows, or sequences of different lengths, as tensors of the library;
//! 2. `operation`: operations of our own, with their gradients, on all threads; of those, [`standardize`], `conv`, `transmission`
//!    and `pool`; with them, `birnn` and [`layer`]: a layer, from what it reads to what it passes on and what the readout reads of it;
//! 3. [`parameters`]: what is learnt, to and from `scff`'s tensors, and its optimiser;
//! 4. [`network`]: layers with their readout, trained by back-propagation;
//! 5. [`hybrids`] and [`forward_forward`]: negative samples of Hinton's algorithm, and dense layers that it trains.

pub mod activations;

mod operation;

pub mod standardize;

mod conv;

mod transmission;

mod pool;

mod birnn;

pub mod parameters;

pub mod layer;

pub mod network;

pub mod hybrids;

pub mod forward_forward;
