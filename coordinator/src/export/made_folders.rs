//! Folders that are made for something, and go again where that comes to nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Folders that were not there. Dropped before they are kept, they are removed, as far as they are empty.
#[derive(Debug)]
pub struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    /// Makes a folder, and those above it, as far as they are not there.
    pub fn up_to(folder: &Path) -> anyhow::Result<Self> {
        let missing = folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let missing: Vec<&Path> = missing.collect();
        let mut made = Self(Vec::new());
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Ok(()) => made.0.push(path.to_owned()),
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        ensure!(folder.is_dir(), "{}: found a file, expected a folder or a new name", folder.display());
        Ok(made)
    }

    /// What they were made for is in them.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        // One that is not empty has become somebody else's too.
        self.0.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_were_not_there_go_unless_they_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, folder) = (dir.path().join("a"), dir.path().join("a/b"));
        drop(MadeFolders::up_to(&folder).unwrap());
        assert!(!upper.exists());
        MadeFolders::up_to(&upper).unwrap().keep();
        drop(MadeFolders::up_to(&folder).unwrap());
        assert!(upper.is_dir() && !folder.exists());
        let made = MadeFolders::up_to(&folder).unwrap();
        fs::write(folder.join("another's"), "").unwrap();
        drop(made);
        assert!(folder.is_dir());
        let error = MadeFolders::up_to(&folder.join("another's")).unwrap_err().to_string();
        assert!(error.ends_with("another's: found a file, expected a folder or a new name"), "{error}");
    }
}
