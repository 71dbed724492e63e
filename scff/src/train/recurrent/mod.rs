//! Training recurrent layers.
//!
//! Pairs are walked in packs, the longest first; each pack in each direction is a walk of its own, whose products are
//! single-threaded calls, step by step. What a walk leaves behind, h of every step and the standardised states before it,
//! makes the gradients: dL/dz = (2/C) dL/dg h, and states are constants, so they are products over all steps and pairs.
//! That of W_ih is collected by samples first: one product over frames serves all pairs.
//!
//! A shard has whole directions, for all units of one take part in standardising its states, in every time step.

mod weights;
mod walk;
mod gradient;

mod layer;

pub(super) use layer::RecurrentLayer;
