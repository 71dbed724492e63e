//! How large what is transformed is.

use crate::layer::MapShape;

/// Side of a tile of outputs.
pub(super) const OUTPUTS: usize = 4;
/// Side of what a tile reads.
pub(super) const INPUTS: usize = 6;
/// Side of a kernel.
pub(crate) const KERNEL: usize = 3;
/// Products of a convolution.
pub(crate) const FREQUENCIES: usize = INPUTS * INPUTS;

/// Tiles of a map.
pub(crate) fn tiles(output: MapShape) -> usize {
    output.height.div_ceil(OUTPUTS) * output.width.div_ceil(OUTPUTS)
}
