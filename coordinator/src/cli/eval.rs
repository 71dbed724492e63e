//! `coordinator eval`.

use clap::{Args, ValueEnum};
use proto::output::print;
use proto::process::KernelChoice;

use crate::eval::{Wanted, eval};
use crate::location::Location;
use crate::stop::Stop;

use super::cluster::ClusterArgs;
use super::words::readout_line;

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The run directory: a folder or s3://BUCKET/PREFIX.
    #[arg(value_name = "DIR|S3", value_parser = Location::parser())]
    run_dir: Location,
    /// What the readout reads.
    #[arg(long, value_enum, default_value = "layers")]
    features: FeaturesArg,
    /// Which layers it reads, counted from 0 [default: those of the configuration].
    #[arg(long, value_delimiter = ',', conflicts_with = "features")]
    layers: Option<Vec<usize>>,
    /// Override a key of the readout, such as readout.dropout=0.4.
    #[arg(long = "set", value_name = "readout.KEY=VALUE")]
    set: Vec<String>,
    /// Where the workers are.
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What a readout reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FeaturesArg {
    /// The frozen layers' outputs.
    Layers,
    /// The standardised input: the baseline.
    Input,
}

impl EvalArgs {
    /// Trains and measures a readout, and says what it reached.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let Self { run_dir, features, layers, set, cluster } = self;
        let wanted = Wanted { input: features == FeaturesArg::Input, layers, readout: set };
        let summary = eval(&run_dir, wanted, &cluster.surroundings(kernel, stop)?).await?;
        Ok(print(readout_line(&summary))?)
    }
}
