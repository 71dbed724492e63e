//! Files with something for each of many samples, written as it comes: NumPy arrays, CSV and Parquet.
//!
//! A file is written beside its place and gets its name once it is whole ([`crate::part_file`]). Nothing that is there is overwritten.

mod format;

mod column;

mod csv_file;
mod parquet_file;

mod npy;
mod npz;

mod features;

pub use column::{Column, ColumnKind, Values};
pub use features::FeatureFile;
pub use format::Format;
pub use npy::{write_header, write_rows};
pub use npz::NpzFile;

use std::path::Path;

use crate::part_file::PartFile;
use csv_file::CsvFile;
use parquet_file::ParquetFile;

/// A file of rows and named columns.
pub enum Table {
    /// Text.
    Csv(CsvFile),
    /// Columns, in groups of rows.
    Parquet(ParquetFile),
}

impl Table {
    /// Begins a table of these columns where nothing is yet.
    ///
    /// # Panics
    /// If `format` is that of arrays.
    pub fn create(path: &Path, format: Format, columns: Vec<Column>) -> anyhow::Result<Self> {
        let part = PartFile::create(path)?;
        match format {
            Format::Csv => Ok(Self::Csv(CsvFile::begin(part, &columns)?)),
            Format::Parquet => Ok(Self::Parquet(ParquetFile::begin(part, columns)?)),
            Format::Npy | Format::Npz => panic!("{format} is no table"),
        }
    }

    /// Adds rows: what stands in each of the columns.
    pub fn append(&mut self, values: &[Values<'_>]) -> anyhow::Result<()> {
        match self {
            Self::Csv(file) => file.append(values),
            Self::Parquet(file) => file.append(values),
        }
    }

    /// The file is whole.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Csv(file) => file.finish(),
            Self::Parquet(file) => file.finish(),
        }
    }
}
