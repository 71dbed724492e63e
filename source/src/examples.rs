//! Samples in memory, with their labels where they have any.

use std::fmt;
use std::ops::Range;

use super::layout::{Layout, Lengths};
use super::shape::{ChannelScale, Shape};

/// Samples of one shape, or sequences of frames, each of its own length. Images are kept as the bytes they are stored in.
#[derive(Clone)]
pub struct Examples {
    shape: Shape,
    values: Values,
    /// One for each sample, or none at all.
    labels: Vec<u8>,
}

/// Values of all samples, one after the other, each (height, width, channels).
#[derive(Clone)]
enum Values {
    /// Given out scaled, one scale for each channel.
    Pixels { bytes: Vec<u8>, scales: &'static [ChannelScale] },
    /// Given out as they are.
    Rows(Vec<f32>),
    /// Given out as they are, each (frames, channels).
    Sequences {
        /// All frames.
        numbers: Vec<f32>,
        /// Where each sequence begins, and where the last ends.
        bounds: Vec<usize>,
    },
}

impl Examples {
    /// Images of 8-bit pixels, (samples, height, width, channels), with the scale of each channel.
    pub fn from_pixels(
        shape: Shape,
        scales: &'static [ChannelScale],
        pixels: Vec<u8>,
        labels: Vec<u8>,
    ) -> Self {
        let examples = Self::unlabeled(shape, scales, pixels);
        assert_eq!(labels.len(), examples.len(), "labels of {} images", examples.len());
        Self { labels, ..examples }
    }

    /// Images without labels: 8-bit pixels, (samples, height, width, channels), with the scale of each channel.
    pub fn unlabeled(shape: Shape, scales: &'static [ChannelScale], pixels: Vec<u8>) -> Self {
        assert_eq!(pixels.len() % shape.len(), 0, "pixels of images {shape}");
        assert_eq!(scales.len(), shape.channels, "scales of the channels of images {shape}");
        Self { shape, values: Values::Pixels { bytes: pixels, scales }, labels: Vec::new() }
    }

    /// Rows of numbers, (samples, height, width, channels).
    pub fn from_rows(shape: Shape, rows: Vec<f32>, labels: Vec<u8>) -> Self {
        assert_eq!(rows.len(), labels.len() * shape.len(), "numbers of {} rows {shape}", labels.len());
        Self { shape, values: Values::Rows(rows), labels }
    }

    /// Sequences, each (frames, channels), of which the longest of the data set has `longest` frames; with their labels.
    pub fn from_sequences(
        longest: usize,
        channels: usize,
        sequences: impl IntoIterator<Item = Vec<f32>>,
        labels: Vec<u8>,
    ) -> Self {
        let (mut numbers, mut bounds) = (Vec::new(), vec![0]);
        for sequence in sequences {
            assert!(
                !sequence.is_empty() && sequence.len().is_multiple_of(channels),
                "whole frames, at least one"
            );
            assert!(sequence.len() <= longest * channels, "no more than {longest} frames");
            numbers.extend(sequence);
            bounds.push(numbers.len());
        }
        assert_eq!(labels.len(), bounds.len() - 1, "labels of {} sequences", bounds.len() - 1);
        let shape = Shape { height: longest, width: 1, channels };
        Self { shape, values: Values::Sequences { numbers, bounds }, labels }
    }

    /// The shape of each sample; of sequences, that of the longest of the data set.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What all samples have in common.
    pub fn layout(&self) -> Layout {
        let lengths = match &self.values {
            Values::Pixels { .. } | Values::Rows(_) => Lengths::Alike,
            Values::Sequences { numbers, .. } => {
                let frames = numbers.len() / self.shape.channels;
                Lengths::Frames { mean: frames as f64 / self.len().max(1) as f64 }
            }
        };
        Layout { shape: self.shape, lengths }
    }

    /// The shape of one sample, which is its own only where samples are sequences.
    pub fn shape_of(&self, index: u32) -> Shape {
        match &self.values {
            Values::Pixels { .. } | Values::Rows(_) => self.shape,
            Values::Sequences { .. } => {
                Shape { height: self.range(index).len() / self.shape.channels, ..self.shape }
            }
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Pixels { bytes, .. } => bytes.len() / self.shape.len(),
            Values::Rows(rows) => rows.len() / self.shape.len(),
            Values::Sequences { bounds, .. } => bounds.len() - 1,
        }
    }

    /// Where a sample's numbers are among all.
    fn range(&self, index: u32) -> Range<usize> {
        let index = index as usize;
        match &self.values {
            Values::Pixels { .. } | Values::Rows(_) => {
                let length = self.shape.len();
                index * length..(index + 1) * length
            }
            Values::Sequences { bounds, .. } => bounds[index]..bounds[index + 1],
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The label of each sample; empty where they have none.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// What a pixel outside of an image is, (channels): a black one for images, zeros for rows.
    pub fn background(&self) -> Vec<f32> {
        match &self.values {
            Values::Pixels { scales, .. } => scales.iter().map(|scale| scale.apply(0)).collect(),
            Values::Rows(_) | Values::Sequences { .. } => vec![0.0; self.shape.channels],
        }
    }

    /// The samples of these indices, in this order.
    #[must_use]
    pub fn subset(&self, indices: &[u32]) -> Self {
        let length = self.shape.len();
        let values = match &self.values {
            Values::Pixels { bytes, scales } => {
                Values::Pixels { bytes: select(bytes, length, indices), scales }
            }
            Values::Rows(rows) => Values::Rows(select(rows, length, indices)),
            Values::Sequences { numbers, .. } => {
                let (mut selected, mut bounds) = (Vec::new(), vec![0]);
                for &index in indices {
                    selected.extend_from_slice(&numbers[self.range(index)]);
                    bounds.push(selected.len());
                }
                Values::Sequences { numbers: selected, bounds }
            }
        };
        let labels = if self.labels.is_empty() { Vec::new() } else { select(&self.labels, 1, indices) };
        Self { shape: self.shape, values, labels }
    }

    /// Writes sample `index` to `out`, (height, width, channels) of its own shape; pixels are scaled.
    pub fn write(&self, index: u32, out: &mut [f32]) {
        let range = self.range(index);
        assert_eq!(out.len(), range.len(), "room for a sample {}", self.shape_of(index));
        match &self.values {
            Values::Pixels { bytes, scales } => {
                let pixels = bytes[range].chunks_exact(self.shape.channels);
                for (out, pixel) in out.chunks_exact_mut(self.shape.channels).zip(pixels) {
                    for ((out, &byte), scale) in out.iter_mut().zip(pixel).zip(*scales) {
                        *out = scale.apply(byte);
                    }
                }
            }
            Values::Rows(numbers) | Values::Sequences { numbers, .. } => out.copy_from_slice(&numbers[range]),
        }
    }

    /// The frames of all sequences, (frames of all, channels); nothing where samples are none.
    pub fn frames(&self) -> impl Iterator<Item = &[f32]> {
        let numbers: &[f32] =
            if let Values::Sequences { numbers, .. } = &self.values { numbers } else { &[] };
        numbers.chunks_exact(self.shape.channels)
    }

    /// The same, to be changed.
    pub fn frames_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let numbers: &mut [f32] =
            if let Values::Sequences { numbers, .. } = &mut self.values { numbers } else { &mut [] };
        numbers.chunks_exact_mut(self.shape.channels)
    }
}

impl fmt::Debug for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} examples {}", self.len(), self.shape)
    }
}

/// The items of `length` values each that have these indices.
fn select<T: Copy>(values: &[T], length: usize, indices: &[u32]) -> Vec<T> {
    let mut selected = Vec::with_capacity(indices.len() * length);
    for &index in indices {
        let start = index as usize * length;
        selected.extend_from_slice(&values[start..start + length]);
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { height: 1, width: 2, channels: 1 };
    const UNIT: &[ChannelScale] = &[ChannelScale::UNIT];

    fn sample(examples: &Examples, index: u32) -> Vec<f32> {
        let mut out = vec![f32::NAN; examples.shape().len()];
        examples.write(index, &mut out);
        out
    }

    #[test]
    fn pixels_are_divided_by_255_and_rows_are_not() {
        let images = Examples::from_pixels(SHAPE, UNIT, vec![0, 255, 51, 1], vec![3, 4]);
        assert_eq!(sample(&images, 0), [0.0, 1.0]);
        assert_eq!(sample(&images, 1), [51.0 / 255.0, 1.0 / 255.0]);
        let rows = Examples::from_rows(SHAPE, vec![5.1, 3.5], vec![0]);
        assert_eq!(sample(&rows, 0), [5.1, 3.5]);
    }

    #[test]
    fn each_channel_of_a_pixel_has_its_own_scale_and_the_background_is_a_black_pixel() {
        const SCALES: &[ChannelScale] =
            &[ChannelScale { mean: 1.0, deviation: 0.5 }, ChannelScale { mean: 0.0, deviation: 0.25 }];
        let shape = Shape { height: 1, width: 2, channels: 2 };
        let images = Examples::from_pixels(shape, SCALES, vec![0, 255, 255, 0], vec![0]);
        assert_eq!(sample(&images, 0), [-2.0, 4.0, 0.0, 0.0]);
        assert_eq!(images.background(), [-2.0, 0.0]);
        assert_eq!(Examples::from_rows(shape, vec![1.0; 4], vec![0]).background(), [0.0, 0.0]);
    }

    #[test]
    fn a_subset_keeps_samples_and_labels_together() {
        let images = Examples::from_pixels(SHAPE, UNIT, vec![0, 1, 2, 3, 4, 5], vec![7, 8, 9]);
        let subset = images.subset(&[2, 0]);
        assert_eq!((subset.labels(), subset.len()), (&[9, 7][..], 2));
        assert_eq!(sample(&subset, 0), sample(&images, 2));
        assert_eq!(sample(&subset, 1), sample(&images, 0));
    }

    #[test]
    fn sequences_keep_their_lengths() {
        let sequences = [vec![1.0, 2.0], vec![3.0, 4.0, 5.0, 6.0, 7.0, 8.0], vec![9.0, 10.0, 11.0, 12.0]];
        let all = Examples::from_sequences(4, 2, sequences, vec![0, 1, 2]);
        assert_eq!((all.len(), all.shape()), (3, Shape { height: 4, width: 1, channels: 2 }));
        assert_eq!(all.layout(), Layout { shape: all.shape(), lengths: Lengths::Frames { mean: 2.0 } });
        let subset = all.subset(&[2, 0]);
        assert_eq!((subset.len(), subset.labels(), subset.shape()), (2, &[2, 0][..], all.shape()));
        assert_eq!(subset.layout().lengths, Lengths::Frames { mean: 1.5 });
        for (index, height, expected) in [(0, 2, &[9.0, 10.0, 11.0, 12.0][..]), (1, 1, &[1.0, 2.0])] {
            assert_eq!(subset.shape_of(index), Shape { height, ..all.shape() });
            let mut out = vec![f32::NAN; expected.len()];
            subset.write(index, &mut out);
            assert_eq!(out, expected);
        }
        assert_eq!(subset.frames().collect::<Vec<_>>(), [[9.0, 10.0], [11.0, 12.0], [1.0, 2.0]]);
    }

    #[test]
    fn samples_without_labels_are_counted_and_selected() {
        let images = Examples::unlabeled(SHAPE, UNIT, vec![0, 1, 2, 3, 4, 5]);
        assert_eq!((images.len(), images.is_empty(), images.labels()), (3, false, &[][..]));
        let subset = images.subset(&[1]);
        assert_eq!((subset.len(), subset.labels()), (1, &[][..]));
        assert_eq!(sample(&subset, 0), sample(&images, 1));
    }
}
