//! The file `NAME.part` that grows while NAME is being made, until it is whole, right and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::progress::Progress;

/// Why a file did not become whole.
#[derive(Debug)]
pub enum PartFileError {
    /// What it is made of ended early. What came is kept.
    Ended {
        /// How much of the file is there.
        received: u64,
        /// How long it was to be.
        expected: u64,
        /// What the reader said, if it did not just end.
        cause: Option<io::Error>,
    },
    /// There was more than the file is long; all of it was removed.
    Oversized {
        /// How long it was to be.
        expected: u64,
    },
    /// This machine's file system refused.
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A file being made.
pub struct PartFile {
    path: PathBuf,
    expected: u64,
    /// Whether it may be shorter than expected.
    shorter: bool,
}

impl PartFile {
    /// What becomes the file `name` of `expected` bytes in `folder`.
    pub fn new(folder: &Path, name: &str, expected: u64) -> Self {
        Self { path: folder.join(format!("{name}.part")), expected, shorter: false }
    }

    /// What becomes the file `name` of at most `most` bytes in `folder`.
    pub fn of_at_most(folder: &Path, name: &str, most: u64) -> Self {
        Self { shorter: true, ..Self::new(folder, name, most) }
    }

    /// Where it grows.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length it grows to, at most or exactly.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// How much an earlier attempt left; too much is worth nothing and is removed.
    pub fn length(&self) -> Result<u64, PartFileError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() <= self.expected => Ok(metadata.len()),
            Ok(_) => self.remove().map(|()| 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.storage(error)),
        }
    }

    /// Writes `body` from byte `start` on; it must end where the file does, if that is known.
    pub fn append(
        &self,
        start: u64,
        mut body: impl Read,
        progress: &mut Progress,
    ) -> Result<(), PartFileError> {
        let mut file = self.open_at(start).map_err(|error| self.storage(error))?;
        let mut received = start;
        let mut buffer = vec![0; 1 << 16];
        loop {
            progress.set(received);
            let read = match body.read(&mut buffer) {
                Ok(0) if received == self.expected || self.shorter => return Ok(()),
                Ok(0) => return Err(self.ended(received, None)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.ended(received, Some(error))),
            };
            if received + read as u64 > self.expected {
                self.remove()?;
                return Err(PartFileError::Oversized { expected: self.expected });
            }
            file.write_all(&buffer[..read]).map_err(|error| self.storage(error))?;
            received += read as u64;
        }
    }

    fn open_at(&self, start: u64) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        file.set_len(start)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }

    /// Gives it up.
    pub fn remove(&self) -> Result<(), PartFileError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.storage(error)),
            _ => Ok(()),
        }
    }

    /// Gives the file its name, for good: the folder is on disk too when this returns.
    pub fn finish(self) -> Result<(), PartFileError> {
        let path = self.path.with_extension("");
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.path, &path))
            .and_then(|()| path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()))
            .map_err(|cause| PartFileError::Storage { path, cause })
    }

    fn ended(&self, received: u64, cause: Option<io::Error>) -> PartFileError {
        PartFileError::Ended { received, expected: self.expected, cause }
    }

    fn storage(&self, cause: io::Error) -> PartFileError {
        PartFileError::Storage { path: self.path.clone(), cause }
    }
}
