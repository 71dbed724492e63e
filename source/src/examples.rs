//! Samples in memory, with their labels where they have any.

use std::fmt;

use super::shape::{ChannelScale, Shape};

/// Samples of one shape. Images are kept as the bytes they are stored in.
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
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Pixels { bytes, .. } => bytes.len(),
            Self::Rows(rows) => rows.len(),
        }
    }
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

    /// The shape of each sample.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.shape.len()
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
            Values::Rows(_) => vec![0.0; self.shape.channels],
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
        };
        let labels = if self.labels.is_empty() { Vec::new() } else { select(&self.labels, 1, indices) };
        Self { shape: self.shape, values, labels }
    }

    /// Writes sample `index` to `out`, (height, width, channels); pixels are scaled.
    pub fn write(&self, index: u32, out: &mut [f32]) {
        let length = self.shape.len();
        assert_eq!(out.len(), length, "room for a sample {}", self.shape);
        let start = index as usize * length;
        match &self.values {
            Values::Pixels { bytes, scales } => {
                let pixels = bytes[start..start + length].chunks_exact(self.shape.channels);
                for (out, pixel) in out.chunks_exact_mut(self.shape.channels).zip(pixels) {
                    for ((out, &byte), scale) in out.iter_mut().zip(pixel).zip(*scales) {
                        *out = scale.apply(byte);
                    }
                }
            }
            Values::Rows(rows) => out.copy_from_slice(&rows[start..start + length]),
        }
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
    fn samples_without_labels_are_counted_and_selected() {
        let images = Examples::unlabeled(SHAPE, UNIT, vec![0, 1, 2, 3, 4, 5]);
        assert_eq!((images.len(), images.is_empty(), images.labels()), (3, false, &[][..]));
        let subset = images.subset(&[1]);
        assert_eq!((subset.len(), subset.labels()), (1, &[][..]));
        assert_eq!(sample(&subset, 0), sample(&images, 1));
    }
}
