//! What a run has learned, taken up without its data set: the layers that are frozen so far, and the readout if there is one.

use std::sync::Arc;

use anyhow::{bail, ensure};
use scff::frozen::FrozenLayer;
use scff::layer::Tensors;

use crate::config;
use crate::location::Location;
use crate::run_dir::{ModelFile, ReadoutFile, RunDirReader};

/// Frozen layers, which of them are read, and what reads them.
#[derive(Clone, Debug)]
pub struct Model {
    /// From the input up, one at least.
    pub layers: Vec<Arc<FrozenLayer>>,
    /// Of each layer, whether its outputs are features; those of one at least are.
    pub read: Vec<bool>,
    /// The weights (classes, features) and the bias (classes) of the linear classifier, if one was trained on these features.
    pub readout: Option<Tensors>,
}

impl Model {
    /// The model of a run, which may be at work still; it is read as the run's own readout reads it.
    pub fn open(place: &Location) -> anyhow::Result<Self> {
        let dir = RunDirReader::open(place)?;
        let ModelFile { layers, read } = dir.model()?;
        ensure!(!layers.is_empty(), "{place}: no layer is frozen yet");
        let readout = dir.readout()?;
        let layers: Vec<_> = layers.into_iter().map(Arc::new).collect();
        let read = match read.or_else(|| readout.as_ref()?.read.clone()) {
            Some(read) => flags(place, &read, layers.len())?,
            None => configured(&dir, layers.len())?,
        };
        let model = Self { layers, read, readout: None };
        match readout {
            Some(readout) => model.with_readout(place, readout),
            None => Ok(model),
        }
    }

    /// The same layers, of which those of these indices are read, by no readout.
    pub fn reading(self, place: &Location, layers: &[usize]) -> anyhow::Result<Self> {
        Ok(Self { read: flags(place, layers, self.layers.len())?, readout: None, ..self })
    }

    /// The same without the layers above the highest that is read, which are of no use to features.
    #[must_use]
    pub fn up_to_the_highest_read(mut self) -> Self {
        let layers = self.read.iter().rposition(|read| *read).expect("one is read") + 1;
        self.layers.truncate(layers);
        self.read.truncate(layers);
        self
    }

    fn with_readout(self, place: &Location, readout: ReadoutFile) -> anyhow::Result<Self> {
        let ReadoutFile { parameters, read } = readout;
        let read = match read {
            Some(read) => flags(place, &read, self.layers.len())?,
            None => self.read.clone(),
        };
        let model = Self { read, readout: Some(parameters), ..self };
        let (found, expected) =
            (model.readout.as_ref().map(|readout| readout.weight().ncols()), model.features());
        let found = found.unwrap_or_default();
        ensure!(
            found == expected,
            "{place}: found a readout of {found} features, expected one of {expected}"
        );
        Ok(model)
    }

    /// Elements of a sample's features.
    pub fn features(&self) -> usize {
        let read = self.layers.iter().zip(&self.read).filter(|(_, read)| **read);
        read.map(|(layer, _)| layer.spec().features()).sum()
    }
}

/// Whether each of so many layers is among these.
fn flags(place: &Location, read: &[usize], layers: usize) -> anyhow::Result<Vec<bool>> {
    if let Some(wrong) = read.iter().find(|&&layer| layer >= layers) {
        bail!(
            "{place}: layer {wrong} cannot be read: expected indices below {layers}, for so many layers are frozen"
        );
    }
    ensure!(!read.is_empty(), "{place}: no layer is read; name some with --layers");
    Ok((0..layers).map(|layer| read.contains(&layer)).collect())
}

/// The same of a run whose files do not say what is read, as its configuration says.
fn configured(dir: &RunDirReader, layers: usize) -> anyhow::Result<Vec<bool>> {
    let (file, text) = dir.config_file()?;
    let config = config::parse(&file.to_string(), &text, &[])?;
    let wanted = config.layers.iter().enumerate().filter(|(_, layer)| layer.readout);
    let read: Vec<usize> = wanted.map(|(index, _)| index).filter(|index| *index < layers).collect();
    flags(dir.place(), &read, layers)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use ndarray::Array2;
    use scff::frozen::features;
    use scff::layer::RowLength;
    use scff::samples::Samples;
    use scff::sequences::Sequences;

    use super::*;

    /// Runs as version 1 of the format wrote them: dense layers, convolutions and recurrent ones.
    const COMMITTED: [&str; 3] = ["dense", "conv", "birnn"];

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/v1").join(name)
    }

    /// The features of five samples of numbers that look random.
    fn computed(model: &Model) -> Array2<f32> {
        let number = |(row, column): (usize, usize)| ((row * 7919 + column * 104_729) % 2003) as f32 / 2003.0;
        let samples: Samples = match model.layers[0].spec().reads() {
            RowLength::Fixed(elements) => Array2::from_shape_fn((5, elements), number).into(),
            RowLength::Sequences { features, .. } => Samples::Sequences(Sequences::new(
                Array2::from_shape_fn((20, features), number),
                [3, 1, 7, 4, 5],
            )),
        };
        features(&model.layers, &model.read, samples)
    }

    #[test]
    fn models_of_the_first_format_open_and_give_the_features_that_they_gave() {
        for name in COMMITTED {
            let model = Model::open(&folder(name).into()).unwrap();
            assert_eq!(model.readout.as_ref().unwrap().weight().ncols(), model.features(), "{name}");
            let text = fs::read_to_string(folder(name).join("features.json")).unwrap();
            let recorded: Vec<Vec<f32>> = serde_json::from_str(&text).unwrap();
            let computed = computed(&model);
            assert_eq!(computed.dim(), (recorded.len(), model.features()));
            for (found, expected) in computed.outer_iter().zip(&recorded) {
                for (found, expected) in found.iter().zip(expected) {
                    // Kernels differ in the last bits.
                    assert!((found - expected).abs() < 1e-4, "{name}: {found}, recorded {expected}");
                }
            }
        }
    }

    #[test]
    #[ignore = "records what the test above compares with, once for a format"]
    fn features_are_recorded() {
        for name in COMMITTED {
            let rows: Vec<Vec<f32>> = computed(&Model::open(&folder(name).into()).unwrap())
                .outer_iter()
                .map(|row| row.to_vec())
                .collect();
            fs::write(folder(name).join("features.json"), serde_json::to_string(&rows).unwrap() + "\n")
                .unwrap();
        }
    }

    #[test]
    fn what_is_read_is_one_of_the_layers_that_are_there() {
        let place: Location = folder("dense").into();
        let model = Model::open(&place).unwrap();
        let all = model.features();
        let first = model.clone().reading(&place, &[0]).unwrap();
        assert!(first.features() < all && first.readout.is_none());
        let error = model.reading(&place, &[0, 9]).unwrap_err().to_string();
        assert!(error.contains("layer 9 cannot be read: expected indices below 2"), "{error}");
    }
}
