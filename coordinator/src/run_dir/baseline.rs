//! `baseline.json`: the directory of a baseline, with its configuration, and its layers and readout where they are like a run's.
//! While it learns, it is kept as it was after the last epoch.

use proto::state::{self, Header, StateError, field};
use scff::batch::Epoch;
use scff::frozen::FrozenLayer;
use scff::layer::{LayerMap, LayerState, Tensors};

use super::error::{Damage, RunDirError};
use super::store::Store;
use super::{configuration, frozen, identity, json};
use crate::baseline::summary::BaselineSummary;
use crate::config::Config;
use crate::location::Location;
use crate::objects::Patience;

const FILE: &str = "baseline.json";
const CHECKPOINT: &str = "checkpoint.safetensors";
const EPOCHS: &str = "epochs";
const LEARNING: &str = "learning";

/// A baseline that is learning.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineCheckpoint {
    /// How it learns, in words.
    pub learning: String,
    /// The epoch that comes next.
    pub next: Epoch,
    /// What it carries from one step to the next: a state for each map.
    pub states: Vec<LayerState>,
}

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
        self.store.write(FILE, text.as_bytes())?;
        self.store.remove(CHECKPOINT)
    }

    /// The checkpoint to go on from, if there is one; its states are of these maps.
    pub fn checkpoint(&self, maps: &[LayerMap]) -> Result<Option<BaselineCheckpoint>, RunDirError> {
        let files = self.store.files();
        let Some(bytes) = files.read(CHECKPOINT)? else { return Ok(None) };
        let damaged =
            |damage: Damage| damage.at(files.at(CHECKPOINT), "remove the file to train the baseline anew");
        parse(&bytes, maps).map(Some).map_err(damaged)
    }

    /// Replaces the checkpoint.
    pub fn save_checkpoint(&self, checkpoint: &BaselineCheckpoint) -> Result<(), RunDirError> {
        let BaselineCheckpoint { learning, next, states } = checkpoint;
        if !states.iter().all(LayerState::is_finite) {
            let what = "a weight, bias or moment".to_owned();
            return Err(RunDirError::NotFinite { place: self.store.files().at(CHECKPOINT), what });
        }
        let header =
            Header::from([(LEARNING.to_owned(), learning.clone()), (EPOCHS.to_owned(), next.0.to_string())]);
        let names: Vec<String> = (0..states.len()).map(part_name).collect();
        let parts: Vec<_> = names.iter().map(String::as_str).zip(states).collect();
        self.store.write(CHECKPOINT, &state::encode_states(&parts, header))
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

fn parse(bytes: &[u8], maps: &[LayerMap]) -> Result<BaselineCheckpoint, Damage> {
    let specs: Vec<_> =
        maps.iter().enumerate().map(|(index, map)| (part_name(index), map.tensors())).collect();
    let expected: Vec<_> = specs.iter().map(|(name, specs)| (name.as_str(), specs.as_slice())).collect();
    let (states, header) = state::decode_states(bytes, &expected)?;
    for (state, map) in states.iter().zip(maps) {
        state.check(map)?;
    }
    let epochs = field(&header, EPOCHS)?;
    let next = epochs.parse().map(Epoch).map_err(|_| StateError::Header {
        name: EPOCHS.to_owned(),
        found: epochs.to_owned(),
        expected: "a number of epochs".to_owned(),
    })?;
    Ok(BaselineCheckpoint { learning: field(&header, LEARNING)?.to_owned(), next, states })
}

fn part_name(index: usize) -> String {
    format!("parts.{index}")
}

impl Drop for BaselineDir {
    fn drop(&mut self) {
        self.store.release();
    }
}
