//! Inputs of a model that has been trained: files that need not be those of its data set, read as they are needed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem::discriminant;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::audio::MfccOptions;
use super::bad_file::BadFile;
use super::data_set::DataSet;
use super::error::DataError;
use super::examples::Examples;
use super::image_files::ImageFiles;
use super::image_folder;
use super::input::{InputKind, InputSpec, RecordingInput};
use super::input_source::{InputSource, Part};
use super::load::load;
use super::name::DataSetName;
use super::names::Names;
use super::selection::{Recordings, Selection, Split};
use super::shape::Shape;

/// Samples for a model, in the order of their names, scaled as those that the model was trained on.
///
/// What is in memory of a user's files is what each sample is called, its label, and no more of the samples themselves than
/// [`Self::read`] is asked for.
#[derive(Clone, Debug)]
pub struct Input {
    reader: Reader,
    /// What each sample is called; where nothing is, by its number.
    names: Option<Names>,
    /// One for each sample, or none at all.
    labels: Vec<u32>,
    classes: Vec<String>,
}

/// Where samples are read from.
#[derive(Clone, Debug)]
pub enum Reader {
    /// A known data set, whose files have their size.
    Known(Examples),
    /// Files of images.
    Images(ImageFiles),
}

impl Input {
    /// Samples; what each is called, if they have names; their labels and what those are called, if they have any.
    pub(crate) fn new(reader: Reader, names: Option<Names>, labels: Vec<u32>, classes: Vec<String>) -> Self {
        let input = Self { reader, names, labels, classes };
        let samples = input.len();
        assert!(input.labels.is_empty() || input.labels.len() == samples, "a label for each sample, or none");
        assert!(input.names.as_ref().is_none_or(|names| names.len() == samples), "a name for each sample");
        input
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        match &self.reader {
            Reader::Known(examples) => examples.len(),
            Reader::Images(files) => files.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of a sample; of sequences, that of the longest.
    pub fn shape(&self) -> Shape {
        match &self.reader {
            Reader::Known(examples) => examples.shape(),
            Reader::Images(files) => files.shape(),
        }
    }

    /// The label of each sample; empty where they have none.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// What the labels are called: as the model's classes, where all are among them, otherwise as the files say.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What a sample is called: the path of its file from the folder on, or else its number, counted from 0.
    pub fn name(&self, index: usize) -> Cow<'_, str> {
        match &self.names {
            Some(names) => names.text(index),
            None => Cow::Owned(index.to_string()),
        }
    }

    /// Reads a range of the samples, without their names; with their labels where they have any.
    ///
    /// # Panics
    /// If there are fewer samples.
    pub fn read(&self, range: Range<usize>) -> Result<Examples, DataError> {
        assert!(range.end <= self.len(), "{range:?} of {} samples", self.len());
        let labels = self.labels.get(range.clone()).unwrap_or_default().to_vec();
        let examples = match &self.reader {
            Reader::Known(examples) => {
                let indices: Vec<u32> = range.map(|index| index as u32).collect();
                examples.subset(&indices)
            }
            Reader::Images(files) => files.read(range)?,
        };
        Ok(examples.with_labels(labels))
    }

    /// Its labels counted as the model's classes are, where it knows all of them.
    fn knowing(mut self, known: &[String]) -> Self {
        let numbers: HashMap<&String, u32> = known.iter().zip(0..).collect();
        let number: Option<Vec<u32>> = self.classes.iter().map(|class| numbers.get(class).copied()).collect();
        if let Some(number) = number.filter(|number| !number.is_empty()) {
            self.labels.iter_mut().for_each(|label| *label = number[*label as usize]);
            self.classes = known.to_vec();
        }
        self
    }
}

/// Opens samples such as `spec` says: what lies at a path, or a part of a known data set, whose files are in `data_dir`.
pub fn open_input(source: &InputSource, data_dir: &Path, spec: &InputSpec) -> Result<Input, DataError> {
    let input = match source {
        InputSource::Path(path) => open_path(path, spec)?,
        InputSource::Part { name, part } => open_part(*name, *part, source, data_dir, spec)?,
    };
    Ok(input.knowing(&spec.classes))
}

/// A folder or a file of any kind that makes samples as `spec` says.
fn open_path(path: &Path, spec: &InputSpec) -> Result<Input, DataError> {
    match &spec.kind {
        InputKind::Images(input) => image_folder::open(path, input),
        InputKind::Numbers(_) | InputKind::Recordings(_) => {
            let expected = "a model of images; others have no inputs of their own yet";
            Err(BadFile::new(path, "an input for a model of numbers or recordings", expected).into())
        }
    }
}

/// A part of a known data set, if its samples are of the model's kind and shape.
fn open_part(
    name: DataSetName,
    part: Part,
    source: &InputSource,
    data_dir: &Path,
    spec: &InputSpec,
) -> Result<Input, DataError> {
    let mfcc = match &spec.kind {
        InputKind::Recordings(RecordingInput { mfcc, .. }) => *mfcc,
        InputKind::Images(_) | InputKind::Numbers(_) => MfccOptions::default(),
    };
    let selection = match name {
        DataSetName::Fsdd => Selection::Fsdd(Recordings { split: Split::Official, mfcc }),
        name => name.into(),
    };
    let DataSet { input, train, test, unlabeled, .. } = load(&selection, data_dir)?;
    let bad = |found: String, expected: String| BadFile {
        path: PathBuf::from(source.to_string()),
        found,
        expected,
    };
    if discriminant(&input.kind) != discriminant(&spec.kind) || input.shape() != spec.shape() {
        return Err(bad(kind(&input), format!("{} as the model was trained on", kind(spec))).into());
    }
    let mut examples = match part {
        Part::Train => train,
        Part::Test => test,
        Part::Unlabeled => unlabeled.ok_or_else(|| {
            bad("no samples without labels".to_owned(), format!("{name}:train or {name}:test"))
        })?,
    };
    spec.scale(&mut examples);
    let labels = examples.labels().to_vec();
    let classes = if labels.is_empty() { Vec::new() } else { input.classes };
    Ok(Input::new(Reader::Known(examples), None, labels, classes))
}

/// What samples are, in words.
fn kind(spec: &InputSpec) -> String {
    let kind = match spec.kind {
        InputKind::Images(_) => "images",
        InputKind::Numbers(_) => "rows of numbers",
        InputKind::Recordings(_) => "recordings",
    };
    format!("{kind} {}", spec.shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ImageInput, NumberInput};
    use crate::shape::ChannelScale;
    use crate::synthetic;

    fn images(height: usize) -> InputSpec {
        let shape = Shape { height, width: 28, channels: 1 };
        let scales = vec![ChannelScale { mean: 0.0, deviation: 0.5 }];
        let classes = (0..10).rev().map(|class| class.to_string()).collect();
        InputSpec { kind: InputKind::Images(ImageInput { shape, scales }), classes }
    }

    fn part(text: &str) -> InputSource {
        std::ffi::OsString::from(text).try_into().unwrap()
    }

    #[test]
    fn parts_of_known_data_sets_are_scaled_and_labelled_as_the_model_says() {
        let dir = synthetic::Set::default().write([false; 4]);
        let input = open_input(&part("mnist:train"), dir.path(), &images(28)).unwrap();
        assert_eq!((input.len(), input.name(2)), (3, "2".into()));
        // The model counts them from 9 down; the files say 9, 0 and 3.
        assert_eq!((input.labels(), input.classes().len()), (&[0, 9, 6][..], 10));
        let read = input.read(1..3).unwrap();
        assert_eq!((read.len(), read.labels()), (2, &[9, 6][..]));
        let whole = load(&DataSetName::Mnist.into(), dir.path()).unwrap().train;
        let sample = |examples: &Examples, index| {
            let mut sample = vec![0.0; examples.shape().len()];
            examples.write(index, &mut sample).unwrap();
            sample
        };
        for (found, unit) in sample(&read, 0).into_iter().zip(sample(&whole, 1)) {
            assert!((found - unit / 0.5).abs() < 1e-6, "{found}, {unit}");
        }
    }

    #[test]
    fn parts_of_other_samples_than_the_models_are_refused() {
        let dir = synthetic::Set::default().write([false; 4]);
        let shape = Shape { height: 28, width: 28, channels: 1 };
        let numbers = InputKind::Numbers(NumberInput { shape, moments: None, columns: Vec::new() });
        for (text, spec, expected) in [
            (
                "mnist:test",
                images(32),
                "mnist:test: found images 28x28x1, expected images 32x28x1 as the model",
            ),
            (
                "mnist:test",
                InputSpec { kind: numbers, classes: Vec::new() },
                "found images 28x28x1, expected rows of numbers 28x28x1",
            ),
            (
                "mnist:unlabeled",
                images(28),
                "found no samples without labels, expected mnist:train or mnist:test",
            ),
        ] {
            let error = open_input(&part(text), dir.path(), &spec).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
