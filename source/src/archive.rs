//! Unpacking an archive: the files that are wanted, each checked before it gets its name, and nothing else.
//!
//! Invariant: no name and no size in the archive decides what is written where; the catalog's do.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::catalog::{Archive, FileEntry};
use super::check::{FileError, check_as_is};
use super::part_file::{PartFile, PartFileError};
use super::progress::Progress;

/// What an archive may hold beside the files that are wanted.
const OTHER_BYTES: u64 = 1 << 24;

/// Of archives of more files than so many no progress is shown: they are small.
const SHOWN: usize = 20;

/// An archive that does not give its files.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read, or breaks off, or is no `.tar.gz`.
    #[error("{} cannot be unpacked: {cause}", path.display())]
    Unreadable {
        /// The archive.
        path: PathBuf,
        /// What the system or a decoder said.
        cause: io::Error,
    },
    /// A file is not in it.
    #[error("{} holds no file {folder}/{file}", path.display())]
    Lacks {
        /// The archive.
        path: PathBuf,
        /// The folder in it.
        folder: &'static str,
        /// The file.
        file: &'static str,
    },
    /// A file in it has another size.
    #[error("{} holds {file} with {found} bytes, expected {expected}", path.display())]
    Size {
        /// The archive.
        path: PathBuf,
        /// The file.
        file: &'static str,
        /// Its size in the archive.
        found: u64,
        /// The official file's size.
        expected: u64,
    },
    /// A file in it has other content.
    #[error("{} holds another {file} than the official one: {error}", path.display())]
    Content {
        /// The archive.
        path: PathBuf,
        /// The file.
        file: &'static str,
        /// What is wrong with it; it was removed.
        error: Box<FileError>,
    },
    /// The file system refused.
    #[error("{} cannot be written: {cause}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Writes the `wanted` files of the archive at `path` to `folder`.
pub fn unpack(
    path: &Path,
    archive: &Archive,
    wanted: &[&'static FileEntry],
    folder: &Path,
    show_progress: bool,
) -> Result<(), ArchiveError> {
    let unreadable = |cause| ArchiveError::Unreadable { path: path.to_owned(), cause };
    let limit = archive.files.iter().map(|entry| entry.bytes).sum::<u64>() + OTHER_BYTES;
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
    let mut members = tar::Archive::new(MultiGzDecoder::new(file).take(limit));
    let mut lacking: HashMap<PathBuf, &'static FileEntry> =
        wanted.iter().map(|entry| (Path::new(archive.folder).join(entry.name), *entry)).collect();
    // Raw: no extended header, whose length the archive decides, is read into memory.
    for member in members.entries().map_err(unreadable)?.raw(true) {
        let member = member.map_err(unreadable)?;
        let Some(entry) = plain_file(&member).and_then(|path| lacking.remove(&path)) else { continue };
        if member.size() != entry.bytes {
            return Err(ArchiveError::Size {
                path: path.to_owned(),
                file: entry.name,
                found: member.size(),
                expected: entry.bytes,
            });
        }
        write(path, member, entry, folder, show_progress && archive.files.len() <= SHOWN)?;
        if lacking.is_empty() {
            break;
        }
    }
    match wanted.iter().find(|entry| lacking.values().any(|lacking| lacking.name == entry.name)) {
        None => Ok(()),
        Some(entry) => {
            Err(ArchiveError::Lacks { path: path.to_owned(), folder: archive.folder, file: entry.name })
        }
    }
}

/// The path of `member` in the archive, if it is a plain file.
fn plain_file(member: &tar::Entry<'_, impl Read>) -> Option<PathBuf> {
    let path = member.path().ok().filter(|_| member.header().entry_type().is_file())?;
    Some(path.strip_prefix(".").unwrap_or(&path).to_owned())
}

fn write(
    archive: &Path,
    member: impl Read,
    entry: &FileEntry,
    folder: &Path,
    show_progress: bool,
) -> Result<(), ArchiveError> {
    let failed = |error| match error {
        PartFileError::Storage { path, cause } => ArchiveError::Storage { path, cause },
        PartFileError::Ended { received, expected, cause } => {
            let ended =
                || io::Error::other(format!("{} ends after {received} of {expected} bytes", entry.name));
            ArchiveError::Unreadable { path: archive.to_owned(), cause: cause.unwrap_or_else(ended) }
        }
        PartFileError::Oversized { expected } => {
            unreachable!("{} has {expected} bytes by its header, and is read no further", entry.name)
        }
    };
    let mut progress = Progress::new(show_progress, entry.name, entry.bytes);
    progress.say(&format!("{}: from {}", entry.name, archive.display()));
    let part = PartFile::new(folder, entry.name, entry.bytes);
    part.append(0, member, &mut progress).map_err(failed)?;
    if let Err(error) = check_as_is(part.path(), entry.bytes, entry.sha256) {
        part.remove().map_err(failed)?;
        let error = Box::new(error);
        return Err(ArchiveError::Content { path: archive.to_owned(), file: entry.name, error });
    }
    part.finish().map_err(failed)
}
