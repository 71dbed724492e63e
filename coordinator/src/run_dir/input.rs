//! `input.json`: how samples of the run's kind are read and scaled, so that its model can be used without its data set.

use source::InputSpec;

use super::error::{Damage, RunDirError};
use super::json;
use super::store::{Files, Store};

/// The file's name.
const FILE: &str = "input.json";

/// What the file says, if it is there: runs of earlier versions have none.
pub fn read(files: &Files) -> Result<Option<InputSpec>, RunDirError> {
    let Some(bytes) = files.read(FILE)? else { return Ok(None) };
    let remade = "remove the file: the run writes it again when it goes on";
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Damage::Json(error).at(files.at(FILE), remade))
}

/// Keeps it in a new directory; errors where the run began with samples of another kind, or that were scaled in another way.
pub fn keep(store: &Store, input: &InputSpec) -> Result<(), RunDirError> {
    let files = store.files();
    match read(files)? {
        Some(there) if there == *input => Ok(()),
        Some(_) => Err(RunDirError::OtherInput { place: files.at(FILE) }),
        None => store.write(FILE, json::document(&files.at(FILE), input)?.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use source::{InputKind, NumberInput, Shape};

    use super::*;
    use crate::objects::Patience;

    #[test]
    fn a_run_that_began_with_other_samples_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().into(), &[], Patience::default()).unwrap();
        let input = |channels| {
            let shape = Shape { height: 1, width: 1, channels };
            let kind = InputKind::Numbers(NumberInput::new(shape));
            InputSpec { kind, classes: vec!["a".to_owned()] }
        };
        assert_eq!(read(store.files()).unwrap(), None);
        keep(&store, &input(4)).unwrap();
        keep(&store, &input(4)).unwrap();
        assert_eq!(read(store.files()).unwrap(), Some(input(4)));
        let error = keep(&store, &input(5)).unwrap_err().to_string();
        assert!(error.contains("input.json: the run began with other samples"), "{error}");
    }
}
