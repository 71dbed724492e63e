//! The only place that touches the disk or an object store: everything else says what a file's bytes mean.

mod storage;

mod folder;

mod lock_file;
mod lease;
mod bucket;

use std::sync::Arc;

use super::error::RunDirError;
use crate::location::Location;
use crate::objects::Patience;
use bucket::Bucket;
use folder::Folder;
use storage::Storage;

/// The files of a run directory, to be read. That needs no lock, for each is old or new, whole.
#[derive(Clone, Debug)]
pub struct Files {
    place: Location,
    storage: Arc<dyn Storage>,
}

impl Files {
    /// Those in `place`.
    pub fn open(place: &Location) -> Result<Self, RunDirError> {
        let storage: Arc<dyn Storage> = match place {
            Location::Folder(folder) => Arc::new(Folder::reading(folder)),
            Location::Bucket(prefix) => Arc::new(Bucket::reading(prefix)?),
        };
        Ok(Self { place: place.clone(), storage })
    }

    /// The directory.
    pub fn place(&self) -> &Location {
        &self.place
    }

    /// Where the file of this name is.
    pub fn at(&self, name: &str) -> Location {
        self.place.join(name)
    }

    /// A file's content, if it is there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunDirError> {
        self.storage.read(name)
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> Result<bool, RunDirError> {
        self.storage.has(name)
    }

    /// Whether nothing is in a folder.
    pub fn is_empty(&self, name: &str) -> Result<bool, RunDirError> {
        self.storage.is_empty(name)
    }
}

/// The files of a run directory, to be read and written by this process alone: it is locked until this is released or dropped.
#[derive(Debug)]
pub struct Store {
    files: Files,
}

impl Store {
    /// Takes a directory, which is made where there is none, with these folders in it. `patience` is had with an object store.
    pub fn open(place: &Location, inside: &[&str], patience: Patience) -> Result<Self, RunDirError> {
        let storage: Arc<dyn Storage> = match place {
            Location::Folder(folder) => Arc::new(Folder::locked(folder, inside)?),
            Location::Bucket(prefix) => Arc::new(Bucket::locked(prefix, patience)?),
        };
        Ok(Self { files: Files { place: place.clone(), storage } })
    }

    /// The same files, to be read.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Writes a file: at every moment the old one or the new one is there, whole.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        self.files.storage.write(name, None, bytes)
    }

    /// The same, where what was there before is kept as `previous`: at every moment at least one of both is there, whole.
    pub fn write_keeping(&self, name: &str, previous: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        self.files.storage.write(name, Some(previous), bytes)
    }

    /// Puts a file in the place of another.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), RunDirError> {
        self.files.storage.rename(from, to)
    }

    /// Readies a file whose content only grows, after it was written anew or not at all.
    pub fn open_end(&self, name: &str) -> Result<(), RunDirError> {
        self.files.storage.open_end(name)
    }

    /// Adds to the end of a file that was readied for that. It is there, at the latest, before anything that is written later.
    pub fn append(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        self.files.storage.append(name, bytes)
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), RunDirError> {
        self.files.storage.remove(name)
    }

    /// Lets others have the directory. Nothing is written any more.
    pub fn release(&self) {
        self.files.storage.release();
    }
}
