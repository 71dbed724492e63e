//! Convolutions: z[y, x] = W . patch(y, x) + b over a reflect-padded map.
//!
//! W has the shape (channels, kernel * kernel * input channels); a patch and a channel's weights stand as (row,
//! column, input channel), so that a patch is `kernel` contiguous runs of a channels-last map.

use multiversion::multiversion;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;
use super::map::MapShape;
use crate::scratch::{Buffer, buffer};
use crate::winograd;

/// The shape of a convolution of stride 1 (cross-correlation, as in PyTorch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv {
    /// The map that it reads.
    pub input: MapShape,
    /// Output channels.
    pub channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Reflect padding on every side; less than the map's sides.
    pub padding: usize,
    /// How it is computed.
    #[serde(default, skip_serializing_if = "Algorithm::is_direct")]
    pub algorithm: Algorithm,
}

impl Conv {
    /// The shape of z.
    pub fn output(&self) -> MapShape {
        let shrunk = |side: usize| side + 2 * self.padding + 1 - self.kernel;
        MapShape {
            height: shrunk(self.input.height),
            width: shrunk(self.input.width),
            channels: self.channels,
        }
    }

    /// The map after padding.
    pub fn padded(&self) -> MapShape {
        let grown = |side: usize| side + 2 * self.padding;
        let MapShape { height, width, channels } = self.input;
        MapShape { height: grown(height), width: grown(width), channels }
    }

    /// Weights of one output channel: kernel * kernel * input channels.
    pub fn fan_in(&self) -> usize {
        self.kernel * self.kernel * self.input.channels
    }

    /// Multiply-adds of one sample's products.
    pub fn multiply_adds(&self) -> u64 {
        let fan_in = match self.algorithm {
            Algorithm::Direct => self.fan_in(),
            Algorithm::Winograd => self.input.channels,
        };
        (self.products() * self.channels) as u64 * fan_in as u64
    }

    /// Rows of its products for one sample: positions, or of each tile all frequencies.
    pub fn products(&self) -> usize {
        match self.algorithm {
            Algorithm::Direct => self.output().positions(),
            Algorithm::Winograd => winograd::tiles(self.output()) * winograd::FREQUENCIES,
        }
    }

    /// Numbers that stand in products for the kernel of one input channel.
    pub fn products_of_weight(&self) -> usize {
        match self.algorithm {
            Algorithm::Direct => self.kernel * self.kernel,
            Algorithm::Winograd => winograd::FREQUENCIES,
        }
    }

    /// How often each position of the input stands in the padded map: 1, and once more for each reflection of it.
    pub fn multiplicities(&self) -> Vec<f64> {
        let axis = |side: usize| {
            let mut counts = vec![0.0; side];
            for place in 0..side + 2 * self.padding {
                counts[reflected(place, side, self.padding)] += 1.0;
            }
            counts
        };
        let (rows, columns) = (axis(self.input.height), axis(self.input.width));
        rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect()
    }

    /// The position of the map that stands at a place of the padded one, if there is such a place.
    pub(crate) fn source(&self, row: usize, column: usize) -> Option<usize> {
        let MapShape { height, width, .. } = self.padded();
        let inside = row < height && column < width;
        let place = |place, side| reflected(place, side, self.padding);
        inside.then(|| place(row, self.input.height) * self.input.width + place(column, self.input.width))
    }

    /// The patches of some samples, (samples, elements): (samples * positions, fan-in).
    pub(crate) fn patches_of(&self, samples: ArrayView2<'_, f32>) -> Buffer {
        let length = self.output().positions() * self.fan_in();
        let mut patches = buffer(samples.nrows() * length);
        for (sample, patches) in samples.outer_iter().zip(patches.chunks_exact_mut(length)) {
            let sample = sample.to_slice().expect("rows are contiguous");
            self.patches(sample, patches);
        }
        patches
    }

    /// Writes the patches that the kernel sees of `map` to `patches`: (positions, fan-in).
    pub fn patches(&self, map: &[f32], patches: &mut [f32]) {
        let mut padded = buffer(self.padded().len());
        self.pad(map, &mut padded);
        self.lower(&padded, 0, patches);
    }

    /// Writes the reflect-padded `map` to `padded`: (height, width, channels) each.
    pub(crate) fn pad(&self, map: &[f32], padded: &mut [f32]) {
        let MapShape { height, width, channels } = self.input;
        let margin = self.padding * channels;
        let row_length = width * channels;
        let padded_length = row_length + 2 * margin;
        for (place, out) in padded.chunks_exact_mut(padded_length).enumerate() {
            let row = &map[reflected(place, height, self.padding) * row_length..][..row_length];
            out[margin..margin + row_length].copy_from_slice(row);
            for column in (0..self.padding).chain(width + self.padding..width + 2 * self.padding) {
                let from = reflected(column, width, self.padding) * channels;
                out[column * channels..][..channels].copy_from_slice(&row[from..from + channels]);
            }
        }
    }

    /// Writes the patches of a padded map from position `first` on to `patches`, (positions, fan-in), as many as there is room for.
    pub(crate) fn lower(&self, padded: &[f32], first: usize, patches: &mut [f32]) {
        lower(self, padded, first, patches);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn lower(conv: &Conv, padded: &[f32], first: usize, patches: &mut [f32]) {
    let MapShape { width, .. } = conv.output();
    let channels = conv.input.channels;
    let row_length = conv.padded().width * channels;
    let run = conv.kernel * channels;
    let mut rest = patches;
    for position in first..first + rest.len() / conv.fan_in() {
        let start = position / width * row_length + position % width * channels;
        for row in 0..conv.kernel {
            copy(&padded[start + row * row_length..], run, rest);
            rest = &mut rest[run..];
        }
    }
}

/// Copies the first `run` numbers. Where both sides are longer, what follows may be written too, and whoever copies from the
/// front to the back writes over that.
#[inline(always)]
fn copy(from: &[f32], run: usize, to: &mut [f32]) {
    /// So many numbers are moved at once, where a run of fifteen would take a call.
    const TOGETHER: usize = 16;
    let whole = run.next_multiple_of(TOGETHER);
    if from.len() < whole || to.len() < whole {
        return to[..run].copy_from_slice(&from[..run]);
    }
    let (from, to) = (from[..whole].as_chunks::<TOGETHER>().0, to[..whole].as_chunks_mut::<TOGETHER>().0);
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The place of an axis of length `side` that stands at `place` of the padded axis: the edge is not repeated.
fn reflected(place: usize, side: usize, padding: usize) -> usize {
    match place.checked_sub(padding) {
        None => padding - place,
        Some(inside) if inside < side => inside,
        Some(beyond) => 2 * (side - 1) - beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONV: Conv = Conv {
        input: MapShape { height: 4, width: 5, channels: 2 },
        channels: 3,
        kernel: 3,
        padding: 2,
        algorithm: Algorithm::Direct,
    };

    fn map() -> Vec<f32> {
        (0..CONV.input.len()).map(|i| i as f32).collect()
    }

    #[test]
    fn padding_reflects_without_repeating_the_edge() {
        let places: Vec<_> = (0..8).map(|place| reflected(place, 4, 2)).collect();
        assert_eq!(places, [2, 1, 0, 1, 2, 3, 2, 1]);
    }

    #[test]
    fn multiplicities_count_the_padded_map() {
        let mut padded = vec![0.0; CONV.padded().len()];
        CONV.pad(&map(), &mut padded);
        let counts = CONV.multiplicities();
        for (position, count) in counts.iter().enumerate() {
            let first_channel = map()[2 * position];
            let found = padded.iter().filter(|&&value| (value - first_channel).abs() < 0.5).count();
            assert!((found as f64 - count).abs() < 0.5, "position {position}: {found}, not {count}");
        }
        let total: f64 = counts.iter().sum();
        assert!((total - CONV.padded().positions() as f64).abs() < 0.5, "{total}");
    }

    #[test]
    fn patches_are_what_the_kernel_sees() {
        let MapShape { height, width, .. } = CONV.output();
        assert_eq!((height, width), (6, 7));
        let mut patches = vec![0.0; height * width * CONV.fan_in()];
        CONV.patches(&map(), &mut patches);
        let mut expected = Vec::new();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for (dy, dx, channel) in
                (0..3).flat_map(|dy| (0..3).flat_map(move |dx| (0..2).map(move |c| (dy, dx, c))))
            {
                let (row, column) = (reflected(y + dy, 4, 2), reflected(x + dx, 5, 2));
                expected.push(map()[(row * 5 + column) * 2 + channel]);
            }
        }
        assert_eq!(patches, expected);
    }
}
