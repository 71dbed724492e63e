//! Runs of the packed coordinator.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, bail};
use serde_json::Value;
use xshell::cmd;

use super::bench::Bench;
use super::watch;

/// Where packed programs lie, once they are unpacked.
pub struct Programs(PathBuf);

impl Programs {
    /// Those of the archive, in a folder of this test.
    pub fn unpack(bench: &Bench, folder: &Path) -> anyhow::Result<Self> {
        let archive = bench.archive()?;
        cmd!(bench.shell, "tar -xzf {archive} -C {folder} --strip-components=1").run()?;
        Ok(Self(folder.join("bin")))
    }

    /// Their folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The coordinator.
    pub fn coordinator(&self) -> PathBuf {
        self.0.join("coordinator")
    }

    /// The worker.
    pub fn worker(&self) -> PathBuf {
        self.0.join("worker")
    }

    /// The weights of the same run on one local worker, with the kernel that a cluster agreed on.
    pub fn local_weights(
        &self,
        bench: &Bench,
        words: &[&str],
        summary: &Value,
        out: &Path,
    ) -> anyhow::Result<Value> {
        let blas = summary["blas"].as_str().context("a summary names its BLAS")?;
        let kernel = blas.rsplit(' ').next().unwrap_or_default();
        let coordinator = self.coordinator();
        cmd!(bench.shell, "{coordinator} --blas-kernel {kernel} run {words...} --local 1 --out {out}")
            .ignore_stdout()
            .ignore_stderr()
            .run()?;
        Ok(read_summary(out)?["weights_sha256"].clone())
    }
}

/// A coordinator's process, which ends with this value.
pub struct Run {
    child: Child,
    log: PathBuf,
}

impl Run {
    /// Starts a command whose output goes to a file.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log)?;
        let child = command.stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits for its end, which must be a success.
    pub fn end(&mut self) -> anyhow::Result<()> {
        let status = watch::until("the end of a run", || Ok(self.child.try_wait()?))?;
        if !status.success() {
            bail!("a run ended with {status}:\n{}", std::fs::read_to_string(&self.log)?);
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The summary of a run directory.
pub fn read_summary(out: &Path) -> anyhow::Result<Value> {
    let file = out.join("summary.json");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// Fails unless weights are those of a local run.
pub fn check_weights(summary: &Value, local: &Value) -> anyhow::Result<()> {
    let weights = &summary["weights_sha256"];
    if weights != local {
        bail!("the weights are {weights}, those of a local run {local}");
    }
    Ok(())
}
