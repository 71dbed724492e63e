//! What a run directory needs of the place where it is kept.

use std::fmt::Debug;

use crate::run_dir::error::RunDirError;

/// A place where files of a run are kept: a folder, or a prefix of a bucket.
///
/// A file is old or new, whole, at every moment, but for what is appended. Functions that write are for who has locked it.
pub trait Storage: Debug + Send + Sync {
    /// A file's content, if it is there.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, RunDirError>;

    /// Whether a file is there.
    fn has(&self, name: &str) -> Result<bool, RunDirError>;

    /// Whether nothing is in a folder.
    fn is_empty(&self, name: &str) -> Result<bool, RunDirError>;

    /// Writes a file. What was there before is kept as `previous`, if that is named: at every moment at least one of both is
    /// there, whole.
    fn write(&self, name: &str, previous: Option<&str>, bytes: &[u8]) -> Result<(), RunDirError>;

    /// Puts a file in the place of another.
    fn rename(&self, from: &str, to: &str) -> Result<(), RunDirError>;

    /// Readies a file to be appended to, which is made where there is none.
    fn open_end(&self, name: &str) -> Result<(), RunDirError>;

    /// Adds to the end of a file that was readied for that after it was last written. What was added is there, at the latest,
    /// before anything that is written later. Waits for no network.
    fn append(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError>;

    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> Result<(), RunDirError>;

    /// Lets others have it. Nothing is written any more.
    fn release(&self);
}
