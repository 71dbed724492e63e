//! Checkpoints: layers in training, which an interrupted run goes on from.

use std::collections::BTreeMap;

use proto::state::{self, Header, StateError};
use scff::batch::{LayerIndex, Step};
use scff::layer::LayerState;

use super::error::RunDirError;
use super::json;
use super::store::{Files, Store};
use crate::config::TrainingSchedule;
use crate::plan::Stage;
use crate::totals::Carried;

/// A layer in training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedLayer {
    /// Weights and moments after so many steps.
    pub state: LayerState,
    /// What its stage carries besides.
    pub carried: Carried,
}

/// Layers in training, after the same number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: Step,
    /// Each layer as it is after them.
    pub layers: BTreeMap<LayerIndex, TrainedLayer>,
}

const LAYERS: &str = "layers";

/// The file of a layer's checkpoint; in a joint schedule that of all layers in training.
pub fn file(schedule: TrainingSchedule, layer: LayerIndex) -> String {
    match schedule {
        TrainingSchedule::Greedy => format!("checkpoint/{:02}.safetensors", layer.0),
        TrainingSchedule::Joint => "checkpoint/joint.safetensors".to_owned(),
    }
}

/// Reads a checkpoint, if it is there.
pub fn read(files: &Files, name: &str, stages: &[Stage]) -> Result<Option<Checkpoint>, RunDirError> {
    let Some(bytes) = files.read(name)? else { return Ok(None) };
    let path = files.at(name);
    let damaged = |source| RunDirError::State { path: path.clone(), source };
    let header = state::header(&bytes).map_err(damaged)?;
    let text = state::field(&header, LAYERS).map_err(damaged)?;
    let carried: Vec<(u32, Carried)> = json::parse(&path, text.as_bytes())?;
    let named = |(layer, _): &(u32, Carried)| {
        let stage = stages.get(*layer as usize).ok_or_else(|| unknown(*layer, stages.len()))?;
        Ok((part_name(LayerIndex(*layer)), stage.spec.map.tensors()))
    };
    let named: Vec<_> = carried.iter().map(named).collect::<Result<_, StateError>>().map_err(damaged)?;
    let expected: Vec<_> = named.iter().map(|(name, specs)| (name.as_str(), specs.as_slice())).collect();
    let (states, header) = state::decode_states(&bytes, &expected).map_err(damaged)?;
    let mut layers = BTreeMap::new();
    for ((layer, carried), state) in carried.into_iter().zip(states) {
        let map = &stages[layer as usize].spec.map;
        state.check(map).map_err(|source| RunDirError::Shape { path: path.clone(), source })?;
        layers.insert(LayerIndex(layer), TrainedLayer { state, carried });
    }
    let step = state::step(&header).map_err(damaged)?;
    Ok(Some(Checkpoint { step, layers }))
}

/// The steps of a checkpoint, if it is there: nothing but its header is looked at.
pub fn step(files: &Files, name: &str) -> Result<Option<Step>, RunDirError> {
    let Some(bytes) = files.read(name)? else { return Ok(None) };
    let step = state::header(&bytes).and_then(|header| state::step(&header));
    step.map(Some).map_err(|source| RunDirError::State { path: files.at(name), source })
}

/// Replaces a checkpoint by one of layers that have taken as many steps.
pub fn write(store: &Store, name: &str, layers: &[(LayerIndex, &TrainedLayer)]) -> Result<(), RunDirError> {
    let carried: Vec<(u32, &Carried)> =
        layers.iter().map(|(layer, trained)| (layer.0, &trained.carried)).collect();
    let header = Header::from([(LAYERS.to_owned(), json::line(&carried))]);
    let names: Vec<String> = layers.iter().map(|(layer, _)| part_name(*layer)).collect();
    let states: Vec<_> =
        names.iter().map(String::as_str).zip(layers.iter().map(|(_, trained)| &trained.state)).collect();
    store.write(name, &state::encode_states(&states, header))
}

fn part_name(layer: LayerIndex) -> String {
    format!("layers.{}", layer.0)
}

fn unknown(layer: u32, layers: usize) -> StateError {
    StateError::Header {
        name: LAYERS.to_owned(),
        found: layer.to_string(),
        expected: format!("layers below {layers}"),
    }
}
