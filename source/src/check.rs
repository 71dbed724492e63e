//! Is a file the official one? By the sum of what it unpacks to, so that any gzip will do.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::catalog::FileEntry;
use super::checksum::Sha256Sum;
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

fn at_most(found: u64, expected: u64) -> String {
    if found > expected { format!("more than {expected}") } else { found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::gzip;

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
    }
}
