//! What a layer is: its linear map, the pairs it sees, what it transmits, how its channels are cut, and its tensors.

mod map;

mod conv;
mod dense;
mod linear;
mod pool;
mod tiles;

mod channels;
mod spec;
mod check;

mod state;
mod tensors;

pub use channels::ChannelRange;
pub use check::{CHANNELS, ELEMENTS, PoolField, SpecError, SpecField};
pub use conv::Conv;
pub use dense::Dense;
pub use linear::LinearMap;
pub use map::MapShape;
pub use pool::{Pool, PoolKind};
pub use spec::{LayerSpec, PairSource, Transmit};
pub use state::LayerState;
pub use tensors::{ShapeError, Tensor, TensorSpec, Tensors};

pub(crate) use tiles::Tiles;
