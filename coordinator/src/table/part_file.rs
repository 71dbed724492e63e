//! A file that is written beside its place until it is whole.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// `FILE.part`, which becomes `FILE` once it is whole. Dropped before, it is removed.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    part: PathBuf,
    /// Locked: nobody else writes the same file.
    file: File,
    kept: bool,
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
        Ok(Self { path: path.to_owned(), part, file, kept: false })
    }

    /// The file is whole: it gets its name.
    pub fn keep(mut self) -> anyhow::Result<()> {
        self.file.sync_all().with_context(|| self.part.display().to_string())?;
        check_free(&self.path)?;
        fs::rename(&self.part, &self.path).with_context(|| self.path.display().to_string())?;
        self.kept = true;
        Ok(())
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
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for PartFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed stays as what it is called: a part.
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
