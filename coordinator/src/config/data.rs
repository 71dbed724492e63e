//! `[data]`: which samples, and how they are taken.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use source::{DataSetName, ImageOptions, MfccOptions, TableOptions};

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A data set that this program knows: either this or `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DataSetName>,
    /// A folder of images or of recordings, with a folder in it for each label, or without labels, or with folders `train` and
    /// `test` or `val`; a NumPy array (*.npy), samples first, or an archive of arrays (*.npz) with labels among them; or a table
    /// (*.csv, *.tsv, also with .gz, or *.parquet). A relative path begins where the configuration file is; with --set, in the
    /// working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The labels of an array at `path`, where they are in an array of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The share of the samples at `path` that tests, as many of each class [default: 0.1 where there are labels, otherwise 0].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// Samples that test, in files of their own: of the same form as those at `path`, in place of a share of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_path: Option<PathBuf>,
    /// The labels of an array at `test_path`, where they are in an array of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// Whether images and recordings that are broken are left out, with a list of them in the run directory [default: false: the
    /// first one is an error].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_broken: Option<bool>,
    /// Whether the channels of images and the columns of numbers at `path` are standardised over the training set [default:
    /// true]. Without, images go from 0 to 1 and numbers are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standardize: Option<bool>,
    /// What the columns of a table at `path` are for, and what becomes of missing values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableOptions>,
    /// The shape that images at `path` are brought to, and how they are scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageOptions>,
    /// The folder of a `wav-folder`, from the folder of data sets on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Which recordings train and which test: the data set's own split ("official"), a "random" one of 80/10/10 %, or by
    /// "speakers" [default: "official" where there is one, otherwise "random"; of recordings at `path`, a share tests as
    /// `test` says].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitKind>,
    /// Whose recordings test, where the split is by speakers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_speakers: Vec<String>,
    /// What is made of recordings [default: 39 coefficients, normalised in each frame].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfcc: Option<MfccOptions>,
    /// How many samples layers train on, of the unlabeled ones or else of the labelled ones: the first so many in a random
    /// order. 0 for all. They are chosen before any are set aside.
    #[serde(default)]
    pub samples: u32,
    /// Training samples set aside; if there are any, the readout is measured on them and the test set stays unread.
    #[serde(default)]
    pub held_out: u32,
    /// Views of a sample in a training pair: 1 (both halves alike) or 2 (two augmentations).
    #[serde(default = "one_view")]
    pub views: u32,
    /// Random translation by up to so many pixels in each direction; 0 for none.
    #[serde(default)]
    pub translation: u8,
    /// Whether every view is mirrored left to right with probability 1/2.
    #[serde(default)]
    pub flip: bool,
    /// Random crops, all alike, out of the image with a frame of black pixels that is so many pixels wide; 0 for none.
    #[serde(default)]
    pub crop_padding: u8,
    /// How many crops each sample has, itself among them: so many a cache must hold. 0 for all there are.
    #[serde(default)]
    pub crop_variants: u16,
}

/// Ways to split recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitKind {
    /// As the data set's makers do.
    Official,
    /// By chance: 80 % train, 10 % validate, 10 % test.
    Random,
    /// By who speaks.
    Speakers,
}

impl DataConfig {
    /// How recordings are split where nothing is said; `None` where samples are no recordings.
    pub fn default_split(&self) -> Option<SplitKind> {
        match self.name {
            Some(DataSetName::Fsdd) => Some(SplitKind::Official),
            Some(DataSetName::WavFolder) => Some(SplitKind::Random),
            _ => None,
        }
    }
}

fn one_view() -> u32 {
    1
}
