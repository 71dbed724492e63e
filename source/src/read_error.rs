//! A sample that does not come from its file.

use std::io;
use std::path::PathBuf;

/// A sample whose numbers, kept in a file, cannot be read any more.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {cause}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub cause: io::Error,
}
