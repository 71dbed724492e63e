//! Running other programs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use xshell::{Cmd, Shell, cmd};

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// A shell in the workspace's folder.
pub fn open() -> anyhow::Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    Ok(shell)
}

/// Whether a command runs and succeeds, without showing anything.
pub fn succeeds(command: Cmd) -> bool {
    command.quiet().ignore_stdout().ignore_stderr().run().is_ok()
}

/// Builds coordinator and worker; returns the path of the coordinator.
pub fn build_release(shell: &Shell) -> anyhow::Result<PathBuf> {
    cmd!(shell, "cargo build --release -p coordinator -p worker").run()?;
    Ok(target()?.join("release/coordinator"))
}

/// The folder that everything is built in.
pub fn target() -> anyhow::Result<PathBuf> {
    // This program is TARGET/debug/xtask.
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(2).context("xtask lies in no target folder")?.to_owned())
}
