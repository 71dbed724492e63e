//! Files that were not there.

use std::fs::{File, remove_file};
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Writes a file where there is none; what cannot be written whole is not left behind.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = File::create_new(path).with_context(|| path.display().to_string())?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // What could not be written may not be removable either; the first error is the one to tell.
        let _ = remove_file(path);
    }
    written.with_context(|| path.display().to_string())
}
