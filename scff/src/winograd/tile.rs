//! A tile of a map.

use super::size::{FREQUENCIES, INPUTS, OUTPUTS};
use crate::layer::Conv;

/// Positions of a tile: of the map that it reads, unpadded, and of the output.
pub(super) struct Tile {
    pub(super) reads: [Option<usize>; FREQUENCIES],
    pub(super) writes: [Option<usize>; OUTPUTS * OUTPUTS],
}

impl Tile {
    pub(super) fn new(conv: &Conv, (row, column): (usize, usize)) -> Self {
        let output = conv.output();
        let writes = std::array::from_fn(|place| {
            let (row, column) = (row + place / OUTPUTS, column + place % OUTPUTS);
            (row < output.height && column < output.width).then(|| row * output.width + column)
        });
        let reads = std::array::from_fn(|place| conv.source(row + place / INPUTS, column + place % INPUTS));
        Self { reads, writes }
    }
}
