//! Are the files on disk the official ones? By the sum of what they unpack to, so that any gzip will do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::catalog::{FileEntry, official};
use super::checksum::Sha256Sum;
use super::error::DataError;
use super::folder;
use super::name::DataSetName;
use super::unpack;

/// A file that is not the official one.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or its gzip data are cut off or damaged.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system or the gzip decoder said.
        cause: io::Error,
    },
    /// It is shorter or longer.
    #[error("{} holds {} unpacked bytes, expected {expected}", path.display(), at_most(*found, *expected))]
    Size {
        /// The file.
        path: PathBuf,
        /// Its length, unpacked; reading stops one byte past the expected length.
        found: u64,
        /// The official file's length.
        expected: u64,
    },
    /// It has other content.
    #[error("{} has SHA-256 {found}, expected {expected}", path.display())]
    Sum {
        /// The file.
        path: PathBuf,
        /// The sum of what it holds, or of the gzip file itself.
        found: Sha256Sum,
        /// The official one.
        expected: Sha256Sum,
    },
}

/// A data set that is not, or not wholly, the official one.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file is not there.
    #[error(transparent)]
    Missing(#[from] DataError),
    /// Files are wrong: all of them, one a line.
    #[error("{}", lines(.0))]
    Files(Vec<FileError>),
}

/// A data set that is the official one.
#[derive(Debug)]
pub enum Verified {
    /// It is part of this program.
    Embedded(DataSetName),
    /// These files were read and are right.
    Files(Vec<PathBuf>),
}

/// Reads all files of `name` and compares them with the official ones.
pub fn verify(name: DataSetName, data_dir: &Path) -> Result<Verified, VerifyError> {
    let Some(official) = official(name) else { return Ok(Verified::Embedded(name)) };
    let files = folder::find(name, data_dir)?;
    let checked = official.files.iter().zip(files.as_paths());
    let errors: Vec<_> = checked.filter_map(|(entry, path)| check_content(path, entry).err()).collect();
    if errors.is_empty() {
        Ok(Verified::Files(files.as_paths().map(Path::to_owned).to_vec()))
    } else {
        Err(VerifyError::Files(errors))
    }
}

/// Whether the file at `path`, raw or gzipped, holds what `entry` says.
pub fn check_content(path: &Path, entry: &FileEntry) -> Result<(), FileError> {
    let (found, sum) = unpack::open(path)
        .and_then(|(_, reader)| Sha256Sum::of_at_most(entry.bytes, reader))
        .map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
    if found != entry.bytes {
        return Err(FileError::Size { path: path.to_owned(), found, expected: entry.bytes });
    }
    if sum != entry.sha256 {
        return Err(FileError::Sum { path: path.to_owned(), found: sum, expected: entry.sha256 });
    }
    Ok(())
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(name) => write!(f, "{name} is part of this program; there are no files to verify"),
            Self::Files(paths) => {
                let lines: Vec<String> = paths.iter().map(|path| format!("{}: ok", path.display())).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

fn at_most(found: u64, expected: u64) -> String {
    if found > expected { format!("more than {expected}") } else { found.to_string() }
}

fn lines(errors: &[FileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic::{Set, gzip};

    const CONTENT: &[u8] = b"what the official file holds";

    fn entry() -> FileEntry {
        FileEntry {
            name: "file",
            bytes: CONTENT.len() as u64,
            sha256: Sha256Sum::of(CONTENT),
            gz_bytes: 1,
            gz_sha256: None,
        }
    }

    fn check(bytes: &[u8]) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        check_content(&path, &entry()).map_err(|error| {
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            text
        })
    }

    #[test]
    fn any_gzip_of_the_right_content_is_right() {
        assert_eq!(check(CONTENT), Ok(()));
        assert_eq!(check(&gzip(CONTENT)), Ok(()));
        let members = [gzip(&CONTENT[..5]), gzip(&CONTENT[5..])].concat();
        assert_eq!(check(&members), Ok(()));
    }

    #[test]
    fn wrong_content_is_told_from_a_wrong_size_and_a_broken_file() {
        let mut other = CONTENT.to_vec();
        other[0] ^= 1;
        let sum = Sha256Sum::of(CONTENT).to_string();
        assert!(check(&gzip(&other)).unwrap_err().contains(&format!("expected {sum}")));
        assert!(check(&CONTENT[1..]).unwrap_err().contains("holds 27 unpacked bytes, expected 28"));
        assert!(check(&gzip(&[0; 99])).unwrap_err().contains("more than 28 unpacked bytes, expected 28"));
        assert!(check(&gzip(CONTENT)[..20]).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn every_wrong_file_is_named() {
        let dir = Set::default().write([false; 4]);
        let error = verify(DataSetName::Mnist, dir.path()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 4, "{error}");
        assert!(
            error.contains("train-images-idx3-ubyte holds 2368 unpacked bytes, expected 47040016"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_set_and_an_embedded_one_are_answered() {
        let dir = tempfile::tempdir().unwrap();
        let error = verify(DataSetName::Mnist, dir.path()).unwrap_err().to_string();
        assert!(error.contains("coordinator data fetch mnist"), "{error}");
        let iris = verify(DataSetName::Iris, dir.path()).unwrap().to_string();
        assert!(iris.contains("part of this program"), "{iris}");
    }
}
