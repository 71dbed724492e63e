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

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.at(name).is_file()
    }

    /// Whether nothing is in a folder.
    pub fn is_empty(&self, name: &str) -> Result<bool, RunDirError> {
        match fs::read_dir(self.at(name)) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
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
        self.replace(name, None, bytes)
    }

    /// The same, where what was there before is kept as `previous`: at every moment at least one of both is there, whole.
    pub fn write_keeping(&self, name: &str, previous: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        self.replace(name, Some(previous), bytes)
    }

    fn replace(&self, name: &str, previous: Option<&str>, bytes: &[u8]) -> Result<(), RunDirError> {
        let path = self.files.at(name);
        let beside = path.with_extension("tmp");
        let kept = previous.filter(|_| path.is_file()).map(|previous| self.files.at(previous));
        let replaced = write_synced(&beside, bytes)
            .and_then(|()| kept.map_or(Ok(()), |kept| fs::rename(&path, kept)))
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| sync_folder_of(&path));
        replaced.map_err(|source| {
            // On a full disk, room for what can be written after all.
            let _ = fs::remove_file(&beside);
            self.files.failed(name, source)
        })
    }

    /// Puts a file in the place of another.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), RunDirError> {
        let path = self.files.at(to);
        let renamed = fs::rename(self.files.at(from), &path).and_then(|()| sync_folder_of(&path));
        renamed.map_err(|source| self.files.failed(from, source))
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
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

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

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &["some"]).unwrap();
        let read = |name: &str| store.files().read(name).unwrap();
        store.write_keeping("some/file.x", "some/file.previous.x", b"1").unwrap();
        assert_eq!((read("some/file.x"), read("some/file.previous.x")), (Some(b"1".to_vec()), None));
        for (now, before) in [(b"2", b"1"), (b"3", b"2")] {
            store.write_keeping("some/file.x", "some/file.previous.x", now).unwrap();
            assert_eq!(read("some/file.x").unwrap(), now);
            assert_eq!(read("some/file.previous.x").unwrap(), before);
        }
        assert_eq!(fs::read_dir(folder.path().join("some")).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &["taken/by/a/folder"]).unwrap();
        let error = store.write("taken", b"1").unwrap_err().to_string();
        assert!(error.contains("/taken: "), "{error}");
        assert!(!store.files().has("taken.tmp"));
        let error = store.write("nowhere/file", b"1").unwrap_err().to_string();
        assert!(error.contains("/nowhere/file: "), "{error}");
    }
}
