//! `config.toml`: whose run a directory holds.

use super::error::RunDirError;
use super::store::{Files, Store};
use crate::config::Config;

/// The file's name.
pub const FILE: &str = "config.toml";

/// Errors where there is no run.
pub fn find(files: &Files) -> Result<(), RunDirError> {
    match files.read(FILE)? {
        Some(_) => Ok(()),
        None => Err(RunDirError::NoRun { path: files.folder().to_owned() }),
    }
}

/// Keeps the configuration in a new directory; errors in one of another configuration.
pub fn keep(store: &Store, config: &Config) -> Result<(), RunDirError> {
    let files = store.files();
    let text = config.to_toml();
    match files.read(FILE)? {
        None => store.write(FILE, text.as_bytes()),
        Some(found) if found == text.as_bytes() => Ok(()),
        Some(found) => Err(RunDirError::OtherConfig {
            path: files.folder().to_owned(),
            difference: difference(&String::from_utf8_lossy(&found), &text),
        }),
    }
}

fn difference(found: &str, expected: &str) -> String {
    let mut section = "";
    let mut expected_lines = expected.lines();
    for line in found.lines() {
        if line.starts_with('[') {
            section = line;
        }
        match expected_lines.next() {
            Some(expected) if expected == line => {}
            Some(expected) => {
                return format!("`{line}` there, `{expected}` here {section}").trim_end().to_owned();
            }
            None => return format!("`{line}` only there {section}").trim_end().to_owned(),
        }
    }
    expected_lines.next().map_or_else(|| "none".to_owned(), |line| format!("`{line}` only here"))
}
