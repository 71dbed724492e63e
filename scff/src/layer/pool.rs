//! Pooling with ceil mode and PyTorch's rules at the edges.
//!
//! Along an axis of length n: o = ceil((n + 2p - k) / s) + 1 windows, one less where the last would start beyond
//! n + p. Maxima ignore padding. Averages divide by the part of the window that lies within [-p, n + p): zeros of the
//! declared padding count, cells beyond it do not.

use multiversion::multiversion;
use serde::{Deserialize, Serialize};

use super::map::MapShape;

/// How a window becomes one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// Its largest number.
    Max,
    /// Its mean.
    Average,
}

/// Pooling of every channel on its own, in square windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// How a window becomes one number.
    pub kind: PoolKind,
    /// Side of the window, k.
    pub size: usize,
    /// From one window to the next, s.
    pub stride: usize,
    /// Cells around the map, p: at most half a window.
    pub padding: usize,
}

/// The part of an axis that a window covers.
struct Span {
    start: usize,
    end: usize,
    /// Cells that an average divides by.
    counted: usize,
}

impl Pool {
    /// The shape of the pooled map. `input` plus padding is at least as large as a window.
    pub fn output(&self, input: MapShape) -> MapShape {
        let windows = |side: usize| {
            let Self { size, stride, padding, .. } = *self;
            let windows = (side + 2 * padding - size).div_ceil(stride) + 1;
            if (windows - 1) * stride >= side + padding { windows - 1 } else { windows }
        };
        MapShape { height: windows(input.height), width: windows(input.width), channels: input.channels }
    }

    /// Writes the pooled `map` of shape `input` to `out`.
    pub fn apply(&self, input: MapShape, map: &[f32], out: &mut [f32]) {
        let output = self.output(input);
        assert_eq!((map.len(), out.len()), (input.len(), output.len()), "maps of {input} and {output}");
        let channels = input.channels;
        for (position, out) in out.chunks_exact_mut(channels).enumerate() {
            let rows = self.span(position / output.width, input.height);
            let columns = self.span(position % output.width, input.width);
            let window = (rows.start..rows.end)
                .map(|row| &map[(row * input.width + columns.start) * channels..])
                .map(|row| &row[..(columns.end - columns.start) * channels]);
            match self.kind {
                PoolKind::Max => {
                    out.fill(f32::NEG_INFINITY);
                    window.for_each(|row| raise(out, row));
                }
                PoolKind::Average => {
                    out.fill(0.0);
                    window.for_each(|row| add(out, row));
                    let share = 1.0 / (rows.counted * columns.counted) as f32;
                    for value in out.iter_mut() {
                        *value *= share;
                    }
                }
            }
        }
    }

    fn span(&self, window: usize, side: usize) -> Span {
        let Self { size, stride, padding, .. } = *self;
        // Both counted from the start of the padding.
        let start = window * stride;
        let end = (start + size).min(side + 2 * padding);
        Span {
            start: start.saturating_sub(padding),
            end: (start + size).saturating_sub(padding).min(side),
            counted: end - start,
        }
    }
}

/// out[c] = max(out[c], every row[.., c])
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn raise(out: &mut [f32], row: &[f32]) {
    for cell in row.chunks_exact(out.len()) {
        for (out, &value) in out.iter_mut().zip(cell) {
            *out = if value > *out { value } else { *out };
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add(out: &mut [f32], row: &[f32]) {
    for cell in row.chunks_exact(out.len()) {
        for (out, &value) in out.iter_mut().zip(cell) {
            *out += value;
        }
    }
}
