//! A run and samples for it, on the command line.

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use source::InputSource;
use std::path::PathBuf;

use crate::location::Location;

/// A run, samples, and the file that is made of both.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// The run directory: a folder or s3://BUCKET/PREFIX.
    #[arg(value_name = "RUN", value_parser = Location::parser())]
    pub run_dir: Location,
    /// The samples: a folder of images or one image, read and scaled as those that the run learned from; or a part of a known data
    /// set, such as mnist:test, cifar-10:train or stl10:unlabeled.
    #[arg(value_name = "INPUT", value_parser = OsStringValueParser::new().try_map(InputSource::try_from))]
    pub input: InputSource,
    /// The file to write; what it ends in says its format. What is there is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
