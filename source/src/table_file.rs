//! A table in a file of any form.

use std::path::Path;

use super::bad_file::BadFile;
use super::cells::Cells;
use super::csv_file::CsvFile;
use super::parquet_file::ParquetFile;
use super::survey::Survey;

/// A table whose columns are known.
#[derive(Clone, Debug)]
pub enum TableFile {
    /// Of texts.
    Csv(CsvFile),
    /// Of typed columns.
    Parquet(ParquetFile),
}

impl TableFile {
    /// Opens the table at `path`; `header` says whether a table of texts has names of columns, if that is known.
    pub fn open(path: &Path, header: Option<bool>) -> Result<Self, BadFile> {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) {
            return ParquetFile::open(path).map(Self::Parquet);
        }
        CsvFile::open(path, header).map(Self::Csv)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Csv(file) => file.path(),
            Self::Parquet(file) => file.path(),
        }
    }

    /// What the columns are called.
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Csv(file) => file.columns(),
            Self::Parquet(file) => file.columns(),
        }
    }

    /// Goes through all rows, and keeps the cells of some columns as texts.
    pub fn survey(&self, columns: &[usize], skip_broken: bool) -> Result<Survey, BadFile> {
        match self {
            Self::Csv(file) => file.survey(columns, skip_broken),
            Self::Parquet(file) => file.survey(columns, skip_broken),
        }
    }

    /// Appends the numbers of some cells, row by row; what is missing and to become a mean is not a number.
    pub fn numbers(&self, cells: Cells<'_>, out: &mut Vec<f32>) -> Result<(), BadFile> {
        match self {
            Self::Csv(file) => file.numbers(cells, out),
            Self::Parquet(file) => file.numbers(cells, out),
        }
    }
}
