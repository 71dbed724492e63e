//! Pooling as in `scff`, one axis after the other: windows may overlap, be padded and reach beyond the map.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use scff::layer::{MapShape, Pool, PoolKind};

use crate::activations::indices;

/// The part of an axis that a window covers, and the cells that an average divides by.
struct Window {
    covered: Range<usize>,
    counted: usize,
}

fn windows(pool: &Pool, side: usize, count: usize) -> Vec<Window> {
    let Pool { size, stride, padding, .. } = *pool;
    let window = |start: usize| {
        let covered = start.saturating_sub(padding)..(start + size).saturating_sub(padding).min(side);
        Window { covered, counted: (start + size).min(side + 2 * padding) - start }
    };
    (0..count).map(|place| window(place * stride)).collect()
}

/// (samples, elements) of maps of shape `input`, to those of the pooled maps.
pub fn pool(pool: &Pool, input: MapShape, maps: &Tensor) -> Result<Tensor> {
    let output = pool.output(input);
    let samples = maps.dim(0)?;
    let rows = windows(pool, input.height, output.height);
    let columns = windows(pool, input.width, output.width);
    let maps = maps.reshape((samples, input.height, input.width * input.channels))?;
    let maps = along(pool.kind, pool.size, &maps, &rows)?;
    let maps = maps.reshape((samples * output.height, input.width, input.channels))?;
    along(pool.kind, pool.size, &maps, &columns)?.reshape((samples, output.len()))
}

/// (maps, side, others) to (maps, windows, others).
fn along(kind: PoolKind, size: usize, maps: &Tensor, windows: &[Window]) -> Result<Tensor> {
    match kind {
        PoolKind::Max => maxima(size, maps, windows),
        PoolKind::Average => averages(maps, windows),
    }
}

/// Where a window has fewer cells, its last one stands for those that are missing.
fn maxima(size: usize, maps: &Tensor, windows: &[Window]) -> Result<Tensor> {
    let cells = |offset: usize| {
        let cell = |window: &Window| (window.covered.start + offset).min(window.covered.end - 1);
        maps.index_select(&indices(windows.iter().map(cell))?, 1)
    };
    (1..size).try_fold(cells(0)?, |largest, offset| largest.maximum(&cells(offset)?))
}

fn averages(maps: &Tensor, windows: &[Window]) -> Result<Tensor> {
    let side = maps.dim(1)?;
    let mut shares = vec![0.0_f32; windows.len() * side];
    for (row, window) in shares.chunks_exact_mut(side).zip(windows) {
        row[window.covered.clone()].fill(1.0 / window.counted as f32);
    }
    Tensor::from_vec(shares, (windows.len(), side), &Device::Cpu)?.broadcast_matmul(maps)
}
