//! How much memory samples may take, and where they are kept beyond that.

use std::path::{Path, PathBuf};

/// Room for decoded samples: so much memory, and a folder for those that are more.
#[derive(Clone, Debug)]
pub struct Room {
    /// Bytes that are left.
    memory: u64,
    folder: PathBuf,
}

impl Room {
    /// Memory of so many bytes, and a folder, which is made when it is needed.
    pub fn new(memory: u64, folder: PathBuf) -> Self {
        Self { memory, folder }
    }

    /// As much memory as samples take.
    pub fn boundless() -> Self {
        Self::new(u64::MAX, PathBuf::new())
    }

    /// Bytes of memory that are left.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes so many bytes of memory, if they are left.
    pub fn take(&mut self, bytes: u64) -> bool {
        let left = self.memory.checked_sub(bytes);
        self.memory = left.unwrap_or(self.memory);
        left.is_some()
    }
}
