//! What tests of deployments have in common.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use xshell::Shell;

use crate::{dist, shell};

/// Cargo's profile that programs are built with here.
pub const PROFILE: &str = "dist-quick";

/// What came of a part.
pub enum Outcome {
    /// What was seen.
    Passed(String),
    /// Why it could not be tested here.
    Skipped(String),
}

/// What parts have in common.
pub struct Bench {
    /// In the workspace's folder.
    pub shell: Shell,
    packed: OnceCell<PathBuf>,
}

impl Bench {
    /// One on which nothing is packed yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { shell: shell::open()?, packed: OnceCell::new() })
    }

    /// The archive of both programs, packed once.
    pub fn archive(&self) -> anyhow::Result<&Path> {
        if let Some(packed) = self.packed.get() {
            return Ok(packed);
        }
        let packed = dist::pack(&self.shell, PROFILE)?;
        Ok(self.packed.get_or_init(|| packed))
    }

    /// An empty folder of this name.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = shell::target()?.join("deploy-test").join(name);
        self.shell.remove_path(&folder)?;
        Ok(self.shell.create_dir(folder)?)
    }
}
