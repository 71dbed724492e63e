//! `coordinator`: plans a run, streams activations to the workers, freezes layers, reads them out.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use coordinator::cli::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    proto::process::use_blas_kernel(&cli.blas_kernel)?;
    if let Some(hint) = proto::process::faster_kernel_hint() {
        tracing::info!("{hint}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(cli.execute())
}
