//! A folder for PyTorch: the tensors, and a module that reads them.

use std::fs;
use std::io::Write;
use std::path::Path;

use proto::state::{self, Header};

use super::made_folders::MadeFolders;
use crate::model::Model;
use crate::part_file::PartFile;

/// The module: it follows `docs/model-format.md`, and what the layers are stands beside the tensors.
const MODULE: &str = include_str!("model.py");

/// Writes the folder, of which nothing stays where not all of it can be written; what it is, in words.
pub fn write(model: &Model, folder: &Path) -> anyhow::Result<String> {
    let names: Vec<String> = (0..model.layers.len()).map(|index| format!("layers.{index}")).collect();
    let layers = names.iter().map(String::as_str).zip(model.layers.iter().map(|layer| layer.parameters()));
    let parts: Vec<_> = layers.chain(model.readout.as_ref().map(|readout| ("readout", readout))).collect();
    let specs: Vec<_> = model.layers.iter().map(|layer| layer.spec()).collect();
    let read: Vec<usize> = (0..model.read.len()).filter(|&layer| model.read[layer]).collect();
    let header = Header::from([
        ("layers".to_owned(), serde_json::to_string(&specs)?),
        ("readout_layers".to_owned(), serde_json::to_string(&read)?),
    ]);
    write_files(folder, &state::encode(&parts, header))?;
    let (folder, features) = (folder.display(), model.features());
    Ok(format!("{folder}: model.py (Strata.load) and model.safetensors: {features} features"))
}

fn write_files(folder: &Path, tensors: &[u8]) -> anyhow::Result<()> {
    // First, so that it goes last.
    let folders = MadeFolders::up_to(folder)?;
    let of_tensors = folder.join("model.safetensors");
    let mut model = PartFile::create(&of_tensors)?;
    let mut module = PartFile::create(&folder.join("model.py"))?;
    model.write_all(tensors)?;
    module.write_all(MODULE.as_bytes())?;
    model.keep()?;
    module.keep().inspect_err(|_| drop(fs::remove_file(&of_tensors)))?;
    folders.keep();
    Ok(())
}
