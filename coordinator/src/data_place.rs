//! Where data sets are, and where their samples go.

use bytesize::ByteSize;
use proto::machine::Memory;
use proto::self_test::cache_folder;
use source::{DataSet, Room};
use std::path::PathBuf;

use crate::config::Config;
use crate::data_folder;
use crate::location::Location;
use crate::plan::{selection, source};

/// Where data sets are, and the room that there is for what they are decoded to.
#[derive(Clone, Debug)]
pub struct DataPlace {
    /// Where data sets are.
    pub location: Location,
    /// The room for decoded samples.
    pub room: Room,
}

impl DataPlace {
    /// Data sets there; decoded samples in so much memory [default: half of what this process may use], and beyond that in a
    /// folder [default: `samples` among the caches].
    pub fn new(location: Location, memory: Option<ByteSize>, cache: Option<PathBuf>) -> Self {
        let half = || match Memory::look().bytes {
            // Nobody knows.
            0 => u64::MAX,
            bytes => bytes / 2,
        };
        let memory = memory.map_or_else(half, |size| size.as_u64());
        let caches = || cache_folder().unwrap_or_else(|| std::env::temp_dir().join("strata"));
        Self { location, room: Room::new(memory, cache.unwrap_or_else(|| caches().join("samples"))) }
    }

    /// Loads the data set of a configuration.
    pub fn load(&self, config: &Config) -> anyhow::Result<DataSet> {
        let folder = data_folder::local(&source(&config.data)?, &self.location)?;
        Ok(source::load(&selection(config)?, &folder, &self.room)?)
    }
}

/// Folders of data sets are looked for there.
impl From<PathBuf> for DataPlace {
    fn from(folder: PathBuf) -> Self {
        Self::new(folder.into(), None, None)
    }
}
