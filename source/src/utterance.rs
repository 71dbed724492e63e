//! Recordings as their names tell them.

use std::path::PathBuf;

/// A recording of someone who says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utterance {
    /// The file.
    pub path: PathBuf,
    /// What is said.
    pub label: u32,
    /// Who says it, if the name says so.
    pub speaker: Option<String>,
    /// Which of the speaker's recordings of it, counted from 0, if the name says so.
    pub take: Option<u32>,
}
