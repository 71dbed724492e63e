//! A file of samples that nothing can be learned from.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A file, or a folder of them, that does not hold what it should.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: found {found}, expected {expected}", path.display())]
pub struct BadFile {
    /// The file.
    pub path: PathBuf,
    /// What it is or holds.
    pub found: String,
    /// What it may be or hold.
    pub expected: String,
}

impl BadFile {
    /// An error about the file at `path`.
    pub fn new(path: &Path, found: impl Display, expected: impl Display) -> Self {
        Self { path: path.to_owned(), found: found.to_string(), expected: expected.to_string() }
    }
}
