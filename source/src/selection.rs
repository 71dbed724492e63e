//! What is wanted of a data set.

use std::path::PathBuf;

use scff::seed::Seed;

use super::audio::MfccOptions;
use super::image_options::ImageOptions;
use super::name::DataSetName;
use super::table_options::TableOptions;

/// A data set, and how it is taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// One that there is only one way to take.
    Plain(DataSetName),
    /// The Free Spoken Digit Dataset.
    Fsdd(Recordings),
    /// A user's folder of WAV files, one folder in it for each label.
    Folder {
        /// The folder, from the folder of data sets on.
        folder: PathBuf,
        /// How they are taken.
        recordings: Recordings,
    },
    /// A user's files.
    Files(Box<FileSelection>),
}

/// A user's files, and how they are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSelection {
    /// The folder or file.
    pub path: PathBuf,
    /// The labels of an array, where they are in a file of their own.
    pub labels: Option<PathBuf>,
    /// What tests, where it is in files of its own.
    pub test_path: Option<PathBuf>,
    /// The labels of an array that tests, where they are in a file of their own.
    pub test_labels: Option<PathBuf>,
    /// How images are taken.
    pub images: ImageOptions,
    /// How tables are taken.
    pub table: TableOptions,
    /// What is made of recordings.
    pub mfcc: Option<MfccOptions>,
    /// Which recordings train and which test; where nothing is said, a share tests as of other samples.
    pub split: Option<Split>,
    /// Whether files that are broken are left out.
    pub skip_broken: bool,
    /// Whether channels and columns are standardised over what is learned from.
    pub standardize: bool,
    /// The share of the samples that test, as many of each class [default: a tenth where there are labels, otherwise none].
    pub test: Option<f64>,
    /// Which ones follows from it.
    pub seed: Seed,
}

impl FileSelection {
    /// What lies at `path`, taken in the way that nothing is said of.
    pub fn new(path: PathBuf, seed: Seed) -> Self {
        Self {
            path,
            labels: None,
            test_path: None,
            test_labels: None,
            images: ImageOptions::default(),
            table: TableOptions::default(),
            mfcc: None,
            split: None,
            skip_broken: false,
            standardize: true,
            test: None,
            seed,
        }
    }
}

/// How recordings are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recordings {
    /// Which of them train and which test.
    pub split: Split,
    /// What is made of each.
    pub mfcc: MfccOptions,
}

/// Which recordings train and which test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// The data set's own: of FSDD, takes 0 to 4 of each speaker and digit test.
    Official,
    /// A random tenth tests, another one validates (the official SCFF code), drawn from the names in order.
    Random(Seed),
    /// All recordings of these speakers test, and nobody else's.
    Speakers(Vec<String>),
}

impl Default for Recordings {
    fn default() -> Self {
        Self { split: Split::Official, mfcc: MfccOptions::default() }
    }
}

/// The data set as its makers split it.
///
/// # Panics
/// For a user's folder, which has no makers.
impl From<DataSetName> for Selection {
    fn from(name: DataSetName) -> Self {
        match name {
            DataSetName::Fsdd => Self::Fsdd(Recordings::default()),
            DataSetName::WavFolder => panic!("a folder of recordings has to be named"),
            name => Self::Plain(name),
        }
    }
}
