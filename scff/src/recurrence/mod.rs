//! The recurrence of a bidirectional layer, time step by time step: what training and frozen layers have in common.

mod direction;
mod packed;
mod state;

pub(crate) use direction::{DIRECTIONS, Direction};
pub(crate) use packed::Packed;
pub(crate) use state::{add, advance};
