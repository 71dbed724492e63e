//! Are the files on disk the official ones? By the sum of what they unpack to, so that any gzip will do.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
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
    Files(Vec<VerifiedFile>),
}

/// A file that was found right.
#[derive(Debug)]
pub struct VerifiedFile {
    /// The file.
    pub path: PathBuf,
    /// Whether its sum was compared, and not only its size.
    pub summed: bool,
}

/// Reads all files of `name` and compares them with the official ones.
pub fn verify(name: DataSetName, data_dir: &Path) -> Result<Verified, VerifyError> {
    let Some(official) = official(name) else { return Ok(Verified::Embedded(name)) };
    let files = folder::find(name, data_dir)?;
    let (mut verified, mut errors) = (Vec::new(), Vec::new());
    for (entry, path) in official.files().into_iter().zip(files.paths()) {
        match check_content(path, entry) {
            Ok(()) => verified.push(VerifiedFile { path: path.to_owned(), summed: entry.sha256.is_some() }),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(Verified::Files(verified)) } else { Err(VerifyError::Files(errors)) }
}

/// Whether the file at `path`, raw or gzipped, holds what `entry` says.
pub fn check_content(path: &Path, entry: &FileEntry) -> Result<(), FileError> {
    let reader = unpack::open(path).map(|(_, reader)| reader);
    check(path, reader, entry.bytes, entry.sha256)
}

/// Whether the file at `path`, as it stands there, has this size and, where one is known, this sum.
pub fn check_as_is(path: &Path, bytes: u64, sha256: Option<Sha256Sum>) -> Result<(), FileError> {
    check(path, File::open(path), bytes, sha256)
}

fn check(
    path: &Path,
    reader: io::Result<impl Read>,
    bytes: u64,
    sha256: Option<Sha256Sum>,
) -> Result<(), FileError> {
    let (found, sum) = reader
        .and_then(|reader| Sha256Sum::of_at_most(bytes, reader))
        .map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
    if found != bytes {
        return Err(FileError::Size { path: path.to_owned(), found, expected: bytes });
    }
    match sha256 {
        Some(expected) if sum != expected => {
            Err(FileError::Sum { path: path.to_owned(), found: sum, expected })
        }
        _ => Ok(()),
    }
}

impl fmt::Display for VerifiedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.summed { "ok" } else { "of the right size (no sum of it is published)" };
        write!(f, "{}: {how}", self.path.display())
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(name) => write!(f, "{name} is part of this program; there are no files to verify"),
            Self::Files(files) => f.write_str(&lines(files)),
        }
    }
}

fn at_most(found: u64, expected: u64) -> String {
    if found > expected { format!("more than {expected}") } else { found.to_string() }
}

fn lines(files: &[impl fmt::Display]) -> String {
    files.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Set, gzip};

    const CONTENT: &[u8] = b"what the official file holds";

    fn entry() -> FileEntry {
        FileEntry { name: "file", bytes: CONTENT.len() as u64, sha256: Some(Sha256Sum::of(CONTENT)) }
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
    fn a_file_whose_sum_is_not_known_is_checked_by_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [0; 28]).unwrap();
        check_content(&path, &FileEntry { sha256: None, ..entry() }).unwrap();
        let found = VerifiedFile { path, summed: false }.to_string();
        assert!(found.ends_with("of the right size (no sum of it is published)"), "{found}");
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
