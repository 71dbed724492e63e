//! `scores/METHOD.safetensors`: what samples are compared with to score them, so that later scores need no training data.

use ndarray::{ArrayD, Axis};
use proto::state::{self, Header, field};
use scff::layer::{Tensor, TensorSpec, Tensors};

use super::error::{Damage, RunDirError};
use super::format::{check, stamped};
use super::store::{Files, Store};
use crate::location::Location;
use crate::objects::Patience;

const FOLDER: &str = "scores";
const LAYERS: &str = "layers_sha256";
const READ: &str = "read_layers";
const ANEW: &str = "remove the file: it is made anew of the run's training data";

/// Which layers a reference was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceOf {
    /// Of the tensors of all layers up to the highest that is read.
    pub layers_sha256: String,
    /// The indices of those that are read.
    pub read: Vec<usize>,
}

/// Arrays by name, in an order that the method fixes.
pub type Arrays = Vec<(&'static str, ArrayD<f32>)>;

/// Reads the arrays of a method, of these names and ranks, if they are there and were made with these layers.
pub fn read(
    files: &Files,
    method: &str,
    of: &ReferenceOf,
    expected: &[(&'static str, usize)],
) -> Result<Option<Arrays>, RunDirError> {
    let name = file(method);
    let Some(bytes) = files.read(&name)? else { return Ok(None) };
    parse(&bytes, of, expected).map_err(|damage| damage.at(files.at(&name), ANEW))
}

fn parse(
    bytes: &[u8],
    of: &ReferenceOf,
    expected: &[(&'static str, usize)],
) -> Result<Option<Arrays>, Damage> {
    let header = state::header(bytes)?;
    check(&header)?;
    let read: Vec<usize> = serde_json::from_str(field(&header, READ)?)?;
    if (field(&header, LAYERS)?, &read) != (of.layers_sha256.as_str(), &of.read) {
        return Ok(None);
    }
    let spec = |&(name, rank): &(&'static str, usize)| TensorSpec {
        name,
        shape: vec![1; rank],
        channels: Axis(0),
        initial_bound: 0.0,
    };
    let specs: Vec<TensorSpec> = expected.iter().map(spec).collect();
    let (mut parts, _) = state::decode(bytes, &[("", &specs)])?;
    let tensors = parts.remove(0);
    Ok(Some(tensors.iter().map(|tensor| (tensor.name, tensor.values.clone())).collect()))
}

/// Keeps the arrays of a method, which were made with these layers.
pub fn write(
    place: &Location,
    method: &str,
    of: &ReferenceOf,
    arrays: &Arrays,
    patience: Patience,
) -> Result<(), RunDirError> {
    let tensor = |(name, values): &(&'static str, ArrayD<f32>)| Tensor {
        name,
        channels: Axis(0),
        values: values.clone(),
    };
    let tensors: Tensors = arrays.iter().map(tensor).collect();
    let store = Store::open(place, &[FOLDER], patience)?;
    let name = file(method);
    if !tensors.is_finite() {
        let what = "a statistic of the training data".to_owned();
        return Err(RunDirError::NotFinite { place: store.files().at(&name), what });
    }
    let read = serde_json::to_string(&of.read).expect("whole numbers");
    let header = Header::from([(LAYERS.to_owned(), of.layers_sha256.clone()), (READ.to_owned(), read)]);
    let written = store.write(&name, &state::encode(&[("", &tensors)], stamped(header)));
    store.release();
    written
}

fn file(method: &str) -> String {
    format!("{FOLDER}/{method}.safetensors")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_reference_is_read_back_with_the_layers_that_it_was_made_with_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let place = Location::from(folder.path());
        let of = |sha256: &str, read: &[usize]| ReferenceOf {
            layers_sha256: sha256.to_owned(),
            read: read.to_vec(),
        };
        let arrays: Arrays = vec![
            ("mean", array![1.0, 2.0].into_dyn()),
            ("features", array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].into_dyn()),
        ];
        write(&place, "some", &of("a", &[0, 2]), &arrays, Patience::default()).unwrap();
        let files = Files::open(&place).unwrap();
        let expected = [("mean", 1), ("features", 2)];
        assert_eq!(read(&files, "some", &of("a", &[0, 2]), &expected).unwrap(), Some(arrays));
        for other in [of("b", &[0, 2]), of("a", &[0])] {
            assert_eq!(read(&files, "some", &other, &expected).unwrap(), None);
        }
        assert_eq!(read(&files, "other", &of("a", &[0, 2]), &expected).unwrap(), None);
        let error = read(&files, "some", &of("a", &[0, 2]), &[("mean", 2)]).unwrap_err().to_string();
        assert!(error.contains("some.safetensors") && error.contains("made anew"), "{error}");
    }
}
