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
        // A few labels have named classes of samples that have none.
        Some(there) if input.classes.is_empty() && there.kind == input.kind => Ok(()),
        Some(_) => Err(RunDirError::OtherInput { place: files.at(FILE) }),
        None => store.write(FILE, json::document(&files.at(FILE), input)?.as_bytes()),
    }
}

/// Keeps what classes are called in the place of what they were; where nothing says how samples are read, nothing says that either.
pub fn name_classes(store: &Store, classes: &[String]) -> Result<(), RunDirError> {
    let files = store.files();
    let Some(input) = read(files)? else { return Ok(()) };
    let named = InputSpec { classes: classes.to_vec(), ..input };
    store.write(FILE, json::document(&files.at(FILE), &named)?.as_bytes())
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

    #[test]
    fn classes_that_a_few_labels_have_named_make_no_other_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().into(), &[], Patience::default()).unwrap();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let kind = InputKind::Numbers(NumberInput { shape, moments: None, columns: Vec::new(), table: None });
        let unlabelled = InputSpec { kind, classes: Vec::new() };
        name_classes(&store, &["a".to_owned()]).unwrap();
        assert_eq!(read(store.files()).unwrap(), None);
        keep(&store, &unlabelled).unwrap();
        let classes = vec!["cat".to_owned(), "dog".to_owned()];
        name_classes(&store, &classes).unwrap();
        keep(&store, &unlabelled).unwrap();
        assert_eq!(read(store.files()).unwrap(), Some(InputSpec { classes, ..unlabelled }));
    }
}
