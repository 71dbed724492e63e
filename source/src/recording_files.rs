//! Recordings in files of one folder, turned into sequences when they are asked for.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::audio;
use super::bad_file::BadFile;
use super::examples::Examples;
use super::file_sums::file_sums;
use super::held::Held;
use super::input::{InputKind, InputSpec, RecordingInput};
use super::names::Names;
use super::record::ReadFile;
use super::shape::Shape;
use super::work::{Decoded, Work};

/// Files of recordings, and what is made of each.
#[derive(Clone, Debug)]
pub struct RecordingFiles {
    root: PathBuf,
    /// Paths from the root on.
    names: Names,
    input: RecordingInput,
    /// The same; of no classes.
    spec: Arc<InputSpec>,
}

impl RecordingFiles {
    /// These files, which lie below `root`.
    pub fn new(root: &Path, names: Names, input: RecordingInput) -> Self {
        let spec = InputSpec { kind: InputKind::Recordings(input.clone()), classes: Vec::new() };
        Self { root: root.to_owned(), names, input, spec: Arc::new(spec) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The shape of the longest.
    pub fn shape(&self) -> Shape {
        self.spec.shape()
    }

    /// The sequences of a range of the files; no labels. Of several errors the first file's is told.
    pub fn read(&self, range: Range<usize>) -> Result<Examples, BadFile> {
        let paths: Vec<PathBuf> = range.map(|index| self.path(index)).collect();
        let sequences = audio::sequences(&paths, self.input.mfcc)?;
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        Ok(self.examples(sequences.concat(), &lengths))
    }

    fn path(&self, index: usize) -> PathBuf {
        self.root.join(self.names.os(index))
    }

    /// What there is to do until all are decoded.
    pub fn work(&self) -> Work<'_, f32> {
        // One that is broken has no frames.
        let frames = |index| audio::frames(&self.path(index)).unwrap_or(0);
        let all: usize = (0..self.len()).into_par_iter().map(frames).sum();
        let decoder = audio::Decoder::new(self.input.mfcc);
        Work {
            samples: self.len(),
            values: all * self.shape().channels,
            decoding: format!("recordings {:?}", self.input.mfcc),
            ragged: true,
            decode: Box::new(move |range| self.decode(&decoder, range)),
            sums: Some(Box::new(|| file_sums(&self.root, &self.names))),
            stored: None,
        }
    }

    /// What becomes of each of a range of the files.
    fn decode(&self, decoder: &audio::Decoder, range: Range<usize>) -> Vec<Decoded<f32>> {
        let decode = |index| {
            let path = self.path(index);
            let sequence = decoder.sequence(&path)?;
            Ok((sequence, Some(ReadFile::sum(&path, self.names.text(index).into_owned())?)))
        };
        range.into_par_iter().map(decode).collect()
    }

    /// Sequences of such files, of which each has so many numbers.
    pub fn examples(&self, frames: impl Into<Held<f32>>, lengths: &[usize]) -> Examples {
        let Shape { height, channels, .. } = self.shape();
        let mut examples = Examples::from_frames(height, channels, frames, lengths, Vec::new());
        self.spec.scale(&mut examples);
        examples
    }
}
