//! Where a data set comes from.

use std::fmt;
use std::path::PathBuf;

use super::name::DataSetName;

/// A data set that this program knows, or a user's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// A known one.
    Known(DataSetName),
    /// A folder or a file.
    Path(PathBuf),
}

impl From<DataSetName> for DataSource {
    fn from(name: DataSetName) -> Self {
        Self::Known(name)
    }
}

/// The name; of a path, the last part.
impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => name.fmt(f),
            Self::Path(path) => match path.file_name() {
                Some(name) => f.pad(&name.to_string_lossy()),
                None => f.pad(&path.display().to_string()),
            },
        }
    }
}
