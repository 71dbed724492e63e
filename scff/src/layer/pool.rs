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
        apply(self, (input, output), map, out);
    }

    #[inline(always)]
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

/// Channels of a window that are pooled together, in registers.
const RUN: usize = 32;
/// The same where fewer are left.
const SHORT_RUN: usize = 8;

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn apply(pool: &Pool, (input, output): (MapShape, MapShape), map: &[f32], out: &mut [f32]) {
    let channels = input.channels;
    for (position, out) in out.chunks_exact_mut(channels).enumerate() {
        let rows = pool.span(position / output.width, input.height);
        let columns = pool.span(position % output.width, input.width);
        let window = Window { map, input, rows, columns };
        match pool.kind {
            PoolKind::Max => {
                let raise = |most: f32, value: f32| if value > most { value } else { most };
                window.reduce(f32::NEG_INFINITY, raise, |most| most, out);
            }
            PoolKind::Average => {
                let share = 1.0 / (window.rows.counted * window.columns.counted) as f32;
                window.reduce(0.0, |sum, value| sum + value, |sum| sum * share, out);
            }
        }
    }
}

/// The part of a map that becomes one position.
struct Window<'a> {
    map: &'a [f32],
    input: MapShape,
    rows: Span,
    columns: Span,
}

impl Window<'_> {
    /// Writes for each channel what `end` makes of what `add` makes of its numbers, one after the other.
    #[inline(always)]
    fn reduce(&self, begin: f32, add: impl Fn(f32, f32) -> f32, end: impl Fn(f32) -> f32, out: &mut [f32]) {
        let (runs, rest) = out.as_chunks_mut::<RUN>();
        let mut channel = 0;
        for run in runs {
            *run = self.reduce_run(channel, begin, &add, &end);
            channel += RUN;
        }
        let (runs, rest) = rest.as_chunks_mut::<SHORT_RUN>();
        for run in runs {
            *run = self.reduce_run(channel, begin, &add, &end);
            channel += SHORT_RUN;
        }
        for out in rest {
            [*out] = self.reduce_run(channel, begin, &add, &end);
            channel += 1;
        }
    }

    /// The same of consecutive channels from `first` on.
    #[inline(always)]
    fn reduce_run<const RUN: usize>(
        &self,
        first: usize,
        begin: f32,
        add: impl Fn(f32, f32) -> f32,
        end: impl Fn(f32) -> f32,
    ) -> [f32; RUN] {
        let MapShape { width, channels, .. } = self.input;
        let mut reduced = [begin; RUN];
        for row in self.rows.start..self.rows.end {
            for column in self.columns.start..self.columns.end {
                let place = (row * width + column) * channels + first;
                let values = self.map[place..].first_chunk::<RUN>().expect("so many channels");
                for lane in 0..RUN {
                    reduced[lane] = add(reduced[lane], values[lane]);
                }
            }
        }
        for value in &mut reduced {
            *value = end(*value);
        }
        reduced
    }
}
