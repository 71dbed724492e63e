//! Frozen layers, one by one and all together, and the readout.

use std::sync::Arc;

use proto::state::{self, Header};
use scff::batch::LayerIndex;
use scff::frozen::FrozenLayer;
use scff::layer::Tensors;

use super::error::RunDirError;
use super::json;
use super::store::{Files, Store};
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

/// The file of a frozen layer.
pub fn file(layer: LayerIndex) -> String {
    format!("layers/{:02}.safetensors", layer.0)
}

/// Reads the layer of a stage, if it is frozen.
pub fn read(files: &Files, stage: &Stage) -> Result<Option<FrozenLayerFile>, RunDirError> {
    let name = file(stage.layer);
    let Some(bytes) = files.read(&name)? else { return Ok(None) };
    let path = files.at(&name);
    let damaged = |source| RunDirError::State { path: path.clone(), source };
    let (mut parts, header) = state::decode(&bytes, &[("", &stage.spec.map.tensors())]).map_err(damaged)?;
    let summary = json::parse(&path, state::field(&header, SUMMARY).map_err(damaged)?.as_bytes())?;
    let layer = FrozenLayer::new(stage.spec.clone(), parts.remove(0))
        .map_err(|source| RunDirError::Shape { path, source })?;
    Ok(Some(FrozenLayerFile { layer: Arc::new(layer), summary }))
}

/// Keeps a frozen layer.
pub fn write(
    store: &Store,
    index: LayerIndex,
    FrozenLayerFile { layer, summary }: &FrozenLayerFile,
) -> Result<(), RunDirError> {
    let header =
        Header::from([(LAYER.to_owned(), index.0.to_string()), (SUMMARY.to_owned(), json::line(summary))]);
    store.write(&file(index), &state::encode(&[("", layer.parameters())], header))
}

/// Writes all frozen layers into one file, as `layers.0.weight` and so on.
pub fn write_model(store: &Store, layers: &[&FrozenLayer]) -> Result<(), RunDirError> {
    let names: Vec<String> = (0..layers.len()).map(|index| format!("layers.{index}")).collect();
    let parts: Vec<_> =
        names.iter().map(String::as_str).zip(layers.iter().map(|layer| layer.parameters())).collect();
    store.write("model.safetensors", &state::encode(&parts, Header::new()))
}

/// Writes the readout.
pub fn write_readout(store: &Store, parameters: &Tensors) -> Result<(), RunDirError> {
    store.write("readout.safetensors", &state::encode(&[("", parameters)], Header::new()))
}
