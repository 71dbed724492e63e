//! `coordinator data`.

use std::path::PathBuf;

use clap::Subcommand;
use proto::logs::LogFormat;
use proto::output::print;
use source::{self, DataSetName, FetchOptions};

use crate::location::Location;

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Download a data set from its official source; continues an interrupted download.
    Fetch {
        /// Which one.
        name: DataSetName,
        /// The folder of data sets.
        #[arg(long, default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::folder_parser())]
        data: PathBuf,
    },
    /// List the data sets there are, and which are here.
    List {
        /// The folder of data sets.
        #[arg(long, default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::folder_parser())]
        data: PathBuf,
    },
    /// Check a data set's files against their published checksums.
    Verify {
        /// Which one.
        name: DataSetName,
        /// The folder of data sets.
        #[arg(long, default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::folder_parser())]
        data: PathBuf,
    },
}

impl DataCommand {
    /// Does it, and says what was done.
    pub fn execute(self) -> anyhow::Result<()> {
        match self {
            Self::Fetch { name, data } => {
                let options = FetchOptions {
                    base_url: None,
                    progress: LogFormat::of_this_process() == LogFormat::Text,
                };
                print(source::fetch(name, &data, &options)?)?;
            }
            Self::List { data } => {
                let mut list = Vec::new();
                source::list(&data, &mut list)?;
                print(String::from_utf8_lossy(&list).trim_end())?;
            }
            Self::Verify { name, data } => print(source::verify(name, &data)?)?,
        }
        Ok(())
    }
}
