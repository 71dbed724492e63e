//! Recordings in files of one folder, turned into sequences when they are asked for.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::audio;
use super::bad_file::BadFile;
use super::checksum::Sha256Sum;
use super::examples::Examples;
use super::input::{InputKind, InputSpec, RecordingInput};
use super::names::Names;
use super::record::ReadFile;
use super::shape::Shape;

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
        let paths: Vec<PathBuf> = range.map(|index| self.root.join(self.names.os(index))).collect();
        Ok(self.examples(audio::sequences(&paths, self.input.mfcc)?))
    }

    /// What becomes of each of all files.
    pub fn decode(&self) -> Vec<Result<(Vec<f32>, ReadFile), BadFile>> {
        let decoder = audio::Decoder::new(self.input.mfcc);
        let decode = |index: usize| {
            let path = self.root.join(self.names.os(index));
            let sequence = decoder.sequence(&path)?;
            let file = File::open(&path).and_then(|file| Sha256Sum::of_at_most(u64::MAX - 1, file));
            let (bytes, sum) = file.map_err(|cause| BadFile::new(&path, cause, "a file that can be read"))?;
            let name = self.names.text(index).into_owned();
            Ok((sequence, ReadFile { path: name, bytes, sha256: sum.to_string() }))
        };
        (0..self.len()).into_par_iter().map(decode).collect()
    }

    /// Sequences of such files.
    pub fn examples(&self, sequences: Vec<Vec<f32>>) -> Examples {
        let Shape { height, channels, .. } = self.shape();
        let mut examples = Examples::from_sequences(height, channels, sequences, Vec::new());
        self.spec.scale(&mut examples);
        examples
    }
}
