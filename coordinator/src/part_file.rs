//! A file that is written beside its place until it is whole.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// `FILE.part`, which becomes `FILE` once it is whole. Dropped before, it is removed.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    part: PathBuf,
    /// Locked: nobody else writes the same file.
    file: File,
    state: State,
}

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Growing,
    /// Something could not be written: it can never be whole. What else is written goes nowhere, since writers of archives
    /// finish what they have begun even where nobody wants it any more.
    Broken,
    Kept,
}

impl PartFile {
    /// Begins a file where there is none. What another process left behind that was killed is written anew.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        check_free(path)?;
        let mut name = OsString::from(path);
        name.push(".part");
        let part = PathBuf::from(name);
        let opened = File::options().create(true).write(true).truncate(false).open(&part);
        let file = opened.with_context(|| part.display().to_string())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: another process is writing it", part.display()),
            Err(TryLockError::Error(error)) => return Err(error).context(part.display().to_string()),
        }
        file.set_len(0).with_context(|| part.display().to_string())?;
        Ok(Self { path: path.to_owned(), part, file, state: State::Growing })
    }

    /// Writes a whole file where there is none.
    pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.keep()
    }

    /// One to which nothing can be written, for there is no room on the disk.
    #[cfg(all(test, target_os = "linux"))]
    pub fn on_a_full_disk(path: &Path) -> Self {
        let mut file = Self::create(path).expect("a new file");
        file.file = File::options().write(true).open("/dev/full").expect("it is there");
        file
    }

    /// The file is whole: it gets its name.
    pub fn keep(mut self) -> anyhow::Result<()> {
        ensure!(self.state == State::Growing, "{}: not all of it could be written", self.path.display());
        self.file.sync_all().with_context(|| self.part.display().to_string())?;
        check_free(&self.path)?;
        fs::rename(&self.part, &self.path).with_context(|| self.path.display().to_string())?;
        self.state = State::Kept;
        Ok(())
    }

    /// Has errors say which file they are about.
    fn attempt<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.state = State::Broken;
            }
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })
    }
}

fn check_free(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        bail!("{}: found a file that is there already, expected a new name", path.display());
    }
    Ok(())
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.state == State::Broken {
            return Ok(bytes.len());
        }
        let written = self.file.write(bytes);
        self.attempt(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.attempt(flushed)
    }
}

impl Seek for PartFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = self.file.seek(to);
        self.attempt(place)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.state != State::Kept {
            // What cannot be removed stays as what it is called: a part.
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn on_a_full_disk_the_error_names_the_file_and_no_part_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.npz");
        let mut file = PartFile::on_a_full_disk(&path);
        let error = file.write_all(b"something").unwrap_err().to_string();
        assert!(error.contains("out.npz: No space left on device"), "{error}");
        file.write_all(b"what nobody wants any more").unwrap();
        let error = file.keep().unwrap_err().to_string();
        assert!(error.ends_with("out.npz: not all of it could be written"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_has_its_name_once_it_is_whole_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (path, part) = (dir.path().join("out.csv"), dir.path().join("out.csv.part"));
        fs::write(&part, "left behind by somebody who was killed").unwrap();
        let mut file = PartFile::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        let error = PartFile::create(&path).unwrap_err().to_string();
        assert!(error.ends_with("out.csv.part: another process is writing it"), "{error}");
        file.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(!part.exists());
        let error = PartFile::create(&path).unwrap_err().to_string();
        assert!(error.contains("out.csv: found a file that is there already"), "{error}");
        drop(PartFile::create(&dir.path().join("other.csv")).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
