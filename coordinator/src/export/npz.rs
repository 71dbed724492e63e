//! The weights as NumPy arrays.

use std::path::Path;

use ndarray::ArrayView2;
use scff::layer::Tensors;

use crate::model::Model;
use crate::part_file::PartFile;
use crate::table::{NpzFile, write_header, write_rows};

/// Writes an archive of the tensors of all layers, as `layers.0.weight` and so on, and of the readout; what it is, in words.
pub fn write(model: &Model, file: &Path) -> anyhow::Result<String> {
    let mut archive = NpzFile::begin(PartFile::create(file)?);
    let mut arrays = 0;
    for (index, layer) in model.layers.iter().enumerate() {
        arrays += write_tensors(&mut archive, &format!("layers.{index}"), layer.parameters())?;
    }
    if let Some(readout) = &model.readout {
        arrays += write_tensors(&mut archive, "readout", readout)?;
    }
    archive.finish()?;
    Ok(format!("{}: {arrays} arrays of {} layers", file.display(), model.layers.len()))
}

fn write_tensors(archive: &mut NpzFile, owner: &str, tensors: &Tensors) -> anyhow::Result<usize> {
    let mut arrays = 0;
    for tensor in tensors.iter() {
        let values = tensor.values.as_standard_layout();
        let out = archive.begin_array(&format!("{owner}.{}", tensor.name))?;
        write_header(out, "<f4", values.shape())?;
        let values = values.as_slice().expect("standard layout");
        write_rows(out, ArrayView2::from_shape((1, values.len()), values).expect("one row of all"))?;
        arrays += 1;
    }
    Ok(arrays)
}
