//! Values of many samples: in memory, or in a file of which no more is read than is asked for.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::read_error::ReadError;

/// What samples are made of.
pub trait Value: Copy + Default {
    /// Bytes of one.
    const BYTES: usize;

    /// Those of these bytes, the least significant one first.
    fn of_bytes(bytes: Vec<u8>) -> Vec<Self>;

    /// Their bytes, the least significant one first.
    fn to_bytes(values: &[Self]) -> Cow<'_, [u8]>;
}

impl Value for u8 {
    const BYTES: usize = 1;

    fn of_bytes(bytes: Vec<u8>) -> Vec<Self> {
        bytes
    }

    fn to_bytes(values: &[Self]) -> Cow<'_, [u8]> {
        Cow::Borrowed(values)
    }
}

impl Value for f32 {
    const BYTES: usize = 4;

    fn of_bytes(bytes: Vec<u8>) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|&bytes| Self::from_le_bytes(bytes)).collect()
    }

    fn to_bytes(values: &[Self]) -> Cow<'_, [u8]> {
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

/// Values one after the other. Clones share them.
#[derive(Clone)]
pub enum Held<T> {
    /// In memory.
    Memory(Arc<Vec<T>>),
    /// In a file.
    File(FileValues),
}

/// Values in a file, the least significant byte of each first.
#[derive(Clone, Debug)]
pub struct FileValues {
    /// The file.
    pub file: Arc<File>,
    /// What it is called.
    pub path: Arc<Path>,
    /// The byte at which they begin.
    pub start: u64,
    /// How many there are.
    pub count: usize,
}

impl<T: Value> Held<T> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(values) => values.len(),
            Self::File(values) => values.count,
        }
    }

    /// The values of a range, which must be there.
    pub fn at(&self, range: Range<usize>) -> Result<Cow<'_, [T]>, ReadError> {
        match self {
            Self::Memory(values) => Ok(Cow::Borrowed(&values[range])),
            Self::File(FileValues { file, path, start, count }) => {
                assert!(range.end <= *count, "{range:?} of {count} values");
                let mut bytes = vec![0; range.len() * T::BYTES];
                let read = file.read_exact_at(&mut bytes, start + (range.start * T::BYTES) as u64);
                read.map_err(|cause| ReadError { path: path.to_path_buf(), cause })?;
                Ok(Cow::Owned(T::of_bytes(bytes)))
            }
        }
    }
}

impl<T> From<Vec<T>> for Held<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Memory(Arc::new(values))
    }
}
