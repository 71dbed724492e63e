//! Checkpoints: layers in training, which an interrupted run goes on from.
//!
//! The checkpoint before the last is kept too: a damaged one costs the steps since then, and not the layer.

use std::collections::BTreeMap;

use proto::state::{self, Header, StateError, field};
use scff::batch::{LayerIndex, Step};
use scff::layer::LayerState;

use super::error::{Damage, RunDirError};
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
const CONFIGURATION: &str = "configuration_sha256";

/// The folder of checkpoints.
pub const FOLDER: &str = "checkpoint";

/// The file of a layer's checkpoint; in a joint schedule that of all layers in training.
pub fn file(schedule: TrainingSchedule, layer: LayerIndex) -> String {
    match schedule {
        TrainingSchedule::Greedy => format!("{FOLDER}/{:02}.safetensors", layer.0),
        TrainingSchedule::Joint => format!("{FOLDER}/joint.safetensors"),
    }
}

/// The file of the checkpoint before the one in the file of this name.
fn previous(name: &str) -> String {
    name.replace(".safetensors", ".previous.safetensors")
}

/// The checkpoint to go on from, if there is any: the last, or else the one before it, which then takes its place.
pub fn restore(
    store: &Store,
    name: &str,
    stages: &[Stage],
    configuration: &str,
) -> Result<Option<Checkpoint>, RunDirError> {
    let files = store.files();
    let (place, previous) = (files.at(name), previous(name));
    let damage = match read(files, name, stages, configuration)? {
        Some(Ok(checkpoint)) => return Ok(Some(checkpoint)),
        Some(Err(damage)) => Some(damage),
        // Whoever is killed between putting the last aside and putting the new one in its place leaves none here.
        None => None,
    };
    match (read(files, &previous, stages, configuration)?, damage) {
        (Some(Ok(checkpoint)), damage) => {
            let Step(step) = checkpoint.step;
            if let Some(damage) = damage {
                let kept = files.at(&previous);
                tracing::warn!("{place}: {damage}; going on from step {step}, of {kept}");
            }
            store.rename(&previous, name)?;
            Ok(Some(checkpoint))
        }
        (Some(Err(_)), Some(damage)) => {
            let advice = format!("remove the file and {} to train the layer anew", files.at(&previous));
            Err(damage.at(place, advice))
        }
        (Some(Err(damage)), None) => Err(damage.at(files.at(&previous), ANEW)),
        (None, Some(damage)) => Err(damage.at(place, ANEW)),
        (None, None) => Ok(None),
    }
}

const ANEW: &str = "remove the file to train the layer anew";

/// Reads a checkpoint, if it is there.
fn read(
    files: &Files,
    name: &str,
    stages: &[Stage],
    configuration: &str,
) -> Result<Option<Result<Checkpoint, Damage>>, RunDirError> {
    let Some(bytes) = files.read(name)? else { return Ok(None) };
    let header = match state::header(&bytes) {
        Ok(header) => header,
        Err(damage) => return Ok(Some(Err(damage.into()))),
    };
    // Those of earlier builds do not say.
    if let Some(found) = header.get(CONFIGURATION).filter(|found| *found != configuration) {
        return Err(RunDirError::OtherLayer {
            place: files.at(name),
            found: format!("a checkpoint of the configuration {found}"),
            expected: format!("one of the directory's, {configuration}"),
        });
    }
    Ok(Some(parse(&bytes, &header, stages)))
}

fn parse(bytes: &[u8], header: &Header, stages: &[Stage]) -> Result<Checkpoint, Damage> {
    let carried: Vec<(u32, Carried)> = serde_json::from_str(field(header, LAYERS)?)?;
    let named = |(layer, _): &(u32, Carried)| {
        let stage = stages.get(*layer as usize).ok_or_else(|| unknown(*layer, stages.len()))?;
        Ok((part_name(LayerIndex(*layer)), stage.spec.map.tensors()))
    };
    let named: Vec<_> = carried.iter().map(named).collect::<Result<_, StateError>>()?;
    let expected: Vec<_> = named.iter().map(|(name, specs)| (name.as_str(), specs.as_slice())).collect();
    let (states, _) = state::decode_states(bytes, &expected)?;
    let mut layers = BTreeMap::new();
    for ((layer, carried), state) in carried.into_iter().zip(states) {
        state.check(&stages[layer as usize].spec.map)?;
        layers.insert(LayerIndex(layer), TrainedLayer { state, carried });
    }
    Ok(Checkpoint { step: state::step(header)?, layers })
}

/// The steps of the checkpoint that [`restore`] gives, if it is there: nothing but headers are looked at.
pub fn step(files: &Files, name: &str) -> Result<Option<Step>, RunDirError> {
    let step = |name: &str| -> Result<Option<Step>, RunDirError> {
        let bytes = files.read(name)?;
        Ok(bytes.and_then(|bytes| state::step(&state::header(&bytes).ok()?).ok()))
    };
    Ok(match step(name)? {
        Some(step) => Some(step),
        None => step(&previous(name))?,
    })
}

/// Replaces a checkpoint by one of layers that have taken as many steps, and keeps the one before.
pub fn write(
    store: &Store,
    name: &str,
    layers: &[(LayerIndex, &TrainedLayer)],
    configuration: &str,
) -> Result<(), RunDirError> {
    let place = store.files().at(name);
    if let Some((layer, _)) = layers.iter().find(|(_, trained)| !trained.state.is_finite()) {
        let what = format!("a weight, bias or moment of layer {}", layer.0);
        return Err(RunDirError::NotFinite { place, what });
    }
    let carried: Vec<(u32, &Carried)> =
        layers.iter().map(|(layer, trained)| (layer.0, &trained.carried)).collect();
    let header = Header::from([
        (LAYERS.to_owned(), json::line(&place, &carried)?),
        (CONFIGURATION.to_owned(), configuration.to_owned()),
    ]);
    let names: Vec<String> = layers.iter().map(|(layer, _)| part_name(*layer)).collect();
    let states: Vec<_> =
        names.iter().map(String::as_str).zip(layers.iter().map(|(_, trained)| &trained.state)).collect();
    store.write_keeping(name, &previous(name), &state::encode_states(&states, header))
}

/// Removes a checkpoint and the one before it.
pub fn remove(store: &Store, name: &str) -> Result<(), RunDirError> {
    store.remove(&previous(name))?;
    store.remove(name)
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
