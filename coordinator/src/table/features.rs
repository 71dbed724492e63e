//! Features of samples, with their names and labels, in any of the formats.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use ndarray::ArrayView2;
use source::Input;

use super::Table;
use super::column::{Column, Values};
use super::format::Format;
use super::npy::{NpyFile, write_header, write_rows, write_texts};
use super::npz::NpzFile;
use crate::part_file::PartFile;

/// A file of features that is filled sample by sample.
///
/// Tables have columns `name`, `label` where there are labels, and `features`. Archives have the arrays `features` (samples,
/// features), `names` (samples) and, where there are labels, `labels` (samples), which count in `classes` (classes).
pub struct FeatureFile {
    input: Arc<Input>,
    written: usize,
    to: To,
}

enum To {
    Npz(Box<NpzFile>),
    Npy(NpyFile),
    Table(Box<Table>),
}

impl FeatureFile {
    /// Begins a file for the samples of `input`, each with so many features.
    pub fn create(path: &Path, input: Arc<Input>, width: usize) -> anyhow::Result<Self> {
        let samples = input.len();
        let to = match Format::of(path, &Format::ALL)? {
            Format::Npy => To::Npy(NpyFile::begin(PartFile::create(path)?, samples, width)?),
            Format::Npz => {
                let mut archive = NpzFile::begin(PartFile::create(path)?);
                write_header(archive.begin_array("features")?, "<f4", &[samples, width])?;
                To::Npz(Box::new(archive))
            }
            format @ (Format::Csv | Format::Parquet) => {
                let label = (!input.labels().is_empty()).then(|| Column::text("label"));
                let columns = [Column::text("name")].into_iter().chain(label);
                let columns = columns.chain([Column::numbers("features", width)]).collect();
                To::Table(Box::new(Table::create(path, format, columns)?))
            }
        };
        Ok(Self { input, written: 0, to })
    }

    /// Adds the features of the next samples, (samples, features).
    pub fn append(&mut self, features: ArrayView2<'_, f32>) -> anyhow::Result<()> {
        let range = self.written..self.written + features.nrows();
        match &mut self.to {
            To::Npz(archive) => write_rows(archive.array(), features)?,
            To::Npy(array) => array.append(features)?,
            To::Table(table) => {
                let names = range.clone().map(|index| self.input.name(index)).collect();
                let label = |&label: &u32| Cow::from(&self.input.classes()[label as usize]);
                let labels = self.input.labels().get(range.clone());
                let labels = labels.map(|labels| Values::Text(labels.iter().map(label).collect()));
                let values = [Values::Text(names)].into_iter().chain(labels);
                table.append(&values.chain([Values::Numbers(features)]).collect::<Vec<_>>())?;
            }
        }
        self.written = range.end;
        Ok(())
    }

    /// All samples are there.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self { input, written, to } = self;
        ensure!(written == input.len(), "features of {written} samples, expected {}", input.len());
        match to {
            To::Npy(array) => array.finish(),
            To::Table(table) => table.finish(),
            To::Npz(mut archive) => {
                write_texts(archive.begin_array("names")?, || {
                    (0..input.len()).map(|index| input.name(index))
                })?;
                if !input.labels().is_empty() {
                    let out = archive.begin_array("labels")?;
                    write_header(out, "<i8", &[input.len()])?;
                    for &label in input.labels() {
                        std::io::Write::write_all(out, &i64::from(label).to_le_bytes())?;
                    }
                    let classes = || input.classes().iter().map(Cow::from);
                    write_texts(archive.begin_array("classes")?, classes)?;
                }
                archive.finish()
            }
        }
    }
}
