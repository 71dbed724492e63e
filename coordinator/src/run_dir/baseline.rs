//! `baseline.json`: the directory of a baseline, with its configuration, and its layers and readout where they are like a run's.

use scff::frozen::FrozenLayer;
use scff::layer::Tensors;

use super::error::{Damage, RunDirError};
use super::store::Store;
use super::{configuration, frozen, identity, json};
use crate::baseline::summary::BaselineSummary;
use crate::config::Config;
use crate::location::Location;
use crate::objects::Patience;

const FILE: &str = "baseline.json";

/// The directory of a baseline at work; it is locked until it is dropped.
#[derive(Debug)]
pub struct BaselineDir {
    store: Store,
    /// The hash of what the weights of a run follow from.
    configuration: String,
}

impl BaselineDir {
    /// Opens `place` for a baseline of `config`: a new directory, or one of the same configuration that holds no run.
    pub fn open(place: &Location, config: &Config, patience: Patience) -> Result<Self, RunDirError> {
        let dir = Self::of_run(place, config, patience)?;
        if identity::read(dir.store.files())?.is_some() {
            return Err(RunDirError::HoldsRun { place: place.clone() });
        }
        configuration::keep(&dir.store, config, false)?;
        Ok(dir)
    }

    /// The directory of a run of `config` that is a baseline itself.
    pub fn of_run(place: &Location, config: &Config, patience: Patience) -> Result<Self, RunDirError> {
        Ok(Self { store: Store::open(place, &[], patience)?, configuration: configuration::hash(config) })
    }

    /// What came out, if the baseline is finished.
    pub fn summary(&self) -> Result<Option<BaselineSummary>, RunDirError> {
        let files = self.store.files();
        let Some(bytes) = files.read(FILE)? else { return Ok(None) };
        let damaged =
            |error| Damage::Json(error).at(files.at(FILE), "remove the file to train the baseline anew");
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Keeps what came out: the baseline is finished.
    pub fn save_summary(&self, summary: &BaselineSummary) -> Result<(), RunDirError> {
        let text = json::document(&self.store.files().at(FILE), summary)?;
        self.store.write(FILE, text.as_bytes())
    }

    /// Writes all layers into one file, as those of a run are; `read`: the indices of those that the readout reads.
    pub fn save_model(&self, layers: &[&FrozenLayer], read: &[usize]) -> Result<(), RunDirError> {
        frozen::write_model(&self.store, layers, read, &self.configuration)
    }

    /// Writes the readout, as that of a run is.
    pub fn save_readout(&self, parameters: &Tensors, read: &[usize]) -> Result<(), RunDirError> {
        frozen::write_readout(&self.store, parameters, read)
    }
}

impl Drop for BaselineDir {
    fn drop(&mut self) {
        self.store.release();
    }
}
