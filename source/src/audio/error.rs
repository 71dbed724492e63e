//! What can be wrong with a recording.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A recording that nothing can be learned from.
#[derive(Debug, thiserror::Error)]
#[error("{}: found {found}, expected {expected}", path.display())]
pub struct RecordingError {
    /// The file.
    pub path: PathBuf,
    /// What it is or holds.
    pub found: String,
    /// What it may be or hold.
    pub expected: String,
}

impl RecordingError {
    /// An error about the file at `path`.
    pub fn new(path: &Path, found: impl Display, expected: impl Display) -> Self {
        Self { path: path.to_owned(), found: found.to_string(), expected: expected.to_string() }
    }
}
