//! Certificates and keys as files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::CertsError;

/// A certificate and its key.
pub struct Pair {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's, which only its owner may read.
    pub key: PathBuf,
}

impl Pair {
    /// Those of the authority of a folder.
    pub fn authority(dir: &Path) -> Self {
        Self::named(dir, "ca")
    }

    /// Those of this name.
    pub fn named(dir: &Path, name: &str) -> Self {
        Self { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}-key.pem")) }
    }

    /// Whether both are there; one alone is an error.
    pub fn is_there(&self) -> Result<bool, CertsError> {
        let half = |there: &Path, missing: &Path| {
            Err(CertsError::Half { there: there.to_owned(), missing: missing.to_owned() })
        };
        match (self.certificate.exists(), self.key.exists()) {
            (true, false) => half(&self.certificate, &self.key),
            (false, true) => half(&self.key, &self.certificate),
            (both, _) => Ok(both),
        }
    }

    /// Writes both, the key first, or none of them.
    pub fn write(&self, certificate: &str, key: &str) -> Result<(), CertsError> {
        write_new(&self.key, key, 0o600)?;
        let written = write_new(&self.certificate, certificate, 0o644);
        written.inspect_err(|_| drop(fs::remove_file(&self.key)))
    }
}

/// Makes a folder that only its owner may look into, unless it is there.
pub fn make_folder(dir: &Path) -> Result<(), CertsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| CertsError::Io { path: dir.to_owned(), source })
}

/// The text of a file.
pub fn read(path: &Path) -> Result<String, CertsError> {
    fs::read_to_string(path).map_err(|source| CertsError::Io { path: path.to_owned(), source })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    let io = |source| CertsError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // Half a key would be taken for one.
    written.inspect_err(|_| drop(fs::remove_file(path))).map_err(io)
}
