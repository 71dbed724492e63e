//! `coordinator export`.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{ArgGroup, Args};
use proto::output::print;

use crate::export::{npz, onnx, torch};
use crate::location::Location;
use crate::model::Model;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("format").required(true))]
pub struct ExportArgs {
    /// The run directory: a folder or s3://BUCKET/PREFIX.
    #[arg(value_name = "DIR|S3", value_parser = Location::parser())]
    run_dir: Location,
    /// Write an ONNX file: from a scaled sample to what each layer passes on and the features.
    #[arg(long, value_name = "FILE", group = "format")]
    onnx: Option<PathBuf>,
    /// Write a folder with model.safetensors and model.py, a module of PyTorch that reads it.
    #[arg(long, value_name = "DIR", group = "format")]
    torch: Option<PathBuf>,
    /// Write the weights as NumPy arrays: layers.0.weight, layers.0.bias and so on.
    #[arg(long, value_name = "FILE", group = "format")]
    npz: Option<PathBuf>,
    /// With the readout too: logits and probabilities of the classes.
    #[arg(long)]
    readout: bool,
    /// The layers whose outputs are features, counted from 0 [default: those that the readout reads].
    #[arg(long, value_delimiter = ',', conflicts_with = "readout")]
    layers: Option<Vec<usize>>,
}

impl ExportArgs {
    /// Writes what is asked for, and says what it is. Nothing that is there is overwritten.
    pub fn execute(self) -> anyhow::Result<()> {
        let Self { run_dir, onnx: onnx_file, torch: folder, npz: archive, readout, layers } = self;
        let mut model = Model::open(&run_dir)?;
        if let Some(layers) = layers {
            model = model.reading(&run_dir, &layers)?;
        }
        if readout {
            ensure!(model.readout.is_some(), "{run_dir}: the run has no readout; leave --readout out");
        } else {
            model.readout = None;
        }
        let written = match (onnx_file, folder, archive) {
            (Some(file), ..) => onnx::write(&model, &file)?,
            (_, Some(folder), _) => torch::write(&model, &folder)?,
            (.., Some(archive)) => npz::write(&model, &archive)?,
            (None, None, None) => unreachable!("one of them is required"),
        };
        Ok(print(written)?)
    }
}
