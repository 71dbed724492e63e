//! A folder for PyTorch: the tensors, and a module that reads them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use proto::state::{self, Header};

use super::new_file;
use crate::model::Model;

/// The module: it follows `docs/model-format.md`, and what the layers are stands beside the tensors.
const MODULE: &str = include_str!("model.py");

/// Writes the folder; what it is, in words.
pub fn write(model: &Model, folder: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let names: Vec<String> = (0..model.layers.len()).map(|index| format!("layers.{index}")).collect();
    let layers = names.iter().map(String::as_str).zip(model.layers.iter().map(|layer| layer.parameters()));
    let parts: Vec<_> = layers.chain(model.readout.as_ref().map(|readout| ("readout", readout))).collect();
    let specs: Vec<_> = model.layers.iter().map(|layer| layer.spec()).collect();
    let read: Vec<usize> = (0..model.read.len()).filter(|&layer| model.read[layer]).collect();
    let header = Header::from([
        ("layers".to_owned(), serde_json::to_string(&specs)?),
        ("readout_layers".to_owned(), serde_json::to_string(&read)?),
    ]);
    new_file::write(&folder.join("model.safetensors"), &state::encode(&parts, header))?;
    new_file::write(&folder.join("model.py"), MODULE.as_bytes())?;
    let (folder, features) = (folder.display(), model.features());
    Ok(format!("{folder}: model.py (Strata.load) and model.safetensors: {features} features"))
}
