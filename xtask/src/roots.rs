//! Root file systems of Debian, for tests and for stand-ins of images.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::{packages, shell};

/// The smallest root file system of a release of Debian, made once by debootstrap.
pub fn debian(shell: &Shell, release: &str) -> anyhow::Result<PathBuf> {
    let root = shell::target()?.join("roots").join(release);
    if root.exists() {
        return Ok(root);
    }
    packages::for_testing(shell, &[("debootstrap", "debootstrap")])?;
    let part = root.with_extension("part");
    cmd!(shell, "rm -rf {part}").run()?;
    cmd!(shell, "debootstrap --variant=minbase {release} {part}").ignore_stdout().run()?;
    cmd!(shell, "rm -rf {part}/var/cache/apt/archives {part}/var/lib/apt/lists").run()?;
    cmd!(shell, "mkdir -p {part}/var/cache/apt/archives/partial {part}/var/lib/apt/lists/partial").run()?;
    shell.copy_file("/etc/resolv.conf", part.join("etc/resolv.conf"))?;
    std::fs::rename(&part, &root)?;
    Ok(root)
}
