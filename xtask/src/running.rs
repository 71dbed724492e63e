//! Workers that are measured.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// A worker; it ends when this value is dropped.
pub struct Running {
    process: Child,
    /// Where it listens.
    pub address: String,
}

impl Running {
    /// Starts it, quietly, and waits until it listens.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        command.arg("--until-stdin-closes").env("RUST_LOG", "warn");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let program = command.get_program().display().to_string();
        let mut process = command.spawn().with_context(|| format!("{program} starts a worker"))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let address =
            line.trim().strip_prefix("listening on ").context("the worker did not start")?.to_owned();
        Ok(Self { process, address })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
