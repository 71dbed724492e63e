//! The forms of a user's files, told by what they are called.

use std::fmt;
use std::path::Path;

use super::bad_file::BadFile;
use super::error::DataError;
use super::input::InputKind;
use super::opened::Input;
use super::selection::FileSelection;
use super::shape::ChannelScale;
use super::{array, image_folder, table};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Images in a folder, or a single one.
    Images,
    /// A NumPy array, or an archive of arrays.
    Array,
    /// A table.
    Table,
}

/// What samples are, and whether they are still to be standardised.
pub struct Taken {
    /// What they are.
    pub kind: InputKind,
    /// Whether by what is learned from.
    pub standardize: bool,
}

impl Form {
    /// The form of what lies at `path`.
    pub fn find(path: &Path) -> Result<Self, BadFile> {
        let metadata = path.metadata().map_err(|cause| BadFile::new(path, cause, "a file or a folder"))?;
        if metadata.is_dir() || image_folder::is_image(path) {
            return Ok(Self::Images);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".npy", ".npz"]) {
            return Ok(Self::Array);
        }
        if ends(&[".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"]) {
            return Ok(Self::Table);
        }
        let expected = "a folder of images, an array (*.npy, *.npz) or a table (*.csv, *.tsv, also with .gz)";
        Err(BadFile::new(path, "a file of another name", expected))
    }

    /// What samples of this form are, where nothing is known but how they are to be taken.
    pub fn kind(self, selection: &FileSelection) -> Result<Taken, DataError> {
        let FileSelection { path, images, table, .. } = selection;
        let kind = match self {
            Self::Images => image_folder::kind(path, images)?,
            Self::Array => array::kind(path, images)?,
            Self::Table => table::kind(path, table)?,
        };
        let scaled = match &kind {
            InputKind::Images(images) => images.scales.iter().any(|scale| *scale != ChannelScale::UNIT),
            InputKind::Numbers(_) | InputKind::Recordings(_) => false,
        };
        Ok(Taken { standardize: selection.standardize && !scaled, kind })
    }

    /// Samples such as `kind` says; labels of an array may be in a file of their own.
    pub fn open(self, path: &Path, labels: Option<&Path>, kind: &InputKind) -> Result<Input, DataError> {
        if self != Self::Array
            && let Some(labels) = labels
        {
            let found = format!("labels in a file of their own for {self}");
            return Err(BadFile::new(labels, found, "those of an array").into());
        }
        match (self, kind) {
            (Self::Images, InputKind::Images(input)) => image_folder::open(path, input),
            (Self::Array, kind) => array::open(path, labels, kind),
            (Self::Table, InputKind::Numbers(input)) => table::open(path, input),
            (form, kind) => {
                let expected = match kind {
                    InputKind::Images(_) => "images, in a folder or as an array of bytes (uint8)",
                    InputKind::Numbers(_) => "numbers, as an array or as a table",
                    InputKind::Recordings(_) => "recordings",
                };
                Err(BadFile::new(path, form, expected).into())
            }
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Images => "images",
            Self::Array => "an array",
            Self::Table => "a table",
        })
    }
}
