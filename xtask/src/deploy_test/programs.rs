//! The packed programs where nothing is installed.

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use super::bench::{Bench, Outcome};
use crate::{dist, packages, roots};

/// Releases of Debian on which the programs must start.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// Unpacks the archive on the smallest Debian 12 and 13, and trains there.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    if let Err(error) =
        packages::for_testing(shell, &[("debootstrap", "debootstrap"), ("unshare", "util-linux")])
    {
        return Ok(Outcome::Skipped(error.to_string()));
    }
    let archive = bench.archive()?;
    check_sum(shell, archive)?;
    let mut weights = Vec::new();
    for release in RELEASES {
        let root = roots::debian(shell, release)?;
        // Nothing that is done there stays.
        let script = r#"
            mount -t tmpfs none "$0/tmp"
            mount -t proc none "$0/proc"
            tar -xzf "$1" -C "$0/tmp" --strip-components=1
            cd "$0/tmp"
            sha256sum --quiet --check SHA256SUMS
            chroot "$0" sh -ec '
                cd /tmp
                bin/worker --version
                bin/coordinator run configs/iris.toml --local 2 --out run --blas-kernel auto
                cat run/summary.json'"#;
        let said = cmd!(shell, "unshare --mount --pid --fork sh -ec {script} {root} {archive}")
            .quiet()
            .read()
            .with_context(|| format!("on {release}"))?;
        let line = said.lines().find(|line| line.trim_start().starts_with("\"weights_sha256\""));
        weights.push(line.with_context(|| format!("no summary on {release}"))?.trim().to_owned());
    }
    if weights[0] != weights[1] {
        bail!("the weights differ: {weights:?}");
    }
    let megabytes = archive.metadata()?.len() as f64 / 1e6;
    let name = archive.file_name().unwrap_or_default().display().to_string();
    Ok(Outcome::Passed(format!(
        "{name} ({megabytes:.0} MB) trains on the smallest {}, with the same weights",
        RELEASES.join(" and ")
    )))
}

fn check_sum(shell: &Shell, archive: &std::path::Path) -> anyhow::Result<()> {
    let sums = dist::sums_of(archive);
    let _there = shell.push_dir(archive.parent().context("it lies in a folder")?);
    Ok(cmd!(shell, "sha256sum --quiet --check {sums}").run()?)
}
