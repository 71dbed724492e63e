//! Inputs of a model that has been trained: files that need not be those of its data set.

use std::collections::HashMap;
use std::path::Path;

use super::bad_file::BadFile;
use super::error::DataError;
use super::examples::Examples;
use super::image_folder;
use super::input::{InputKind, InputSpec};

/// Samples for a model.
#[derive(Clone, Debug)]
pub struct Input {
    /// The samples, scaled as those that the model was trained on, in the order of their names; with labels where their files
    /// tell them.
    pub examples: Examples,
    /// What the labels are called: as the model's classes, where all are among them, otherwise as the files say.
    pub classes: Vec<String>,
}

/// Reads what lies at `path`, a folder or a file of any kind that makes samples as `spec` says.
pub fn open_input(path: &Path, spec: &InputSpec) -> Result<Input, DataError> {
    let (examples, classes) = match &spec.kind {
        InputKind::Images(input) => image_folder::open(path, input)?,
        InputKind::Numbers(_) | InputKind::Recordings(_) => {
            let expected = "a model of images; others have no inputs of their own yet";
            return Err(BadFile::new(path, "an input for a model of numbers or recordings", expected).into());
        }
    };
    Ok(known(examples, classes, &spec.classes))
}

/// Labels counted as the model's classes are, where it knows all of them.
fn known(examples: Examples, classes: Vec<String>, known: &[String]) -> Input {
    let numbers: HashMap<&String, u32> = known.iter().zip(0..).collect();
    let number: Option<Vec<u32>> = classes.iter().map(|class| numbers.get(class).copied()).collect();
    match number {
        Some(number) if !number.is_empty() => {
            Input { examples: examples.relabelled(|label| number[label as usize]), classes: known.to_vec() }
        }
        _ => Input { examples, classes },
    }
}
