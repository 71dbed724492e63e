//! One process at a time writes into a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// The file that is locked; it stays, since others may be waiting for it.
const NAME: &str = ".fetch.lock";

/// Waits until no other process writes into `folder`, and keeps others waiting until the file is dropped or this process
/// ends. If others have to be waited for, what they do is `said` on stderr.
pub fn lock(folder: &Path, said: Option<&str>) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(NAME))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            if let Some(does) = said {
                eprintln!("{}: another process {does}; waiting for it", folder.display());
            }
            file.lock()?;
        }
        // A file system without locks: there the last one to finish wins, with a file that was checked.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}
