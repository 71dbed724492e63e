//! A data set's file, raw or gzipped, read from front to back.
//!
//! Memory is taken as bytes arrive, and no more than the reader asks for, whatever the file holds.

use std::io::{self, Read};
use std::path::Path;

use super::error::DataError;
use super::unpack::{self, Stored};

/// A file being read.
pub struct DataFile<'a> {
    path: &'a Path,
    stored: Stored,
    reader: Box<dyn Read>,
    /// How many unpacked bytes were read.
    position: u64,
}

impl<'a> DataFile<'a> {
    /// The file at `path`, from its first byte on.
    pub fn open(path: &'a Path) -> Result<Self, DataError> {
        let (stored, reader) =
            unpack::open(path).map_err(|cause| DataError::Unreadable { path: path.to_owned(), cause })?;
        Ok(Self { path, stored, reader, position: 0 })
    }

    /// The file.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// The next `length` bytes, which must be all there are.
    pub fn rest(&mut self, length: usize) -> Result<Vec<u8>, DataError> {
        let expected = self.position + length as u64;
        let data = self.read_at_most(length + 1, expected)?;
        if data.len() > length {
            return Err(DataError::Oversized { path: self.path.to_owned(), expected });
        }
        self.expect_length(data.len(), length)?;
        Ok(data)
    }

    /// All of a file of `record` bytes for each item, of which there are 1 to `limit`.
    pub fn records(&mut self, record: usize, limit: usize) -> Result<Vec<u8>, DataError> {
        let most = record * limit;
        let data = self.read_at_most(most + 1, most as u64)?;
        let path = || self.path.to_owned();
        if data.is_empty() {
            return Err(DataError::NoRecords { path: path(), record, limit });
        }
        if data.len() > most {
            return Err(DataError::TooManyRecords { path: path(), record, limit });
        }
        if data.len() % record != 0 {
            return Err(DataError::PartialRecord { path: path(), found: data.len(), record });
        }
        Ok(data)
    }

    /// The next `length` bytes, fewer at the end of the file; `expected` is the position that an error names.
    pub fn read_at_most(&mut self, length: usize, expected: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let result = self.reader.by_ref().take(length as u64).read_to_end(&mut bytes);
        self.position += bytes.len() as u64;
        match result {
            Ok(_) => Ok(bytes),
            Err(cause) => Err(self.broken(cause, expected)),
        }
    }

    /// An error if the last read gave `found` bytes where there should be `expected`.
    pub fn expect_length(&self, found: usize, expected: usize) -> Result<(), DataError> {
        if found == expected {
            return Ok(());
        }
        let expected = self.position + (expected - found) as u64;
        Err(DataError::Truncated { path: self.path.to_owned(), found: self.position, expected })
    }

    fn broken(&self, cause: io::Error, expected: u64) -> DataError {
        let path = self.path.to_owned();
        match self.stored {
            Stored::Gzipped => DataError::Gzip { path, unpacked: self.position, expected, cause },
            Stored::Raw => DataError::Unreadable { path, cause },
        }
    }
}
