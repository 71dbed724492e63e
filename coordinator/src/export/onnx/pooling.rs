//! Pooling of maps with their channels first, (samples, channels, height, width).

use scff::layer::{MapShape, Pool, PoolKind};

use super::graph::{Builder, Value};
use super::messages::Attribute;

/// The pooled map of one of this shape.
pub fn pool(graph: &mut Builder, value: &Value, pool: Pool, input: MapShape) -> Value {
    let output = pool.output(input);
    let sides = [(input.height, output.height), (input.width, output.width)];
    let padding = pool.padding as i64;
    // As far as the last window reaches.
    let beyond = sides.map(|(side, windows)| {
        let covered = (windows - 1) * pool.stride + pool.size;
        covered.saturating_sub(pool.padding + side) as i64
    });
    let pads = graph.integers(&[0, 0, padding, padding, 0, 0, beyond[0], beyond[1]]);
    let fill = match pool.kind {
        PoolKind::Max => f32::MIN,
        PoolKind::Average => 0.0,
    };
    let fill = graph.floats(&[], [fill]);
    let padded = graph.node("Pad", &[value, &pads, &fill], vec![Attribute::word("mode", "constant")]);
    let (size, stride) = (pool.size as i64, pool.stride as i64);
    let attributes =
        vec![Attribute::ints("kernel_shape", &[size, size]), Attribute::ints("strides", &[stride, stride])];
    match pool.kind {
        PoolKind::Max => graph.node("MaxPool", &[&padded], attributes),
        PoolKind::Average => {
            let means = graph.node("AveragePool", &[&padded], attributes);
            // Averages divide by what lies within the map and its declared padding.
            let shares = sides.map(|(side, windows)| shares(pool, side, windows));
            let [rows, columns] = &shares;
            let shares = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column));
            let shares = graph.floats(&[1, 1, rows.len(), columns.len()], shares.collect::<Vec<_>>());
            graph.node("Mul", &[&means, &shares], vec![])
        }
    }
}

/// Of each window along an axis, its size in cells that an average divides by.
fn shares(pool: Pool, side: usize, windows: usize) -> Vec<f32> {
    let counted = |window: usize| {
        let start = window * pool.stride;
        (start + pool.size).min(side + 2 * pool.padding) - start
    };
    (0..windows).map(|window| pool.size as f32 / counted(window) as f32).collect()
}
