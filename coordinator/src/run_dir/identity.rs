//! `run.json`: what a run is called and computed with.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use proto::state::sha256;
use serde::{Deserialize, Serialize};

use super::error::RunDirError;
use super::json;
use super::store::{Files, Store};

/// What a run is called and computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The run's name on the workers: unique, so that runs do not take each other's layers.
    pub id: String,
    /// BLAS and kernel that its bits depend on; empty until a first worker was there.
    pub blas: String,
    /// The most memory that coordinator and workers have had resident in an earlier sitting, added up.
    #[serde(default)]
    pub peak_rss_bytes: u64,
}

impl RunIdentity {
    /// That of a run which has not begun.
    pub fn new(folder: &Path) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unique = format!("{} {} {}", folder.display(), std::process::id(), now.as_nanos());
        Self { id: sha256(unique.as_bytes())[..16].to_owned(), blas: String::new(), peak_rss_bytes: 0 }
    }
}

const FILE: &str = "run.json";

/// The identity of a run, if it has one yet.
pub fn read(files: &Files) -> Result<Option<RunIdentity>, RunDirError> {
    files.read(FILE)?.map(|bytes| json::parse(&files.at(FILE), &bytes)).transpose()
}

/// Keeps it.
pub fn write(store: &Store, identity: &RunIdentity) -> Result<(), RunDirError> {
    store.write(FILE, json::document(identity).as_bytes())
}
