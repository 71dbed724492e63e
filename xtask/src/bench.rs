//! `cargo xtask bench`

use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Fewer repetitions.
    #[arg(long)]
    quick: bool,
}

/// Measures training steps of dense layers and of convolutions, then the stream of activations to a worker.
pub fn run(Arguments { quick }: &Arguments) -> anyhow::Result<()> {
    packages::for_building()?;
    for (package, bench) in [("scff", "step"), ("scff", "conv"), ("worker", "stream")] {
        let mut command = shell::cargo(&["bench", "-p", package, "--bench", bench]);
        if *quick {
            command.args(["--", "--quick"]);
        }
        shell::run(&mut command)?;
    }
    Ok(())
}
