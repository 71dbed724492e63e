//! Samples with labels, in memory.

use std::fmt;

/// The shape of one sample: (channels, height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels, C.
    pub channels: usize,
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
}

impl Shape {
    /// How many numbers a sample has: C * H * W.
    #[expect(clippy::len_without_is_empty, reason = "no sample is empty")]
    pub fn len(self) -> usize {
        self.channels * self.height * self.width
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Samples of one shape with their labels. Images are kept as the bytes they are stored in.
#[derive(Clone)]
pub struct Examples {
    shape: Shape,
    values: Values,
    labels: Vec<u8>,
}

/// Values of all samples, one after the other, each (channels, height, width).
#[derive(Clone)]
enum Values {
    /// Given out divided by 255.
    Pixels(Vec<u8>),
    Rows(Vec<f32>),
}

impl Examples {
    /// Images of 8-bit pixels, (samples, channels, height, width).
    pub fn from_pixels(shape: Shape, pixels: Vec<u8>, labels: Vec<u8>) -> Self {
        assert_eq!(pixels.len(), labels.len() * shape.len(), "pixels of {} images {shape}", labels.len());
        Self { shape, values: Values::Pixels(pixels), labels }
    }

    /// Rows of numbers, (samples, channels, height, width).
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
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The label of each sample.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The samples of these indices, in this order.
    #[must_use]
    pub fn subset(&self, indices: &[u32]) -> Self {
        let length = self.shape.len();
        let values = match &self.values {
            Values::Pixels(pixels) => Values::Pixels(select(pixels, length, indices)),
            Values::Rows(rows) => Values::Rows(select(rows, length, indices)),
        };
        Self { shape: self.shape, values, labels: select(&self.labels, 1, indices) }
    }

    /// Writes sample `index` to `out`, (channels, height, width); pixels become pixel / 255.
    pub fn write(&self, index: u32, out: &mut [f32]) {
        let length = self.shape.len();
        assert_eq!(out.len(), length, "room for a sample {}", self.shape);
        let start = index as usize * length;
        match &self.values {
            Values::Pixels(pixels) => {
                for (out, &pixel) in out.iter_mut().zip(&pixels[start..start + length]) {
                    *out = f32::from(pixel) / 255.0;
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

    const SHAPE: Shape = Shape { channels: 1, height: 1, width: 2 };

    fn sample(examples: &Examples, index: u32) -> Vec<f32> {
        let mut out = vec![f32::NAN; examples.shape().len()];
        examples.write(index, &mut out);
        out
    }

    #[test]
    fn pixels_are_divided_by_255_and_rows_are_not() {
        let images = Examples::from_pixels(SHAPE, vec![0, 255, 51, 1], vec![3, 4]);
        assert_eq!(sample(&images, 0), [0.0, 1.0]);
        assert_eq!(sample(&images, 1), [51.0 / 255.0, 1.0 / 255.0]);
        let rows = Examples::from_rows(SHAPE, vec![5.1, 3.5], vec![0]);
        assert_eq!(sample(&rows, 0), [5.1, 3.5]);
    }

    #[test]
    fn a_subset_keeps_samples_and_labels_together() {
        let images = Examples::from_pixels(SHAPE, vec![0, 1, 2, 3, 4, 5], vec![7, 8, 9]);
        let subset = images.subset(&[2, 0]);
        assert_eq!((subset.labels(), subset.len()), (&[9, 7][..], 2));
        assert_eq!(sample(&subset, 0), sample(&images, 2));
        assert_eq!(sample(&subset, 1), sample(&images, 0));
    }

    #[test]
    fn a_shape_is_written_with_crosses() {
        assert_eq!(Shape { channels: 1, height: 28, width: 28 }.to_string(), "1x28x28");
        assert_eq!(SHAPE.len(), 2);
    }
}
