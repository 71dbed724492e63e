//! A file that the catalog knows.

use super::checksum::Sha256Sum;

/// A file as its makers made it.
#[derive(Clone, Copy, Debug)]
pub struct FileEntry {
    /// Its name.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its sum, where it is known.
    pub sha256: Option<Sha256Sum>,
}
