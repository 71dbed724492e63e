//! JSON that can be read back.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::RunDirError;

/// A value as one line.
pub fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

/// A value as a file for people and scripts.
pub fn document(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data");
    text.push('\n');
    text
}

/// What the file at `path` says.
pub fn parse<T: for<'a> Deserialize<'a>>(path: &Path, bytes: &[u8]) -> Result<T, RunDirError> {
    serde_json::from_slice(bytes).map_err(|source| RunDirError::Json { path: path.to_owned(), source })
}
