//! What a layer is: its map, the pairs it sees, what it transmits, how its channels are cut, and its tensors.

mod map;
mod row_length;

mod algorithm;
mod conv;
mod dense;
mod birnn;
mod layer_map;
mod pool;
mod tiles;

mod channels;
mod spec;
mod check;

mod state;
mod tensors;

pub use algorithm::Algorithm;
pub use birnn::{BiRnn, SequencePadding, Summary};
pub use channels::ChannelRange;
pub use check::{CHANNELS, ELEMENTS, PoolField, SpecError, SpecField};
pub use conv::Conv;
pub use dense::Dense;
pub use layer_map::LayerMap;
pub use map::MapShape;
pub use pool::{Pool, PoolKind};
pub use row_length::RowLength;
pub use spec::{LayerSpec, PairSource, Transmit};
pub use state::LayerState;
pub use tensors::{ShapeError, Tensor, TensorSpec, Tensors};

pub(crate) use birnn::{BIAS_HH, BIAS_IH, WEIGHT_HH, WEIGHT_IH};
pub(crate) use tiles::Tiles;
