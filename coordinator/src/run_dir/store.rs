//! The only place that touches the file system: everything else says what a file's bytes mean.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::RunDirError;

/// The files of a run directory, to be read. That needs no lock, for each is old or new, whole.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Those in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file of this name is.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file's content, if it is there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunDirError> {
        match fs::read(self.at(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed(name, source)),
        }
    }

    fn failed(&self, name: &str, source: std::io::Error) -> RunDirError {
        RunDirError::Io { path: self.at(name), source }
    }
}

/// The files of a run directory, to be read and written by this process alone: it is locked until this is dropped.
#[derive(Debug)]
pub struct Store {
    files: Files,
    _lock: File,
}

impl Store {
    /// Takes a directory, which is made where there is none, with these folders in it.
    pub fn open(folder: &Path, inside: &[&str]) -> Result<Self, RunDirError> {
        let files = Files::new(folder);
        for name in inside {
            fs::create_dir_all(files.at(name)).map_err(|source| files.failed(name, source))?;
        }
        Ok(Self { _lock: lock(&files)?, files })
    }

    /// The same files, to be read.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Writes beside the file's place, syncs, renames, and syncs the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        let path = self.files.at(name);
        replace(&path, &path.with_extension("tmp"), bytes).map_err(|source| self.files.failed(name, source))
    }

    /// Opens a file whose content only grows.
    pub fn append(&self, name: &str) -> Result<Appending, RunDirError> {
        let path = self.files.at(name);
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => Ok(Appending { path, file }),
            Err(source) => Err(RunDirError::Io { path, source }),
        }
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), RunDirError> {
        match fs::remove_file(self.files.at(name)) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(self.files.failed(name, source)),
            _ => Ok(()),
        }
    }
}

/// A file whose content only grows.
#[derive(Debug)]
pub struct Appending {
    path: PathBuf,
    file: File,
}

impl Appending {
    /// Adds to its end. A process that is killed meanwhile may leave a part.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), RunDirError> {
        self.file.write_all(bytes).map_err(|source| RunDirError::Io { path: self.path.clone(), source })
    }
}

fn lock(files: &Files) -> Result<File, RunDirError> {
    let path = files.at("lock");
    let io = |source| RunDirError::Io { path: path.clone(), source };
    let file = File::create(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunDirError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn replace(path: &Path, beside: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
