//! What there is to do until all samples of an input are decoded.

use std::ops::Range;

use super::bad_file::BadFile;
use super::held::{FileValues, Value};
use super::record::ReadFile;

/// Bytes of samples that are decoded at a time, about.
const PIECE: usize = 32 << 20;

/// What becomes of one file; or of some rows of a file that is not theirs alone.
pub type Decoded<T> = Result<(Vec<T>, Option<ReadFile>), BadFile>;

/// What a file holds.
pub type Sum = Result<ReadFile, BadFile>;

/// Samples, and what makes values of them.
pub struct Work<'a, T> {
    /// How many there are.
    pub samples: usize,
    /// Values of all, at most.
    pub values: usize,
    /// How they are decoded, in words that no other way has.
    pub decoding: String,
    /// Whether each has a length of its own.
    pub ragged: bool,
    /// Decodes a range of the samples: one after the other where each is a file or may be broken, otherwise together.
    pub decode: Box<dyn Fn(Range<usize>) -> Vec<Decoded<T>> + 'a>,
    /// What the files hold, where each sample is one.
    pub sums: Option<Box<dyn Fn() -> Vec<Sum> + 'a>>,
    /// The values themselves, where they are in a file already.
    pub stored: Option<FileValues>,
}

/// Values that have come, and what is said of them.
#[derive(Debug, Default)]
pub struct Came {
    /// Files that were read.
    pub files: Vec<ReadFile>,
    /// How many values each sample has, where they differ.
    pub lengths: Vec<usize>,
    /// Samples that there are not, by their places among all, and why.
    pub left_out: Vec<(usize, String)>,
}

impl<T: Value> Work<'_, T> {
    /// Bytes of all values, at most.
    pub fn bytes(&self) -> u64 {
        (self.values * T::BYTES) as u64
    }

    /// Passes all values on to `push`, in the order of the samples, some at a time.
    pub fn all<E: From<BadFile>>(
        &self,
        skip_broken: bool,
        push: &mut dyn FnMut(&[T]) -> Result<(), E>,
    ) -> Result<Came, E> {
        let together = (PIECE / (self.values * T::BYTES / self.samples.max(1)).max(1)).max(1);
        let mut came = Came::default();
        for start in (0..self.samples).step_by(together) {
            let decoded = (self.decode)(start..(start + together).min(self.samples));
            for (place, decoded) in decoded.into_iter().enumerate() {
                match decoded {
                    Ok((values, file)) => {
                        push(&values)?;
                        came.files.extend(file);
                        came.lengths.extend(self.ragged.then_some(values.len()));
                    }
                    Err(BadFile { found, expected, .. }) if skip_broken => {
                        came.left_out.push((start + place, format!("found {found}, expected {expected}")));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(came)
    }
}
