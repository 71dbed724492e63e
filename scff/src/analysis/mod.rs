//! Label-free measures of features.

mod effective_rank;
mod neighbours;

pub use effective_rank::{effective_rank, effective_rank_of_covariance};
pub use neighbours::{Neighbours, agreement};
