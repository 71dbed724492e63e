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
    /// Print what it reached as JSON, as `readout` in summary.json.
    #[arg(long)]
    json: bool,
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
        let Self { run_dir, features, layers, set, json, cluster } = self;
        let wanted = Wanted { input: features == FeaturesArg::Input, layers, readout: set };
        let summary = eval(&run_dir, wanted, &cluster.surroundings(kernel, stop)?).await?;
        if json {
            return Ok(print(serde_json::to_string_pretty(&summary)?)?);
        }
        Ok(print(readout_line(&summary))?)
    }
}
