//! `coordinator`: plans a run, streams activations to the workers, freezes layers, reads them out.

use std::process::ExitCode;

use clap::Parser;
use coordinator::cli::Cli;
use coordinator::stop::{CONTINUE_ME, Stop, Stopped};
use proto::logs;
use proto::signals::Signals;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logs::begin(cli.log.log_format, false);
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // It has been said already.
        Err(error) if error.is::<Stopped>() => ExitCode::from(CONTINUE_ME),
        Err(error) => {
            logs::fail("error", said(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, but for those that the one before has said already.
fn said(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    proto::process::use_blas_kernel(&cli.blas_kernel)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stop = Stop::new();
    runtime.block_on(async {
        tokio::spawn(stop.clone().obey(Signals::take()?));
        cli.execute(stop).await
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use anyhow::Context;
    use coordinator::run_dir::RunDirError;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let full = || io::Error::from_raw_os_error(28);
        let source = full();
        let error =
            anyhow::Error::from(RunDirError::Io { place: Path::new("run/metrics.jsonl").into(), source });
        let error = Err::<(), _>(error).context("iris.toml").unwrap_err();
        assert_eq!(said(&error), format!("iris.toml: run/metrics.jsonl: {}", full()));
    }
}
