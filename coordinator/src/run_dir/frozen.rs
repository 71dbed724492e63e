//! Frozen layers, one by one and all together, and the readout.
//!
//! Each file says what its layers are, so that it can be opened where there is neither configuration nor data set.

use std::path::Path;
use std::sync::Arc;

use proto::state::{self, Header, field};
use proto::wire;
use scff::batch::LayerIndex;
use scff::frozen::FrozenLayer;
use scff::layer::{Dense, LayerMap, LayerSpec, Tensors};
use serde::Serialize;

use super::error::{Damage, RunDirError};
use super::json;
use super::store::{Files, Store};
use crate::location::Location;
use crate::plan::Stage;
use crate::summary::LayerSummary;

/// A frozen layer, and how it was trained.
#[derive(Clone, Debug)]
pub struct FrozenLayerFile {
    /// The layer.
    pub layer: Arc<FrozenLayer>,
    /// How it was trained.
    pub summary: LayerSummary,
}

const SUMMARY: &str = "summary";
const LAYER: &str = "layer";
const SPEC: &str = "spec";
const CONFIGURATION: &str = "configuration_sha256";
const LAYERS: &str = "layers";

/// The folder of frozen layers.
pub const FOLDER: &str = "layers";
const MODEL: &str = "model.safetensors";
const READOUT: &str = "readout.safetensors";
const ANEW: &str = "remove the file to train the layer anew";
const AS_IT_WAS: &str =
    "it was not written by this build; train the model again, or take the file as it was written";

/// The file of a frozen layer.
pub fn file(layer: LayerIndex) -> String {
    format!("{FOLDER}/{:02}.safetensors", layer.0)
}

/// Reads the layer of a stage, if it is frozen.
///
/// Files of earlier builds do not say what their layer is: it is taken for the stage's if its tensors have the shape.
pub fn read(
    files: &Files,
    stage: &Stage,
    configuration: &str,
) -> Result<Option<FrozenLayerFile>, RunDirError> {
    let name = file(stage.layer);
    let Some(bytes) = files.read(&name)? else { return Ok(None) };
    let place = files.at(&name);
    let damaged = |damage: Damage| damage.at(place.clone(), ANEW);
    let header = state::header(&bytes).map_err(|error| damaged(error.into()))?;
    let other =
        |found: String, expected: String| RunDirError::OtherLayer { place: place.clone(), found, expected };
    if let Some(found) = header.get(CONFIGURATION).filter(|found| *found != configuration) {
        let expected = format!("one of the directory's, {configuration}");
        return Err(other(format!("a layer of the configuration {found}"), expected));
    }
    if let Some(found) = header.get(LAYER).filter(|found| **found != stage.layer.0.to_string()) {
        return Err(other(format!("layer {found}"), format!("layer {}", stage.layer.0)));
    }
    let spec = if header.contains_key(SPEC) { spec(&header).map_err(damaged)? } else { stage.spec.clone() };
    if spec != stage.spec {
        return Err(other(format!("{spec:?}"), format!("{:?}", stage.spec)));
    }
    parse(&bytes, &header, spec).map(Some).map_err(damaged)
}

/// Reads a layer out of a file such as `layers/00.safetensors`, wherever it is.
pub fn read_layer(path: &Path) -> Result<FrozenLayerFile, RunDirError> {
    let (place, bytes) = lone_file(path)?;
    let layer = || {
        let header = state::header(&bytes)?;
        let spec = spec(&header)?;
        parse(&bytes, &header, spec)
    };
    layer().map_err(|damage| damage.at(place, AS_IT_WAS))
}

/// Reads the layers, from the input up, out of a file such as `model.safetensors`, wherever it is.
pub fn read_model(path: &Path) -> Result<Vec<FrozenLayer>, RunDirError> {
    let (place, bytes) = lone_file(path)?;
    parse_model(&bytes).map_err(|damage| damage.at(place, AS_IT_WAS))
}

fn lone_file(path: &Path) -> Result<(Location, Vec<u8>), RunDirError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let files = Files::open(&path.parent().unwrap_or(Path::new("")).into())?;
    let missing = || RunDirError::Io { place: path.into(), source: std::io::ErrorKind::NotFound.into() };
    Ok((path.into(), files.read(&name)?.ok_or_else(missing)?))
}

fn spec(header: &Header) -> Result<LayerSpec, Damage> {
    checked(serde_json::from_str(field(header, SPEC)?)?)
}

/// A layer that there can be: what is said of it in a file is held to the same as in a message.
fn checked(spec: LayerSpec) -> Result<LayerSpec, Damage> {
    Ok(wire::LayerSpec::from(&spec).try_into()?)
}

fn parse(bytes: &[u8], header: &Header, spec: LayerSpec) -> Result<FrozenLayerFile, Damage> {
    let (mut parts, _) = state::decode(bytes, &[("", &spec.map.tensors())])?;
    let summary = serde_json::from_str(field(header, SUMMARY)?)?;
    let layer = FrozenLayer::new(spec, parts.remove(0))?;
    Ok(FrozenLayerFile { layer: Arc::new(layer), summary })
}

fn parse_model(bytes: &[u8]) -> Result<Vec<FrozenLayer>, Damage> {
    let specs: Vec<LayerSpec> = serde_json::from_str(field(&state::header(bytes)?, LAYERS)?)?;
    let specs: Vec<LayerSpec> = specs.into_iter().map(checked).collect::<Result<_, _>>()?;
    let tensors: Vec<_> = specs.iter().map(|spec| spec.map.tensors()).collect();
    let names = part_names(specs.len());
    let expected: Vec<_> = names.iter().map(String::as_str).zip(tensors.iter().map(Vec::as_slice)).collect();
    let (parts, _) = state::decode(bytes, &expected)?;
    let layer = |(spec, tensors)| Ok(FrozenLayer::new(spec, tensors)?);
    specs.into_iter().zip(parts).map(layer).collect()
}

fn part_names(layers: usize) -> Vec<String> {
    (0..layers).map(|index| format!("layers.{index}")).collect()
}

/// Keeps a frozen layer of this configuration.
pub fn write(
    store: &Store,
    index: LayerIndex,
    FrozenLayerFile { layer, summary }: &FrozenLayerFile,
    configuration: &str,
) -> Result<(), RunDirError> {
    let name = file(index);
    let place = store.files().at(&name);
    let header = Header::from([
        (LAYER.to_owned(), index.0.to_string()),
        (SUMMARY.to_owned(), json::line(&place, summary)?),
        (SPEC.to_owned(), said(layer.spec())),
        (CONFIGURATION.to_owned(), configuration.to_owned()),
    ]);
    write_tensors(store, &name, &[("", layer.parameters())], header)
}

/// Writes all frozen layers into one file, as `layers.0.weight` and so on.
pub fn write_model(store: &Store, layers: &[&FrozenLayer]) -> Result<(), RunDirError> {
    let names = part_names(layers.len());
    let parts: Vec<_> =
        names.iter().map(String::as_str).zip(layers.iter().map(|layer| layer.parameters())).collect();
    let specs: Vec<&LayerSpec> = layers.iter().map(|layer| layer.spec()).collect();
    let header = Header::from([(LAYERS.to_owned(), said(&specs))]);
    write_tensors(store, MODEL, &parts, header)
}

/// Writes the readout.
pub fn write_readout(store: &Store, parameters: &Tensors) -> Result<(), RunDirError> {
    write_tensors(store, READOUT, &[("", parameters)], Header::new())
}

/// Reads the readout of so many features, if there is one.
pub fn read_readout(files: &Files, classes: usize, features: usize) -> Result<Option<Tensors>, RunDirError> {
    let Some(bytes) = files.read(READOUT)? else { return Ok(None) };
    let expected = LayerMap::Dense(Dense { inputs: features, outputs: classes }).tensors();
    let (mut parts, _) = state::decode(&bytes, &[("", &expected)]).map_err(|error| {
        Damage::from(error).at(files.at(READOUT), "remove summary.json too, and run again")
    })?;
    Ok(Some(parts.remove(0)))
}

fn said(spec: &impl Serialize) -> String {
    serde_json::to_string(spec).expect("names and whole numbers")
}

fn write_tensors(
    store: &Store,
    name: &str,
    parts: &[state::Named<'_>],
    header: Header,
) -> Result<(), RunDirError> {
    if let Some((part, _)) = parts.iter().find(|(_, tensors)| !tensors.is_finite()) {
        let what = format!("a weight or bias of {}", if part.is_empty() { "the layer" } else { part });
        return Err(RunDirError::NotFinite { place: store.files().at(name), what });
    }
    store.write(name, &state::encode(parts, header))
}
