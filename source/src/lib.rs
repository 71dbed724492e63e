//! Data sets: where they come from, what is in them, and the views that training takes of them.
//!
//! A data set's files lie in a folder of their own in the data folder (or where a system package puts them),
//! [`fetch`]ed from their official sources and [`verify`]ed by their content; [`list`] says which are here. [`load`]
//! reads one whole into memory as a [`DataSet`] of [`Examples`]. An [`Augmentation`] makes variants of an [`Image`]
//! on its way into a batch.
//!
//! ```
//! use source::{Augmentation, DataSetName, Room, load};
//!
//! let iris = load(&DataSetName::Iris.into(), "datasets".as_ref(), &Room::boundless())?;
//! assert_eq!((iris.train.len(), iris.test.len(), iris.input.classes.len()), (120, 30, 3));
//! let mut sample = vec![0.0; iris.train.shape().len()];
//! iris.train.write(0, &mut sample)?;
//! assert_eq!(Augmentation::FLIPS.variants(), 2);
//! # Ok::<(), source::DataError>(())
//! ```
//!
//! The modules stand in the order in which data travels: what data sets are, where their files are found, how they
//! are fetched, how they are read, and what becomes of an image on its way out.
//!
//! Invariants:
//! - Nothing is allocated on a file's word. Headers are checked against fixed limits first, and memory grows only with
//!   the bytes that really arrive.
//! - A file that has its final name was whole and right when it was put there.
//! - This crate knows no coordinator and no workers: files in, samples out.

mod name;
mod data_source;
mod shape;
mod layout;
mod moments;
mod bad_file;
mod read_error;
mod names;
mod choice;
mod held;
mod moments_of;
mod examples;
mod audio;
mod input;
mod input_source;
mod data_set;
mod checksum;
mod file_entry;
mod utterance;
mod fsdd;
mod catalog;

mod hint;
mod spelling;
mod near;
mod folder;
mod list;
mod unpack;
mod check;
mod verify;

mod progress;
mod lock;
mod part_file;
mod client;
mod download;
mod archive;
mod fetch;

mod magic;
mod error;
mod data_file;
mod label;
mod planes;
mod idx;
mod cifar10;
mod stl10;
mod iris;
mod image_options;
mod table_options;
mod selection;
mod partition;
mod share;
mod walk;
mod picture;
mod record;
mod room;
mod work;
mod file_sums;
mod image_files;
mod recording_files;
mod element;
mod array_file;
mod array_samples;
mod cells;
mod survey;
mod csv_file;
mod caught;
mod parquet_file;
mod table_file;
mod table_samples;
mod opened;
mod classes;
mod folder_labels;
mod split_folder;
mod image_folder;
mod recording_folder;
mod array;
mod table;
mod form;
mod sample_file;
mod whole;
mod files;
mod wav_folder;
mod spoken;
mod outline;
mod named_labels;
mod load;
mod open;

mod image;
mod offset;
mod augmentation;

#[cfg(test)]
mod synthetic;

pub use archive::ArchiveError;
pub use audio::{MfccOptions, Normalize};
pub use augmentation::{Augmentation, Moves};
pub use bad_file::BadFile;
pub use catalog::{Archive, FileEntry, GzippedFile, Installed, Official, Supply, official};
pub use check::FileError;
pub use checksum::Sha256Sum;
pub use client::ClientError;
pub use data_set::{DataSet, TrainingSamples};
pub use data_source::DataSource;
pub use download::DownloadError;
pub use error::DataError;
pub use examples::Examples;
pub use fetch::{FailedSource, FetchError, FetchOptions, Fetched, fetch, fetch_archive, fetch_files};
pub use folder::MissingFile;
pub use hint::DATA_FOLDER;
pub use image::Image;
pub use image_options::ImageOptions;
pub use input::{ImageInput, InputKind, InputSpec, NumberInput, RecordingInput};
pub use input_source::{InputSource, Part, UnknownPart};
pub use layout::{Layout, Lengths};
pub use list::list;
pub use load::load;
pub use magic::Kind;
pub use moments::Moments;
pub use name::{DataSetName, UnknownDataSet};
pub use named_labels::{NamedLabel, named_labels};
pub use open::open_input;
pub use opened::Input;
pub use outline::{Outline, outline};
pub use partition::PartitionError;
pub use read_error::ReadError;
pub use record::{LeftOut, Manifest, ReadFile, Record};
pub use room::Room;
pub use selection::{FileSelection, Recordings, Selection, Split};
pub use shape::{ChannelScale, Shape};
pub use table_options::{Missing, TableOptions};
pub use verify::{Verified, VerifiedFile, VerifyError, verify};
