//! Where data sets are, on the command line.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use crate::data_place::DataPlace;
use crate::location::Location;

/// Where data sets are, and where their samples go.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// The folder of data sets, or s3://BUCKET/PREFIX, whose files are copied to ~/.cache/strata first.
    #[arg(long, value_name = "DIR|S3", default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::parser())]
    data: Location,
    /// The room for samples.
    #[command(flatten)]
    room: RoomArgs,
}

/// How much memory samples of one's own data may take, and where they are kept beyond that.
#[derive(Debug, Args)]
pub struct RoomArgs {
    /// Memory that decoded samples of one's own data may fill, such as 4GiB; where they are more they are decoded once, into a
    /// file, and read as they are needed [default: half of the machine's memory].
    #[arg(long, value_name = "SIZE")]
    data_memory: Option<ByteSize>,
    /// The folder for such files; they serve every run on the same data, and may be deleted [default: ~/.cache/strata/samples].
    #[arg(long, value_name = "DIR", env = "STRATA_DATA_CACHE")]
    data_cache: Option<PathBuf>,
}

impl DataArgs {
    /// What they name.
    pub fn place(self) -> DataPlace {
        self.room.place(self.data)
    }
}

impl RoomArgs {
    /// Data sets at a place.
    pub fn place(self, data: Location) -> DataPlace {
        DataPlace::new(data, self.data_memory, self.data_cache)
    }
}
