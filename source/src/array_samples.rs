//! Samples of a NumPy array, read when they are asked for.

use std::ops::Range;
use std::sync::Arc;

use super::array_file::ArrayFile;
use super::bad_file::BadFile;
use super::element::BadElement;
use super::examples::Examples;
use super::held::Held;
use super::input::{ImageInput, InputKind, InputSpec};
use super::picture;
use super::shape::Shape;
use super::work::Work;

/// Elements that are read at a time, about.
const PIECE: usize = 1 << 20;

/// An array, and what is made of each of its samples.
#[derive(Clone, Debug)]
pub struct ArraySamples {
    array: ArrayFile,
    /// The shape of a sample as it is stored.
    stored: Shape,
    /// What samples become; of no classes.
    input: Arc<InputSpec>,
}

impl ArraySamples {
    /// Samples of an array as `kind` says; images of bytes are resized where they have another size.
    pub fn new(array: ArrayFile, kind: &InputKind) -> Result<Self, BadFile> {
        let input = InputSpec { kind: kind.clone(), classes: Vec::new() };
        let shape = input.shape();
        let mut stored = stored_shape(&array)?;
        if array.axes().len() == 2 && stored.len() == shape.len() {
            // Samples that were laid flat.
            stored = shape;
        }
        let resizes = |channels| matches!(channels, 1 | 3);
        let (fits, expected) = match kind {
            InputKind::Images(_) => (
                array.element().is_byte()
                    && (stored == shape
                        || array.axes().len() > 2 && resizes(stored.channels) && resizes(shape.channels)),
                format!("images of bytes (uint8), {shape}, or such as can be resized to that"),
            ),
            InputKind::Numbers(_) => (stored == shape, format!("samples {shape}")),
            InputKind::Recordings(_) => (false, "recordings".to_owned()),
        };
        if !fits {
            let found = format!("samples {stored} of {}", array.element());
            return Err(array.bad(found, expected));
        }
        Ok(Self { array, stored, input: Arc::new(input) })
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.array.axes()[0]
    }

    /// The shape of every sample.
    pub fn shape(&self) -> Shape {
        self.input.shape()
    }

    /// Whether they are images of bytes.
    pub fn are_images(&self) -> bool {
        matches!(self.input.kind, InputKind::Images(_))
    }

    /// Reads a range of the samples; no labels.
    pub fn read(&self, range: Range<usize>) -> Result<Examples, BadFile> {
        if self.are_images() {
            Ok(self.images(self.pixels(range)?))
        } else {
            Ok(self.rows(self.numbers(range)?))
        }
    }

    /// Images of these pixels.
    ///
    /// # Panics
    /// If samples are none.
    pub fn images(&self, pixels: impl Into<Held<u8>>) -> Examples {
        let InputKind::Images(ImageInput { shape, scales }) = &self.input.kind else { panic!("no images") };
        Examples::from_pixels(*shape, scales.as_slice(), pixels, Vec::new())
    }

    /// Rows of these numbers.
    pub fn rows(&self, numbers: impl Into<Held<f32>>) -> Examples {
        let mut examples = Examples::from_rows(self.shape(), numbers, Vec::new());
        self.input.scale(&mut examples);
        examples
    }

    /// What there is to do until all images are decoded.
    pub fn work_of_pixels(&self) -> Work<'_, u8> {
        self.work(self.stored == self.shape(), |range| self.pixels(range))
    }

    /// What there is to do until all numbers are read.
    pub fn work_of_numbers(&self) -> Work<'_, f32> {
        self.work(self.array.element().is_single(), |range| self.numbers(range))
    }

    /// `as_stored` says whether elements are the values.
    fn work<'a, T>(
        &'a self,
        as_stored: bool,
        values: impl Fn(Range<usize>) -> Result<Vec<T>, BadFile> + 'a,
    ) -> Work<'a, T> {
        Work {
            samples: self.len(),
            values: self.len() * self.shape().len(),
            decoding: format!("the array {:?} as {}", self.array.name(), self.shape()),
            ragged: false,
            decode: Box::new(move |range| vec![values(range).map(|values| (values, None))]),
            sums: None,
            stored: if as_stored { self.array.stored() } else { None },
        }
    }

    fn pixels(&self, range: Range<usize>) -> Result<Vec<u8>, BadFile> {
        let shape = self.shape();
        if self.stored == shape {
            return self.array.samples(range);
        }
        let mut pixels = vec![0; range.len() * shape.len()];
        let mut out = pixels.chunks_exact_mut(shape.len());
        for piece in pieces(range, self.stored.len()) {
            let images = self.array.samples(piece)?;
            for (image, out) in images.chunks_exact(self.stored.len()).zip(&mut out) {
                picture::fit(image, self.stored, shape, out);
            }
        }
        Ok(pixels)
    }

    fn numbers(&self, range: Range<usize>) -> Result<Vec<f32>, BadFile> {
        let length = self.stored.len();
        let mut numbers = Vec::new();
        for piece in pieces(range, length) {
            let first = piece.start;
            let elements = self.array.samples(piece)?;
            let converted = self.array.element().numbers(&elements, &mut numbers);
            converted.map_err(|BadElement { index, found, expected }| {
                let found = format!("{found} in sample {}", first + index / length);
                self.array.bad(found, expected)
            })?;
        }
        Ok(numbers)
    }
}

/// Ranges of samples of so many elements each, one after the other.
fn pieces(range: Range<usize>, elements: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (PIECE / elements).max(1);
    let end = range.end;
    range.step_by(step).map(move |start| start..(start + step).min(end))
}

/// The shape of an array's samples: rows of numbers, grey images, or images whose channels stand last.
pub fn stored_shape(array: &ArrayFile) -> Result<Shape, BadFile> {
    let axes = "two to four axes, samples first: (samples, columns), (samples, height, width) or (samples, height, width, channels)";
    let (count, shape) = match *array.axes() {
        [count, channels] => (count, Shape { height: 1, width: 1, channels }),
        [count, height, width] => (count, Shape { height, width, channels: 1 }),
        [count, height, width, channels] => (count, Shape { height, width, channels }),
        _ => return Err(array.bad(format_args!("axes {:?}", array.axes()), axes)),
    };
    if array.axes().len() == 4 && matches!(shape.height, 1 | 3) && shape.channels > 4 {
        let expected = "channels last, (samples, height, width, channels): numpy.moveaxis(array, 1, -1) moves them there";
        return Err(array.bad(format_args!("axes {:?}", array.axes()), expected));
    }
    if array.element().is_text() {
        return Err(array.bad("texts", "numbers"));
    }
    let most = u32::MAX as usize;
    if count == 0 || count > most || shape.len() == 0 {
        let expected = format!("1 to {most} samples, none of them empty");
        return Err(array.bad(format_args!("axes {:?}", array.axes()), expected));
    }
    Ok(shape)
}
