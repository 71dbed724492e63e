//! A run directory in a folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::storage::Storage;
use crate::run_dir::error::RunDirError;

/// A run directory in a folder.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    /// Of who writes.
    lock: Option<File>,
}

impl Folder {
    /// One to read.
    pub fn reading(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), lock: None }
    }

    /// One to read and write, locked until this is released or dropped. It is made where there is none, with these folders in it.
    pub fn locked(folder: &Path, inside: &[&str]) -> Result<Self, RunDirError> {
        for path in [folder.to_owned()].into_iter().chain(inside.iter().map(|name| folder.join(name))) {
            fs::create_dir_all(&path)
                .map_err(|source| RunDirError::Io { place: path.as_path().into(), source })?;
        }
        Ok(Self { folder: folder.to_owned(), lock: Some(lock(folder)?) })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn failed(&self, name: &str, source: std::io::Error) -> RunDirError {
        RunDirError::Io { place: self.at(name).into(), source }
    }
}

impl Storage for Folder {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunDirError> {
        match fs::read(self.at(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed(name, source)),
        }
    }

    fn has(&self, name: &str) -> Result<bool, RunDirError> {
        Ok(self.at(name).is_file())
    }

    fn is_empty(&self, name: &str) -> Result<bool, RunDirError> {
        match fs::read_dir(self.at(name)) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(source) => Err(self.failed(name, source)),
        }
    }

    /// Writes beside the file's place, syncs, renames, and syncs the folder.
    fn write(&self, name: &str, previous: Option<&str>, bytes: &[u8]) -> Result<(), RunDirError> {
        let path = self.at(name);
        let beside = path.with_extension("tmp");
        let kept = previous.filter(|_| path.is_file()).map(|previous| self.at(previous));
        let replaced = write_synced(&beside, bytes)
            .and_then(|()| kept.map_or(Ok(()), |kept| fs::rename(&path, kept)))
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| sync_folder_of(&path));
        replaced.map_err(|source| {
            // On a full disk, room for what can be written after all.
            let _ = fs::remove_file(&beside);
            self.failed(name, source)
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), RunDirError> {
        let path = self.at(to);
        let renamed = fs::rename(self.at(from), &path).and_then(|()| sync_folder_of(&path));
        renamed.map_err(|source| self.failed(from, source))
    }

    fn open_end(&self, name: &str) -> Result<(), RunDirError> {
        self.append(name, &[])
    }

    /// A process that is killed meanwhile may leave a part.
    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        let file = OpenOptions::new().create(true).append(true).open(self.at(name));
        file.and_then(|mut file| file.write_all(bytes)).map_err(|source| self.failed(name, source))
    }

    fn remove(&self, name: &str) -> Result<(), RunDirError> {
        match fs::remove_file(self.at(name)) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(self.failed(name, source)),
            _ => Ok(()),
        }
    }

    fn release(&self) {
        // What cannot be unlocked now is with the end of this value.
        let _ = self.lock.as_ref().map(File::unlock);
    }
}

fn lock(folder: &Path) -> Result<File, RunDirError> {
    let path = folder.join("lock");
    let io = |source| RunDirError::Io { place: path.as_path().into(), source };
    let file = File::create(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunDirError::Locked { place: path.as_path().into() }),
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
        let store = Folder::locked(folder.path(), &["some"]).unwrap();
        let read = |name: &str| store.read(name).unwrap();
        let write = |bytes| store.write("some/file.x", Some("some/file.previous.x"), bytes).unwrap();
        write(b"1");
        assert_eq!((read("some/file.x"), read("some/file.previous.x")), (Some(b"1".to_vec()), None));
        for (now, before) in [(b"2", b"1"), (b"3", b"2")] {
            write(now);
            assert_eq!(read("some/file.x").unwrap(), now);
            assert_eq!(read("some/file.previous.x").unwrap(), before);
        }
        assert_eq!(fs::read_dir(folder.path().join("some")).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::locked(folder.path(), &["taken/by/a/folder"]).unwrap();
        let error = store.write("taken", None, b"1").unwrap_err().to_string();
        assert!(error.contains("/taken: "), "{error}");
        assert!(!store.has("taken.tmp").unwrap());
        let error = store.write("nowhere/file", None, b"1").unwrap_err().to_string();
        assert!(error.contains("/nowhere/file: "), "{error}");
    }
}
