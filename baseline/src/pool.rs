//! Pooling as in `scff`, with its gradient: windows may overlap, be padded and reach beyond the map.

use std::ops::Range;

use candle_core::{Result, Tensor};
use scff::layer::{MapShape, Pool, PoolKind};

use crate::operation::{OfRows, of_rows};

/// (samples, elements) of maps of shape `input`, to those of the pooled maps.
pub fn pool(pool: &Pool, input: MapShape, maps: &Tensor) -> Result<Tensor> {
    of_rows(Pooling { pool: *pool, input, output: pool.output(input) }, maps)
}

struct Pooling {
    pool: Pool,
    input: MapShape,
    output: MapShape,
}

/// The part of an axis that a window covers, and the cells that an average divides by.
struct Window {
    covered: Range<usize>,
    counted: usize,
}

impl Pooling {
    fn window(&self, place: usize, side: usize) -> Window {
        let Pool { size, stride, padding, .. } = self.pool;
        let start = place * stride;
        let covered = start.saturating_sub(padding)..(start + size).saturating_sub(padding).min(side);
        Window { covered, counted: (start + size).min(side + 2 * padding) - start }
    }
}

impl OfRows for Pooling {
    const NAME: &'static str = "pooling";

    fn inputs(&self) -> usize {
        self.input.len()
    }

    fn outputs(&self) -> usize {
        self.output.len()
    }

    fn forward(&self, map: &[f32], out: &mut [f32]) {
        self.pool.apply(self.input, map, out);
    }

    /// The first of several largest cells gets all of a maximum's gradient.
    fn backward(&self, map: &[f32], pooled: &[f32], gradient: &[f32], out: &mut [f32]) {
        let channels = self.input.channels;
        let mut slopes = vec![0.0; channels];
        let windows = pooled.chunks_exact(channels).zip(gradient.chunks_exact(channels));
        for (position, (pooled, gradient)) in windows.enumerate() {
            let rows = self.window(position / self.output.width, self.input.height);
            let columns = self.window(position % self.output.width, self.input.width);
            let share = 1.0 / (rows.counted * columns.counted) as f32;
            slopes.copy_from_slice(gradient);
            for row in rows.covered {
                let cells = (row * self.input.width + columns.covered.start) * channels
                    ..(row * self.input.width + columns.covered.end) * channels;
                let map = map[cells.clone()].chunks_exact(channels);
                for (cell, out) in map.zip(out[cells].chunks_exact_mut(channels)) {
                    match self.pool.kind {
                        PoolKind::Max => give_to_largest(cell, pooled, &mut slopes, out),
                        PoolKind::Average => {
                            out.iter_mut().zip(&slopes).for_each(|(out, slope)| *out += slope * share);
                        }
                    }
                }
            }
        }
    }
}

/// Moves the slopes of those channels to `out` whose maximum is in this cell.
fn give_to_largest(cell: &[f32], largest: &[f32], slopes: &mut [f32], out: &mut [f32]) {
    for (((value, largest), slope), out) in cell.iter().zip(largest).zip(slopes).zip(out) {
        let given = if value >= largest { *slope } else { 0.0 };
        *out += given;
        *slope -= given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::tests::{check_gradients, distinct};

    #[test]
    fn gradients_are_finite_differences() {
        let input = MapShape { height: 7, width: 6, channels: 2 };
        for kind in [PoolKind::Max, PoolKind::Average] {
            for (size, stride, padding) in [(4, 2, 1), (2, 2, 0), (3, 3, 1)] {
                let of = Pool { kind, size, stride, padding };
                check_gradients(&[distinct(2, input.len())], |inputs| pool(&of, input, &inputs[0]).unwrap());
            }
        }
    }

    #[test]
    fn a_gradient_goes_to_one_of_equal_cells() {
        let input = MapShape { height: 2, width: 2, channels: 1 };
        let of = Pool { kind: PoolKind::Max, size: 2, stride: 2, padding: 0 };
        let pooling = Pooling { pool: of, input, output: of.output(input) };
        let mut out = [0.0; 4];
        pooling.backward(&[0.0, 3.0, 3.0, 3.0], &[3.0], &[5.0], &mut out);
        assert_eq!(out.map(f32::to_bits), [0.0_f32, 5.0, 0.0, 0.0].map(f32::to_bits));
    }
}
