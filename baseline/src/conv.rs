//! Convolutions as products of patches, as in `scff`: reflections and patches are chosen rows, whose gradients add up.

use candle_core::{Result, Tensor};
use scff::layer::Conv;

use crate::activations::indices;

/// The reflect-padded map: (samples, height, width, channels) to (samples, padded height, padded width, channels).
pub fn pad(conv: &Conv, maps: &Tensor) -> Result<Tensor> {
    if conv.padding == 0 {
        return Ok(maps.clone());
    }
    let along =
        |side: usize| indices((0..side + 2 * conv.padding).map(|place| reflected(place, side, conv.padding)));
    let rows = maps.index_select(&along(conv.input.height)?, 1)?;
    rows.index_select(&along(conv.input.width)?, 2)
}

/// The place of an axis of length `side` that stands at `place` of the padded axis: the edge is not repeated.
fn reflected(place: usize, side: usize, padding: usize) -> usize {
    let distance = place.abs_diff(padding);
    if place < side + padding { distance } else { 2 * (side - 1) - distance }
}

/// The patches of padded maps that the kernel sees, each (row, column, channel): (samples * positions, fan-in).
pub fn patches(conv: &Conv, padded: &Tensor) -> Result<Tensor> {
    let output = conv.output();
    let mut parts = Vec::with_capacity(conv.kernel * conv.kernel);
    for row in 0..conv.kernel {
        let rows = padded.narrow(1, row, output.height)?;
        for column in 0..conv.kernel {
            parts.push(rows.narrow(2, column, output.width)?);
        }
    }
    Tensor::cat(&parts, 3)?.reshape(((), conv.fan_in()))
}
