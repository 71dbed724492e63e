//! Samples of a model's input, read as they are needed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::array_samples::ArraySamples;
use super::error::DataError;
use super::examples::Examples;
use super::image_files::ImageFiles;
use super::names::Names;
use super::recording_files::RecordingFiles;
use super::shape::Shape;
use super::table_samples::TableSamples;

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
    /// Files of recordings.
    Recordings(RecordingFiles),
    /// An array.
    Array(ArraySamples),
    /// A table.
    Table(TableSamples),
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
            Reader::Recordings(files) => files.len(),
            Reader::Array(samples) => samples.len(),
            Reader::Table(samples) => samples.len(),
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
            Reader::Recordings(files) => files.shape(),
            Reader::Array(samples) => samples.shape(),
            Reader::Table(samples) => samples.shape(),
        }
    }

    /// Where they are read from.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What they are called, if they have names.
    pub(crate) fn names(&self) -> Option<&Names> {
        self.names.as_ref()
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
            Reader::Recordings(files) => files.read(range)?,
            Reader::Array(samples) => samples.read(range)?,
            Reader::Table(samples) => samples.read(range)?,
        };
        Ok(examples.with_labels(labels))
    }

    /// The only folder in which all files lie, if they do in one.
    pub(crate) fn only_folder(&self) -> Option<String> {
        let names = self.names.as_ref()?;
        let top = |index| names.text(index).split_once('/').map(|(top, _)| top.to_owned());
        let first = top(0)?;
        (1..names.len()).all(|index| top(index).as_ref() == Some(&first)).then_some(first)
    }

    /// Where all files lie in one folder that is called like one of these classes, that is their label.
    pub(crate) fn in_only_folder(mut self, classes: &[String]) -> Self {
        let folder = if self.labels.is_empty() { self.only_folder() } else { None };
        if let Some(label) = folder.and_then(|folder| classes.iter().position(|class| *class == folder)) {
            self.labels = vec![label as u32; self.len()];
            self.classes = classes.to_vec();
        }
        self
    }

    /// Its labels counted as the model's classes are, where it knows all of them.
    pub(crate) fn knowing(mut self, known: &[String]) -> Self {
        let numbers: HashMap<&String, u32> = known.iter().zip(0..).collect();
        let number: Option<Vec<u32>> = self.classes.iter().map(|class| numbers.get(class).copied()).collect();
        if let Some(number) = number.filter(|number| !number.is_empty()) {
            self.labels.iter_mut().for_each(|label| *label = number[*label as usize]);
            self.classes = known.to_vec();
        }
        self
    }
}
