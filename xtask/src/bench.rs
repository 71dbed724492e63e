//! `cargo xtask bench`

use xshell::cmd;

use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Fewer repetitions.
    #[arg(long)]
    quick: bool,
    /// A Python with PyTorch, in which steps of the convolutional layers are computed between ours
    #[arg(long, value_name = "PYTHON")]
    pytorch: Option<String>,
}

/// Measures training steps of dense, convolutional and recurrent layers, what a sixteenth of a layer costs, then the stream of activations to a worker.
pub fn run(Arguments { quick, pytorch }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    packages::for_building(&shell)?;
    for (package, bench) in
        [("scff", "step"), ("scff", "conv"), ("scff", "shards"), ("scff", "birnn"), ("worker", "stream")]
    {
        let mut options = if *quick { vec!["--quick"] } else { Vec::new() };
        if let Some(python) = pytorch.as_deref().filter(|_| bench == "conv") {
            options.extend(["--pytorch", python]);
        }
        cmd!(shell, "cargo bench -p {package} --bench {bench} -- {options...}").run()?;
    }
    Ok(())
}
