//! Inputs of a model that has been trained: files that need not be those of its data set, read as they are needed.

use std::mem::discriminant;
use std::path::{Path, PathBuf};

use super::audio::MfccOptions;
use super::bad_file::BadFile;
use super::error::DataError;
use super::form::Form;
use super::input::{InputKind, InputSpec, RecordingInput};
use super::input_source::{InputSource, Part};
use super::load::load_part;
use super::name::DataSetName;
use super::opened::{Input, Reader};
use super::selection::{Recordings, Selection, Split};

/// Opens samples such as `spec` says: what lies at a path, or a part of a known data set, whose files are in `data_dir`.
pub fn open_input(source: &InputSource, data_dir: &Path, spec: &InputSpec) -> Result<Input, DataError> {
    let input = match source {
        InputSource::Path(path) => open_path(path, spec)?,
        InputSource::Part { name, part } => open_part(*name, *part, source, data_dir, spec)?,
    };
    Ok(input.knowing(&spec.classes))
}

/// A folder or a file of any kind that makes samples as `spec` says.
fn open_path(path: &Path, spec: &InputSpec) -> Result<Input, DataError> {
    Form::find(path)?.open(path, None, &spec.kind, false)
}

/// A part of a known data set, if its samples are of the model's kind and shape.
fn open_part(
    name: DataSetName,
    part: Part,
    source: &InputSource,
    data_dir: &Path,
    spec: &InputSpec,
) -> Result<Input, DataError> {
    let mfcc = match &spec.kind {
        InputKind::Recordings(RecordingInput { mfcc, .. }) => *mfcc,
        InputKind::Images(_) | InputKind::Numbers(_) => MfccOptions::default(),
    };
    let selection = match name {
        DataSetName::Fsdd => Selection::Fsdd(Recordings { split: Split::Official, mfcc }),
        name => name.into(),
    };
    let (examples, input) = load_part(&selection, part, data_dir)?;
    let bad = |found: String, expected: String| BadFile {
        path: PathBuf::from(source.to_string()),
        found,
        expected,
    };
    if discriminant(&input.kind) != discriminant(&spec.kind) || input.shape() != spec.shape() {
        return Err(bad(kind(&input), format!("{} as the model was trained on", kind(spec))).into());
    }
    let mut examples = examples
        .ok_or_else(|| bad("no samples without labels".to_owned(), format!("{name}:train or {name}:test")))?;
    spec.scale(&mut examples);
    let labels = examples.labels().to_vec();
    let classes = if labels.is_empty() { Vec::new() } else { input.classes };
    Ok(Input::new(Reader::Known(examples), None, labels, classes))
}

/// What samples are, in words.
fn kind(spec: &InputSpec) -> String {
    let kind = match spec.kind {
        InputKind::Images(_) => "images",
        InputKind::Numbers(_) => "rows of numbers",
        InputKind::Recordings(_) => "recordings",
    };
    format!("{kind} {}", spec.shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::Examples;
    use crate::input::{ImageInput, NumberInput};
    use crate::load::load;
    use crate::room::Room;
    use crate::shape::{ChannelScale, Shape};
    use crate::synthetic;

    fn images(height: usize) -> InputSpec {
        let shape = Shape { height, width: 28, channels: 1 };
        let scales = vec![ChannelScale { mean: 0.0, deviation: 0.5 }];
        let classes = (0..10).rev().map(|class| class.to_string()).collect();
        InputSpec { kind: InputKind::Images(ImageInput { shape, scales }), classes }
    }

    fn part(text: &str) -> InputSource {
        std::ffi::OsString::from(text).try_into().unwrap()
    }

    #[test]
    fn parts_of_known_data_sets_are_scaled_and_labelled_as_the_model_says() {
        let dir = synthetic::Set::default().write([false; 4]);
        let input = open_input(&part("mnist:train"), dir.path(), &images(28)).unwrap();
        assert_eq!((input.len(), input.name(2)), (3, "2".into()));
        // The model counts them from 9 down; the files say 9, 0 and 3.
        assert_eq!((input.labels(), input.classes().len()), (&[0, 9, 6][..], 10));
        let read = input.read(1..3).unwrap();
        assert_eq!((read.len(), read.labels()), (2, &[9, 6][..]));
        let whole = load(&DataSetName::Mnist.into(), dir.path(), &Room::boundless()).unwrap().train;
        let sample = |examples: &Examples, index| {
            let mut sample = vec![0.0; examples.shape().len()];
            examples.write(index, &mut sample).unwrap();
            sample
        };
        for (found, unit) in sample(&read, 0).into_iter().zip(sample(&whole, 1)) {
            assert!((found - unit / 0.5).abs() < 1e-6, "{found}, {unit}");
        }
    }

    #[test]
    fn parts_of_other_samples_than_the_models_are_refused() {
        let dir = synthetic::Set::default().write([false; 4]);
        let shape = Shape { height: 28, width: 28, channels: 1 };
        let numbers = InputKind::Numbers(NumberInput::new(shape));
        for (text, spec, expected) in [
            (
                "mnist:test",
                images(32),
                "mnist:test: found images 28x28x1, expected images 32x28x1 as the model",
            ),
            (
                "mnist:test",
                InputSpec { kind: numbers, classes: Vec::new() },
                "found images 28x28x1, expected rows of numbers 28x28x1",
            ),
            (
                "mnist:unlabeled",
                images(28),
                "found no samples without labels, expected mnist:train or mnist:test",
            ),
        ] {
            let error = open_input(&part(text), dir.path(), &spec).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
