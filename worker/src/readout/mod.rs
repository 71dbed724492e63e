//! A readout that workers share: each computes features of some samples and sends all who own some of them theirs; then each trains
//! the weights of the features that it owns.

mod learn;
mod plan;
mod stream;

pub use stream::{Replies, stream};
