//! A wheel of the Python package that carries both programs, with the licences of what is linked into them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use crate::shell::{self, root};

/// What of the workspace it is built of.
const FILES: [&str; 6] = [
    "python/pyproject.toml",
    "python/setup.py",
    "python/README.md",
    "python/strata",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// Builds it of the programs in a packed folder, and puts it beside that folder; returns where it is.
pub fn build(shell: &Shell, packed: &Path) -> anyhow::Result<PathBuf> {
    // A folder of its own: what setuptools once built it would take up again.
    let folder = shell::target()?.join("wheel");
    shell.remove_path(&folder)?;
    let (source, built) = (folder.join("source"), folder.join("built"));
    fs::create_dir_all(&source)?;
    for from in FILES.map(|file| root().join(file)) {
        cmd!(shell, "cp -r {from} {source}").run()?;
    }
    let wheel = cmd!(shell, "python3 -m pip wheel {source} --no-deps --wheel-dir {built}");
    wheel.env("STRATA_PROGRAMS", packed.join("bin")).run().context("it takes python3 with pip")?;
    let files = shell.read_dir(&built)?;
    ensure!(files.len() == 1, "found {files:?}, expected one wheel");
    let name = files[0].file_name().context("a file has a name")?;
    let wheel = packed.with_file_name(name);
    fs::rename(&files[0], &wheel).with_context(|| wheel.display().to_string())?;
    Ok(wheel)
}
