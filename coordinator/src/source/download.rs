//! One file from one source: into `NAME.gz.part`, continued where it stopped, checked, then renamed.
//!
//! Invariant: a file without `.part` in its name was whole and right when it was put there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body, BodyReader};

use super::catalog::FileEntry;
use super::checksum::Sha256Sum;
use super::folder;
use super::progress::Progress;
use super::verify::{FileError, check_content};

/// Why a source did not give a file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No connection, no answer, or none that is HTTP.
    #[error("no answer: {0}")]
    NoAnswer(Box<ureq::Error>),
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

/// What was done for a file that is now there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOutcome {
    /// It was there already.
    Present,
    /// It was downloaded.
    Downloaded,
}

/// Downloads `entry` from the folder at `base_url` to `folder`, continuing an earlier attempt.
pub fn download(
    entry: &FileEntry,
    base_url: &str,
    folder: &Path,
    show_progress: bool,
) -> Result<(), DownloadError> {
    let name = folder::gz_name(entry);
    let url = format!("{base_url}{name}");
    let mut progress = Progress::new(show_progress, &name, entry.gz_bytes);
    progress.say(&format!("{name}: from {url}"));

    let part = Part { path: folder.join(format!("{name}.part")), expected: entry.gz_bytes };
    let have = part.length()?;
    if have < part.expected {
        transfer(&url, have, &part, &mut progress)?;
    }
    if let Err(error) = check(&part.path, entry) {
        part.remove()?;
        return Err(DownloadError::Corrupt(error));
    }
    part.finish(&folder.join(&name))
}

/// Whether the downloaded file is the official one, by its own sum where that is known and by its content.
fn check(path: &Path, entry: &FileEntry) -> Result<(), FileError> {
    if let Some(expected) = entry.gz_sha256 {
        let (_, found) = File::open(path)
            .and_then(|file| Sha256Sum::of_at_most(entry.gz_bytes, file))
            .map_err(|cause| FileError::Unreadable { path: path.to_owned(), cause })?;
        if found != expected {
            return Err(FileError::Sum { path: path.to_owned(), found, expected });
        }
    }
    check_content(path, entry)
}

/// Appends what `part` lacks after the `have` bytes of an earlier attempt; from the start if the server will
/// not continue there.
fn transfer(url: &str, have: u64, part: &Part, progress: &mut Progress) -> Result<(), DownloadError> {
    let mut response = request(url, have)?;
    if have > 0 && refuses_to_continue(&response, have) {
        part.remove()?;
        response = request(url, 0)?;
    }
    let start = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if continues(&response, have) => have,
        status => return Err(DownloadError::Status(status)),
    };
    if let Some(length) = response.body().content_length()
        && length != part.expected - start
    {
        return Err(DownloadError::Size { announced: length.saturating_add(start), expected: part.expected });
    }
    part.append(start, response.into_body().into_reader(), progress)
}

/// The answer to a request for the file from byte `from` on.
fn request(url: &str, from: u64) -> Result<Response<Body>, DownloadError> {
    let mut request = agent().get(url);
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    request.call().map_err(|error| DownloadError::NoAnswer(Box::new(error)))
}

fn agent() -> Agent {
    let patience = Some(Duration::from_secs(30));
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(patience)
        .timeout_recv_response(patience)
        .timeout_per_read(patience)
        // The files are gzipped and are wanted that way.
        .accept_encoding("identity")
        .user_agent(concat!("strata-coordinator/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
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

/// The file that a download grows in.
struct Part {
    path: PathBuf,
    /// The length it grows to.
    expected: u64,
}

impl Part {
    /// How much an earlier attempt left; too much is worth nothing and is removed.
    fn length(&self) -> Result<u64, DownloadError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() <= self.expected => Ok(metadata.len()),
            Ok(_) => self.remove().map(|()| 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.storage(error)),
        }
    }

    /// Writes `body` from byte `start` on; it must end where the file does.
    fn append(&self, start: u64, mut body: BodyReader, progress: &mut Progress) -> Result<(), DownloadError> {
        let mut file = self.open_at(start).map_err(|error| self.storage(error))?;
        let mut received = start;
        let mut buffer = vec![0; 1 << 16];
        loop {
            progress.set(received);
            let read = match body.read(&mut buffer) {
                Ok(0) if received == self.expected => return Ok(()),
                Ok(0) => return Err(self.interrupted(received, None)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.interrupted(received, Some(error))),
            };
            if received + read as u64 > self.expected {
                self.remove()?;
                return Err(DownloadError::Oversized { expected: self.expected });
            }
            file.write_all(&buffer[..read]).map_err(|error| self.storage(error))?;
            received += read as u64;
        }
    }

    fn open_at(&self, start: u64) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        file.set_len(start)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }

    fn remove(&self) -> Result<(), DownloadError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.storage(error)),
            _ => Ok(()),
        }
    }

    /// Gives the file its name, for good: the folder is on disk too when this returns.
    fn finish(self, path: &Path) -> Result<(), DownloadError> {
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.path, path))
            .and_then(|()| path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()))
            .map_err(|cause| DownloadError::Storage { path: path.to_owned(), cause })
    }

    fn interrupted(&self, received: u64, cause: Option<io::Error>) -> DownloadError {
        DownloadError::Interrupted { received, expected: self.expected, cause }
    }

    fn storage(&self, cause: io::Error) -> DownloadError {
        DownloadError::Storage { path: self.path.clone(), cause }
    }
}
