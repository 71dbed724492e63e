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
use super::format::{check, stamped};
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
const READ: &str = "readout_layers";

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
    let header = header(&bytes).map_err(damaged)?;
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
        let header = header(&bytes)?;
        let spec = spec(&header)?;
        parse(&bytes, &header, spec)
    };
    layer().map_err(|damage| damage.at(place, AS_IT_WAS))
}

/// Reads the layers, from the input up, out of a file such as `model.safetensors`, wherever it is.
pub fn read_model(path: &Path) -> Result<Vec<FrozenLayer>, RunDirError> {
    let (place, bytes) = lone_file(path)?;
    Ok(parse_model(&bytes).map_err(|damage| damage.at(place, AS_IT_WAS))?.layers)
}

/// All layers of a run, and what of them is read out.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// From the input up.
    pub layers: Vec<FrozenLayer>,
    /// The indices of those that the readout reads; files of earlier builds do not say.
    pub read: Option<Vec<usize>>,
}

/// Reads the model of a run, if it is written.
pub fn model(files: &Files) -> Result<Option<ModelFile>, RunDirError> {
    let Some(bytes) = files.read(MODEL)? else { return Ok(None) };
    parse_model(&bytes).map(Some).map_err(|damage| damage.at(files.at(MODEL), AS_IT_WAS))
}

/// Reads the layers that are frozen so far, from the input up, each by what its own file says.
pub fn layers(files: &Files) -> Result<Vec<FrozenLayer>, RunDirError> {
    let mut layers = Vec::new();
    while let Some(bytes) = files.read(&file(LayerIndex(layers.len() as u32)))? {
        let place = files.at(&file(LayerIndex(layers.len() as u32)));
        let layer = || {
            let header = header(&bytes)?;
            let spec = spec(&header)?;
            parse(&bytes, &header, spec)
        };
        let layer = layer().map_err(|damage| damage.at(place, AS_IT_WAS))?.layer;
        layers.push(Arc::unwrap_or_clone(layer));
    }
    Ok(layers)
}

/// A readout, and what it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadoutFile {
    /// The weights (classes, features) and the bias (classes) of its linear map.
    pub parameters: Tensors,
    /// The indices of the layers that it reads; files of earlier builds do not say.
    pub read: Option<Vec<usize>>,
}

/// Reads the readout of a run, if it is written.
pub fn readout(files: &Files) -> Result<Option<ReadoutFile>, RunDirError> {
    let Some(bytes) = files.read(READOUT)? else { return Ok(None) };
    parse_readout(&bytes).map(Some).map_err(|damage| damage.at(files.at(READOUT), AS_IT_WAS))
}

fn parse_readout(bytes: &[u8]) -> Result<ReadoutFile, Damage> {
    let header = header(bytes)?;
    // Of whatever shape: the names and ranks are those of any linear map.
    let tensors = LayerMap::Dense(Dense { inputs: 1, outputs: 1 }).tensors();
    let (mut parts, _) = state::decode(bytes, &[("", &tensors)])?;
    let parameters = parts.remove(0);
    let (classes, features) = parameters.weight().dim();
    let shape = LayerMap::Dense(Dense { inputs: features, outputs: classes }).tensors();
    parameters.check("the readout", &shape)?;
    Ok(ReadoutFile { parameters, read: read_layers(&header)? })
}

fn read_layers(header: &Header) -> Result<Option<Vec<usize>>, Damage> {
    Ok(header.get(READ).map(|text| serde_json::from_str(text)).transpose()?)
}

fn header(bytes: &[u8]) -> Result<Header, Damage> {
    let header = state::header(bytes)?;
    check(&header)?;
    Ok(header)
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

fn parse_model(bytes: &[u8]) -> Result<ModelFile, Damage> {
    let header = header(bytes)?;
    let specs: Vec<LayerSpec> = serde_json::from_str(field(&header, LAYERS)?)?;
    let specs: Vec<LayerSpec> = specs.into_iter().map(checked).collect::<Result<_, _>>()?;
    let tensors: Vec<_> = specs.iter().map(|spec| spec.map.tensors()).collect();
    let names = part_names(specs.len());
    let expected: Vec<_> = names.iter().map(String::as_str).zip(tensors.iter().map(Vec::as_slice)).collect();
    let (parts, _) = state::decode(bytes, &expected)?;
    let layer = |(spec, tensors)| Ok(FrozenLayer::new(spec, tensors)?);
    let layers = specs.into_iter().zip(parts).map(layer).collect::<Result<_, Damage>>()?;
    Ok(ModelFile { layers, read: read_layers(&header)? })
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

/// Writes all frozen layers of this configuration into one file, as `layers.0.weight` and so on; `read`: the indices of those that
/// the readout reads.
pub fn write_model(
    store: &Store,
    layers: &[&FrozenLayer],
    read: &[usize],
    configuration: &str,
) -> Result<(), RunDirError> {
    let names = part_names(layers.len());
    let parts: Vec<_> =
        names.iter().map(String::as_str).zip(layers.iter().map(|layer| layer.parameters())).collect();
    let specs: Vec<&LayerSpec> = layers.iter().map(|layer| layer.spec()).collect();
    let header = Header::from([
        (LAYERS.to_owned(), said(&specs)),
        (READ.to_owned(), said(&read)),
        (CONFIGURATION.to_owned(), configuration.to_owned()),
    ]);
    write_tensors(store, MODEL, &parts, header)
}

/// Writes the readout, which reads the layers of these indices.
pub fn write_readout(store: &Store, parameters: &Tensors, read: &[usize]) -> Result<(), RunDirError> {
    let header = Header::from([(READ.to_owned(), said(&read))]);
    write_tensors(store, READOUT, &[("", parameters)], header)
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
    store.write(name, &state::encode(parts, stamped(header)))
}
