//! Samples with their labels and their names where they have any.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::choice::Choice;
use super::held::{Held, Value};
use super::layout::{Layout, Lengths};
use super::moments::Moments;
use super::moments_of;
use super::names::Names;
use super::read_error::ReadError;
use super::shape::{ChannelScale, Shape};

/// Samples of one shape, or sequences of frames, each of its own length. Images are kept as the bytes they are stored in. Clones and
/// subsets share the values.
#[derive(Clone)]
pub struct Examples {
    shape: Shape,
    values: Values,
    /// Which of the samples that the values are of.
    chosen: Choice,
    /// One for each sample, or none at all.
    labels: Vec<u32>,
    /// What each sample is called; where nothing is, by its number.
    names: Option<(Names, Choice)>,
}

/// Values of all samples, one after the other, each (height, width, channels).
#[derive(Clone)]
enum Values {
    /// Given out scaled, one scale for each channel.
    Pixels { bytes: Held<u8>, scales: Arc<[ChannelScale]> },
    /// Given out standardised where moments are known, one pair for each channel.
    Rows { numbers: Held<f32>, moments: Option<Arc<[Moments]>> },
    /// The same of sequences, each (frames, channels).
    Sequences {
        /// All frames.
        numbers: Held<f32>,
        /// Where each sequence begins, and where the last ends.
        bounds: Arc<[usize]>,
        /// How each number of a frame is standardised.
        moments: Option<Arc<[Moments]>>,
    },
}

impl Examples {
    /// Images of 8-bit pixels, (samples, height, width, channels), with the scale of each channel; labels for all, or none.
    pub fn from_pixels(
        shape: Shape,
        scales: impl Into<Arc<[ChannelScale]>>,
        pixels: impl Into<Held<u8>>,
        labels: Vec<u32>,
    ) -> Self {
        let (bytes, scales) = (pixels.into(), scales.into());
        assert_eq!(bytes.len() % shape.len(), 0, "pixels of images {shape}");
        assert_eq!(scales.len(), shape.channels, "scales of the channels of images {shape}");
        Self::new(shape, Values::Pixels { bytes, scales }, labels)
    }

    /// Rows of numbers, (samples, height, width, channels); labels for all, or none.
    pub fn from_rows(shape: Shape, rows: impl Into<Held<f32>>, labels: Vec<u32>) -> Self {
        let numbers = rows.into();
        assert_eq!(numbers.len() % shape.len(), 0, "numbers of rows {shape}");
        Self::new(shape, Values::Rows { numbers, moments: None }, labels)
    }

    /// Sequences, each (frames, channels), of which the longest of the data set has `longest` frames; labels for all, or none.
    pub fn from_sequences(
        longest: usize,
        channels: usize,
        sequences: impl IntoIterator<Item = Vec<f32>>,
        labels: Vec<u32>,
    ) -> Self {
        let (mut numbers, mut lengths) = (Vec::new(), Vec::new());
        for sequence in sequences {
            lengths.push(sequence.len());
            numbers.extend(sequence);
        }
        Self::from_frames(longest, channels, numbers, &lengths, labels)
    }

    /// The same of the frames of all sequences, of which each has so many numbers.
    pub fn from_frames(
        longest: usize,
        channels: usize,
        frames: impl Into<Held<f32>>,
        lengths: &[usize],
        labels: Vec<u32>,
    ) -> Self {
        let (numbers, mut bounds) = (frames.into(), vec![0]);
        for &length in lengths {
            assert!(length > 0 && length.is_multiple_of(channels), "whole frames, at least one");
            assert!(length <= longest * channels, "no more than {longest} frames");
            bounds.push(bounds[bounds.len() - 1] + length);
        }
        assert_eq!(bounds.last(), Some(&numbers.len()), "numbers of all frames");
        let shape = Shape { height: longest, width: 1, channels };
        Self::new(shape, Values::Sequences { numbers, bounds: bounds.into(), moments: None }, labels)
    }

    fn new(shape: Shape, values: Values, labels: Vec<u32>) -> Self {
        let examples = Self { shape, values, chosen: Choice::default(), labels, names: None };
        let (labels, samples) = (examples.labels.len(), examples.len());
        assert!(labels == 0 || labels == samples, "{labels} labels of {samples} samples");
        examples
    }

    /// The same, with a name for each sample.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        assert_eq!(names.len(), self.len(), "a name for each sample");
        Self { names: Some((names, Choice::default())), ..self }
    }

    /// The same, each sample called by its number, behind `part`, unless it has a name.
    #[must_use]
    pub fn numbered(self, part: &str) -> Self {
        if self.names.is_some() {
            return self;
        }
        let names = (0..self.len()).map(|index| format!("{part}{index}")).collect();
        self.with_names(names)
    }

    /// The same, with these labels, for all or none.
    #[must_use]
    pub fn with_labels(self, labels: Vec<u32>) -> Self {
        assert!(labels.is_empty() || labels.len() == self.len(), "a label for each sample, or none");
        Self { labels, ..self }
    }

    /// The shape of each sample; of sequences, that of the longest of the data set.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// What all samples have in common.
    pub fn layout(&self) -> Layout {
        let lengths = match &self.values {
            Values::Pixels { .. } | Values::Rows { .. } => Lengths::Alike,
            Values::Sequences { .. } => {
                let numbers: usize = self.indices().map(|index| self.range(index).len()).sum();
                let frames = numbers / self.shape.channels;
                Lengths::Frames { mean: frames as f64 / self.len().max(1) as f64 }
            }
        };
        Layout { shape: self.shape, lengths }
    }

    /// The shape of one sample, which is its own only where samples are sequences.
    pub fn shape_of(&self, index: u32) -> Shape {
        match &self.values {
            Values::Pixels { .. } | Values::Rows { .. } => self.shape,
            Values::Sequences { .. } => {
                Shape { height: self.range(index).len() / self.shape.channels, ..self.shape }
            }
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.chosen.len(match &self.values {
            Values::Pixels { bytes, .. } => bytes.len() / self.shape.len(),
            Values::Rows { numbers, .. } => numbers.len() / self.shape.len(),
            Values::Sequences { bounds, .. } => bounds.len() - 1,
        })
    }

    fn indices(&self) -> Range<u32> {
        0..self.len() as u32
    }

    /// Where a sample's numbers are among all.
    fn range(&self, index: u32) -> Range<usize> {
        let index = self.chosen.at(index);
        match &self.values {
            Values::Pixels { .. } | Values::Rows { .. } => {
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
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// What a sample is called: the name of its file, or else its number, counted from 0.
    pub fn name(&self, index: u32) -> Cow<'_, str> {
        match &self.names {
            Some((names, chosen)) => names.text(chosen.at(index)),
            None => Cow::Owned(index.to_string()),
        }
    }

    /// What a pixel outside of an image is, (channels): a black one for images, zeros for rows.
    pub fn background(&self) -> Vec<f32> {
        match &self.values {
            Values::Pixels { scales, .. } => scales.iter().map(|scale| scale.apply(0)).collect(),
            Values::Rows { .. } | Values::Sequences { .. } => vec![0.0; self.shape.channels],
        }
    }

    /// The samples of these indices, in this order.
    #[must_use]
    pub fn subset(&self, indices: &[u32]) -> Self {
        let label = |&index: &u32| self.labels.get(index as usize).copied();
        Self {
            shape: self.shape,
            values: self.values.clone(),
            chosen: self.chosen.of(indices),
            labels: indices.iter().filter_map(label).collect(),
            names: self.names.as_ref().map(|(names, chosen)| (names.clone(), chosen.of(indices))),
        }
    }

    /// Writes sample `index` to `out`, (height, width, channels) of its own shape, scaled.
    pub fn write(&self, index: u32, out: &mut [f32]) -> Result<(), ReadError> {
        let range = self.range(index);
        assert_eq!(out.len(), range.len(), "room for a sample {}", self.shape_of(index));
        let channels = self.shape.channels;
        match &self.values {
            Values::Pixels { bytes, scales } => {
                let bytes = bytes.at(range)?;
                let pixels = bytes.chunks_exact(channels);
                for (out, pixel) in out.chunks_exact_mut(channels).zip(pixels) {
                    for ((out, &byte), scale) in out.iter_mut().zip(pixel).zip(&**scales) {
                        *out = scale.apply(byte);
                    }
                }
            }
            Values::Rows { numbers, moments } | Values::Sequences { numbers, moments, .. } => {
                out.copy_from_slice(&numbers.at(range)?);
                if let Some(moments) = moments {
                    for out in out.chunks_exact_mut(channels) {
                        out.iter_mut().zip(&**moments).for_each(|(out, moments)| *out = moments.fill(*out));
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives images out with these scales from now on.
    pub fn scale_pixels(&mut self, new: Arc<[ChannelScale]>) {
        assert_eq!(new.len(), self.shape.channels, "a scale for each channel");
        match &mut self.values {
            Values::Pixels { scales, .. } => *scales = new,
            Values::Rows { .. } | Values::Sequences { .. } => panic!("only images of bytes have pixels"),
        }
    }

    /// Gives rows and sequences out standardised by these moments from now on.
    pub fn standardize(&mut self, new: Arc<[Moments]>) {
        assert_eq!(new.len(), self.shape.channels, "moments of each channel");
        match &mut self.values {
            Values::Rows { moments, .. } | Values::Sequences { moments, .. } => *moments = Some(new),
            Values::Pixels { .. } => panic!("images of bytes have scales"),
        }
    }

    /// The mean and the deviation of each channel over all samples and positions, before any scaling: of images, of bytes / 255.
    pub fn moments(&self) -> Result<Vec<Moments>, ReadError> {
        let channels = self.shape.channels;
        match &self.values {
            Values::Pixels { bytes, .. } => moments_of::bytes(channels, &mut |of| self.each(bytes, of)),
            Values::Rows { numbers, .. } | Values::Sequences { numbers, .. } => {
                moments_of::numbers(channels, &mut |of| self.each(numbers, of))
            }
        }
    }

    /// Shows the values of each sample, in their order.
    fn each<T: Value>(&self, held: &Held<T>, of: &mut dyn FnMut(&[T])) -> Result<(), ReadError> {
        for index in self.indices() {
            of(&held.at(self.range(index))?);
        }
        Ok(())
    }

    /// The frames of all sequences, before any scaling, (frames of all, channels); nothing where samples are none.
    #[cfg(test)]
    pub fn frames(&self) -> Vec<Vec<f32>> {
        let mut frames = Vec::new();
        if let Values::Sequences { numbers, .. } = &self.values {
            let mut add = |numbers: &[f32]| {
                frames.extend(numbers.chunks_exact(self.shape.channels).map(<[f32]>::to_vec));
            };
            self.each(numbers, &mut add).expect("in memory");
        }
        frames
    }
}

impl fmt::Debug for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} examples {}", self.len(), self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { height: 1, width: 2, channels: 1 };
    const UNIT: &[ChannelScale] = &[ChannelScale::UNIT];

    fn sample(examples: &Examples, index: u32) -> Vec<f32> {
        let mut out = vec![f32::NAN; examples.shape().len()];
        examples.write(index, &mut out).unwrap();
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
            subset.write(index, &mut out).unwrap();
            assert_eq!(out, expected);
        }
        assert_eq!(subset.frames(), [[9.0, 10.0], [11.0, 12.0], [1.0, 2.0]]);
    }

    #[test]
    fn samples_without_labels_are_counted_and_selected() {
        let images = Examples::from_pixels(SHAPE, UNIT, vec![0, 1, 2, 3, 4, 5], Vec::new());
        assert_eq!((images.len(), images.is_empty(), images.labels()), (3, false, &[][..]));
        let subset = images.subset(&[1]);
        assert_eq!((subset.len(), subset.labels()), (1, &[][..]));
        assert_eq!(sample(&subset, 0), sample(&images, 1));
    }

    #[test]
    fn names_stay_with_samples_and_numbers_stand_in_for_them() {
        let images = Examples::from_pixels(SHAPE, UNIT, vec![0, 1, 2, 3, 4, 5], Vec::new());
        assert_eq!(images.subset(&[2, 0]).name(1), "1");
        assert_eq!(images.clone().numbered("").subset(&[2, 0]).name(0), "2");
        let named = images.with_names(["a.png", "b.png", "c.png"].into_iter().collect());
        assert_eq!((named.subset(&[2, 0]).name(0), named.name(1)), ("c.png".into(), "b.png".into()));
    }

    #[test]
    fn each_number_of_a_frame_gets_mean_0_and_deviation_1_over_all_frames() {
        let sequences = [vec![1.0, 7.0, 3.0, 7.0], vec![5.0, 7.0]];
        let mut examples = Examples::from_sequences(2, 2, sequences, vec![0, 1]);
        examples.standardize(examples.moments().unwrap().into());
        let end = 1.5_f32.sqrt();
        let mut found = [0.0; 6];
        examples.write(0, &mut found[..4]).unwrap();
        examples.write(1, &mut found[4..]).unwrap();
        for (found, expected) in found.iter().zip([-end, 0.0, 0.0, 0.0, end, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }

    #[test]
    fn moments_of_pixels_are_those_of_bytes_over_255() {
        let shape = Shape { height: 1, width: 2, channels: 2 };
        let images = Examples::from_pixels(shape, [ChannelScale::UNIT; 2], vec![0, 51, 255, 51], Vec::new());
        let moments = images.moments().unwrap();
        assert!((moments[0].mean - 0.5).abs() < 1e-12 && (moments[0].deviation - 0.5).abs() < 1e-12);
        assert!((moments[1].mean - 0.2).abs() < 1e-12 && (moments[1].deviation - 1.0).abs() < 1e-12);
    }
}
