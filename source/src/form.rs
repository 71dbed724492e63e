//! The forms of a user's files, told by what they are called.

use std::fmt;
use std::path::Path;

use super::audio::Normalize;
use super::bad_file::BadFile;
use super::error::DataError;
use super::image_options::ImageOptions;
use super::input::InputKind;
use super::opened::Input;
use super::selection::FileSelection;
use super::shape::ChannelScale;
use super::table_options::TableOptions;
use super::{array, folder_labels, image_folder, recording_folder, table, walk};

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Images in a folder, or a single one.
    Images,
    /// Recordings in a folder, or a single one.
    Recordings,
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
        if metadata.is_dir() {
            return Self::of_folder(path);
        }
        if image_folder::is_image(path) {
            return Ok(Self::Images);
        }
        if recording_folder::is_recording(path) {
            return Ok(Self::Recordings);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".npy", ".npz"]) {
            return Ok(Self::Array);
        }
        if ends(&[".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet"]) {
            return Ok(Self::Table);
        }
        let expected = "a folder of images or recordings, an array (*.npy, *.npz) or a table (*.csv, *.tsv, also with .gz, or *.parquet)";
        Err(BadFile::new(path, "a file of another name", expected))
    }

    /// Whether the files in a folder seem to have labels.
    pub fn has_labels(folder: &Path) -> bool {
        let files = walk::files(folder).unwrap_or_default();
        folder_labels::labels(folder, &files).is_ok_and(|(labels, _)| !labels.is_empty())
    }

    /// Of a folder that has both, neither.
    fn of_folder(path: &Path) -> Result<Self, BadFile> {
        let files = walk::files(path)?;
        let image = files.iter().find(|file| image_folder::is_image(&file.path));
        let recording = files.iter().find(|file| recording_folder::is_recording(&file.path));
        match (image, recording) {
            (Some(image), Some(recording)) => {
                let found = format!("images and recordings, such as {} and {}", image.name, recording.name);
                Err(BadFile::new(path, found, "files of one kind"))
            }
            (None, Some(_)) => Ok(Self::Recordings),
            _ => Ok(Self::Images),
        }
    }

    /// What samples of this form are, where nothing is known but how they are to be taken, of those at `paths`: what is learned from
    /// first.
    pub fn kind(self, paths: &[&Path], selection: &FileSelection) -> Result<Taken, DataError> {
        let FileSelection { images, table, mfcc, split, skip_broken, .. } = selection;
        let path = paths[0];
        for (given, key, forms) in [
            (mfcc.is_some(), "data.mfcc", &[Self::Recordings][..]),
            (split.is_some(), "data.split", &[Self::Recordings]),
            (*skip_broken, "data.skip_broken", &[Self::Recordings, Self::Images, Self::Table]),
            (table != &TableOptions::default(), "data.table", &[Self::Table]),
            (images != &ImageOptions::default(), "data.images", &[Self::Images, Self::Array]),
        ] {
            if given && !forms.contains(&self) {
                let forms: Vec<String> = forms.iter().map(ToString::to_string).collect();
                let expected = format!("{}, since {key} is given", forms.join(" or "));
                return Err(BadFile::new(path, self, expected).into());
            }
        }
        let kind = match self {
            Self::Images => image_folder::kind(path, images, *skip_broken)?,
            Self::Recordings => recording_folder::kind(paths, mfcc.unwrap_or_default(), *skip_broken)?,
            Self::Array => array::kind(path, images)?,
            Self::Table => table::kind(path, table)?,
        };
        let standardize = match &kind {
            InputKind::Images(images) => images.scales.iter().all(|scale| *scale == ChannelScale::UNIT),
            InputKind::Numbers(_) => true,
            InputKind::Recordings(recordings) => recordings.mfcc.normalize == Normalize::Coefficients,
        };
        Ok(Taken { standardize: selection.standardize && standardize, kind })
    }

    /// Samples such as `kind` says; labels of an array may be in a file of their own, and rows of a table broken.
    pub fn open(
        self,
        path: &Path,
        labels: Option<&Path>,
        kind: &InputKind,
        skip_broken: bool,
    ) -> Result<Input, DataError> {
        if self != Self::Array
            && let Some(labels) = labels
        {
            let found = format!("labels in a file of their own for {self}");
            return Err(BadFile::new(labels, found, "those of an array").into());
        }
        match (self, kind) {
            (Self::Images, InputKind::Images(input)) => image_folder::open(path, input),
            (Self::Recordings, InputKind::Recordings(input)) => recording_folder::open(path, input),
            (Self::Array, kind) => array::open(path, labels, kind),
            (Self::Table, InputKind::Numbers(input)) => table::open(path, input, skip_broken),
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
            Self::Recordings => "recordings",
            Self::Array => "an array",
            Self::Table => "a table",
        })
    }
}
