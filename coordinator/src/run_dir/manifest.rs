//! `manifest.json`: which files the run's samples were read from, so that it does not go on with others.

use source::Manifest;

use super::error::{Damage, RunDirError};
use super::json;
use super::store::{Files, Store};

/// The file's name.
const FILE: &str = "manifest.json";

fn read(files: &Files) -> Result<Option<Manifest>, RunDirError> {
    let Some(bytes) = files.read(FILE)? else { return Ok(None) };
    let remade = "remove the file: the run writes it again when it goes on";
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Damage::Json(error).at(files.at(FILE), remade))
}

/// Keeps it where there is none, as runs of earlier builds have none; errors where the run began with other files.
pub fn keep(store: &Store, manifest: &Manifest) -> Result<(), RunDirError> {
    let files = store.files();
    let Some(there) = read(files)? else {
        return store.write(FILE, json::document(&files.at(FILE), manifest)?.as_bytes());
    };
    match there.difference(manifest) {
        None => Ok(()),
        Some(difference) => Err(RunDirError::OtherData { place: files.at(FILE), difference }),
    }
}

#[cfg(test)]
mod tests {
    use source::{ReadFile, Record};

    use super::*;
    use crate::objects::Patience;

    #[test]
    fn a_run_that_began_with_other_files_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().into(), &[], Patience::default()).unwrap();
        let manifest = |content: &[u8]| {
            let files = vec![ReadFile::of("photos/a.png".to_owned(), content)];
            Record { files, ..Record::default() }.manifest().unwrap()
        };
        keep(&store, &manifest(b"1")).unwrap();
        keep(&store, &manifest(b"1")).unwrap();
        assert_eq!(read(store.files()).unwrap(), Some(manifest(b"1")));
        let error = keep(&store, &manifest(b"23")).unwrap_err().to_string();
        assert!(error.contains("photos/a.png has another content (1 bytes then, 2 now)"), "{error}");
    }
}
