//! `cargo xtask bench`

use xshell::cmd;

use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Fewer repetitions.
    #[arg(long)]
    quick: bool,
}

/// Measures training steps of dense, convolutional and recurrent layers, then the stream of activations to a worker.
pub fn run(Arguments { quick }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    packages::for_building(&shell)?;
    let options: &[&str] = if *quick { &["--", "--quick"] } else { &[] };
    for (package, bench) in [("scff", "step"), ("scff", "conv"), ("scff", "birnn"), ("worker", "stream")] {
        cmd!(shell, "cargo bench -p {package} --bench {bench} {options...}").run()?;
    }
    Ok(())
}
