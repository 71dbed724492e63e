//! A user's arrays: `.npy` files, and `.npz` archives with labels in them.

use std::path::Path;

use super::array_file::{ArrayFile, arrays};
use super::array_samples::{ArraySamples, stored_shape};
use super::bad_file::BadFile;
use super::classes::{self, CLASSES};
use super::element::BadElement;
use super::error::DataError;
use super::image_options::ImageOptions;
use super::input::{ImageInput, InputKind, NumberInput};
use super::names::Names;
use super::opened::{Input, Reader};
use super::shape::{ChannelScale, Shape};

/// What labels are called in an archive.
const LABELS: [&str; 2] = ["labels", "y"];
/// What the names of samples are.
const NAMES: &str = "names";
/// What samples are called where there are several arrays, first of all the first one.
const SAMPLES: [&str; 6] = ["X", "x", "features", "images", "data", "arr_0"];

/// What the samples of an array are: images where they are bytes of more than one axis, otherwise numbers.
pub fn kind(path: &Path, options: &ImageOptions) -> Result<InputKind, DataError> {
    let array = Arrays::find(path)?.samples;
    let stored = stored_shape(&array)?;
    let images = array.element().is_byte() && array.axes().len() > 2;
    if !images {
        if options != &ImageOptions::default() {
            let found = format!("samples {stored} of {}", array.element());
            return Err(array.bad(found, "images of bytes (uint8), since data.images is given").into());
        }
        return Ok(InputKind::Numbers(NumberInput::new(stored)));
    }
    let ImageOptions { height, width, channels, .. } = *options;
    let given = |given: Option<u32>, stored| given.map_or(stored, |given| given as usize);
    let shape = Shape {
        height: given(height, stored.height),
        width: given(width, stored.width),
        channels: given(channels, stored.channels),
    };
    let scales = match options.scales() {
        Some(scales) if scales.len() == shape.channels => scales,
        Some(scales) => {
            let expected = format!("{} channels, as data.images.mean has", scales.len());
            return Err(array.bad(format_args!("images {shape}"), expected).into());
        }
        None => vec![ChannelScale::UNIT; shape.channels],
    };
    Ok(InputKind::Images(ImageInput { shape, scales }))
}

/// Samples of `kind` in an array; labels are in the same archive, or in a file of their own.
pub fn open(path: &Path, labels: Option<&Path>, kind: &InputKind) -> Result<Input, DataError> {
    let Arrays { samples, labels: own, names } = Arrays::find(path)?;
    let labels = match labels {
        Some(labels) => Some(only(labels)?),
        None => own,
    };
    let count = samples.axes()[0];
    let samples = ArraySamples::new(samples, kind)?;
    let (labels, classes) = match labels {
        Some(labels) => {
            let expected = format!("at most {CLASSES}");
            let texts = texts(&labels, count)?;
            classes::counted(&texts).map_err(|found| labels.bad(found, expected))?
        }
        None => (Vec::new(), Vec::new()),
    };
    let names: Option<Names> = names.map(|names| texts(&names, count)).transpose()?.map(Names::from_iter);
    Ok(Input::new(Reader::Array(samples), names, labels, classes))
}

/// The arrays of a file.
struct Arrays {
    samples: ArrayFile,
    labels: Option<ArrayFile>,
    names: Option<ArrayFile>,
}

impl Arrays {
    fn find(path: &Path) -> Result<Self, BadFile> {
        let mut all = arrays(path)?;
        let all_names = all.iter().filter_map(ArrayFile::name).collect::<Vec<_>>().join(", ");
        let mut take = |name: &str| {
            let place = all.iter().position(|array| array.name() == Some(name))?;
            Some(all.swap_remove(place))
        };
        let labels = LABELS.iter().find_map(|name| take(name));
        let names = take(NAMES);
        let samples = SAMPLES.iter().find_map(|name| take(name));
        let samples = match samples {
            Some(samples) => samples,
            None if all.len() == 1 => all.swap_remove(0),
            None => {
                let found = format!("the arrays {all_names}");
                let expected = format!(
                    "one of samples, called {}, and one called labels if there are any",
                    SAMPLES.join(", ")
                );
                return Err(BadFile::new(
                    path,
                    if all_names.is_empty() { "no arrays" } else { &found },
                    expected,
                ));
            }
        };
        Ok(Self { samples, labels, names })
    }
}

/// The array of a file that has no other, or of labels.
fn only(path: &Path) -> Result<ArrayFile, BadFile> {
    let mut all = arrays(path)?;
    let place = all.iter().position(|array| array.name().is_none_or(|name| LABELS.contains(&name)));
    match place.or((all.len() == 1).then_some(0)) {
        Some(place) => Ok(all.swap_remove(place)),
        None => Err(BadFile::new(path, format_args!("{} arrays", all.len()), "one of labels")),
    }
}

/// What each of `count` samples is called in an array of labels or names.
fn texts(array: &ArrayFile, count: usize) -> Result<Vec<String>, BadFile> {
    let flat = array.axes().iter().skip(1).all(|&axis| axis == 1);
    if array.axes().first() != Some(&count) || !flat {
        let expected = format!("one for each of {count} samples");
        return Err(array.bad(format_args!("axes {:?}", array.axes()), expected));
    }
    let elements = array.samples(0..count)?;
    array.element().texts(&elements).map_err(|BadElement { index, found, expected }| {
        array.bad(format_args!("{found} for sample {index}"), expected)
    })
}
