//! One file from one source: into `NAME.part`, continued where it stopped, checked, then renamed.
//!
//! Invariant: a file without `.part` in its name was whole and right when it was put there.

use std::io;
use std::path::{Path, PathBuf};

use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use super::catalog::{Archive, FileEntry, GzippedFile};
use super::check::{FileError, check_as_is, check_content};
use super::checksum::Sha256Sum;
use super::client::{Client, ClientError};
use super::folder;
use super::part_file::{PartFile, PartFileError};
use super::progress::Progress;

/// Why a source did not give a file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It was not asked, or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer that is not the file.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// A file of another size, refused before its first byte.
    #[error("the server announces {announced} bytes, expected {expected}")]
    Size {
        /// The size in the answer's header.
        announced: u64,
        /// The official file's size.
        expected: u64,
    },
    /// More bytes than the file has; cut off there and removed.
    #[error("the server sends more than the expected {expected} bytes; what came was removed")]
    Oversized {
        /// The official file's size.
        expected: u64,
    },
    /// The connection ended early. What came is kept and continued next time.
    #[error("the connection ended after {received} of {expected} bytes, kept for the next attempt{}",
            cause.as_ref().map(|error| format!(" ({error})")).unwrap_or_default())]
    Interrupted {
        /// How much of the file is there.
        received: u64,
        /// The official file's size.
        expected: u64,
        /// What the connection said, if it did not just end.
        cause: Option<io::Error>,
    },
    /// The bytes are not the official file's; they were removed.
    #[error("the download was corrupt and was removed: {0}")]
    Corrupt(FileError),
    /// This machine's file system refused.
    #[error("{} cannot be written: {cause}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl From<PartFileError> for DownloadError {
    fn from(error: PartFileError) -> Self {
        match error {
            PartFileError::Ended { received, expected, cause } => {
                Self::Interrupted { received, expected, cause }
            }
            PartFileError::Oversized { expected } => Self::Oversized { expected },
            PartFileError::Storage { path, cause } => Self::Storage { path, cause },
        }
    }
}

/// A file as the sources give it.
#[derive(Clone, Debug)]
pub struct Parcel<'a> {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it may be smaller: then it is not known until all is there, and what came of it is never continued.
    pub smaller: bool,
    /// Its sum, where it is known.
    pub sha256: Option<Sha256Sum>,
    /// The file that it is a gzip of, if it is one.
    pub content: Option<&'a FileEntry>,
}

impl<'a> Parcel<'a> {
    /// A file that comes gzipped.
    pub fn gzipped(gzipped: &'a GzippedFile) -> Self {
        let GzippedFile { file, gz_bytes, gz_sha256 } = gzipped;
        Self {
            name: folder::gz_name(file),
            bytes: *gz_bytes,
            smaller: false,
            sha256: *gz_sha256,
            content: Some(file),
        }
    }

    /// An archive as it is.
    pub fn archive(archive: &Archive) -> Self {
        let Archive { packed: FileEntry { name, bytes, sha256 }, repacked, .. } = *archive;
        Self { name: name.to_owned(), bytes, smaller: repacked, sha256, content: None }
    }

    /// Whether the file at `path` is the official one, by its own sum where that is known and by its content.
    fn check(&self, path: &Path) -> Result<(), FileError> {
        if self.smaller {
            return Ok(());
        }
        check_as_is(path, self.bytes, self.sha256)?;
        self.content.map_or(Ok(()), |content| check_content(path, content))
    }
}

/// Downloads `parcel` from the folder at `base_url` to `folder`, continuing an earlier attempt.
pub fn download(
    parcel: &Parcel<'_>,
    base_url: &str,
    folder: &Path,
    show_progress: bool,
) -> Result<(), DownloadError> {
    let Parcel { name, bytes, smaller, .. } = parcel;
    let url = format!("{base_url}{name}");
    let mut progress = Progress::new(show_progress, name, *bytes);
    progress.say(&format!("{name}: from {url}"));

    let part = if *smaller {
        PartFile::of_at_most(folder, name, *bytes)
    } else {
        PartFile::new(folder, name, *bytes)
    };
    let have = if *smaller { 0 } else { part.length()? };
    if have < *bytes {
        transfer(&url, have, &part, *smaller, &mut progress)?;
    }
    if let Err(error) = parcel.check(part.path()) {
        part.remove()?;
        return Err(DownloadError::Corrupt(error));
    }
    Ok(part.finish()?)
}

/// Appends what `part` lacks after the `have` bytes of an earlier attempt; from the start if the server will
/// not continue there.
fn transfer(
    url: &str,
    have: u64,
    part: &PartFile,
    smaller: bool,
    progress: &mut Progress,
) -> Result<(), DownloadError> {
    let expected = part.expected();
    let client = Client::from_env()?;
    let mut response = client.get(url, have)?;
    if have > 0 && refuses_to_continue(&response, have) {
        part.remove()?;
        response = client.get(url, 0)?;
    }
    let start = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if continues(&response, have) => have,
        status => return Err(DownloadError::Status(status)),
    };
    if let Some(length) = response.body().content_length()
        && (length > expected - start || length < expected - start && !smaller)
    {
        return Err(DownloadError::Size { announced: length.saturating_add(start), expected });
    }
    let body = response.into_body().into_reader();
    Ok(part.append(start, body, progress)?)
}

/// Whether the answer is the rest of the file from byte `from` on: `Content-Range: bytes FROM-...`.
fn continues(response: &Response<Body>, from: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && start == Some(from)
}

/// Whether the server has the file but will not go on at byte `from`: no such range, or another one.
fn refuses_to_continue(response: &Response<Body>, from: u64) -> bool {
    match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => true,
        StatusCode::PARTIAL_CONTENT => !continues(response, from),
        _ => false,
    }
}
