//! `coordinator eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proto::output::print;
use proto::process::KernelChoice;

use crate::eval::{Found, Wanted, eval};
use crate::location::Location;
use crate::stop::Stop;

use super::cluster::ClusterArgs;
use super::words::{few_labels_line, readout_line, without_labels};

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
    /// Measure each layer without labels instead: goodness, effective rank, and how many nearest neighbours are those of the
    /// layer below.
    #[arg(long, conflicts_with_all = ["features", "layers", "set"])]
    without_labels: bool,
    /// Learn the readout from a few labels instead: a CSV file with the columns name and label, of samples called as the run's
    /// data call them (the path of a file in their folder, or the number of a row, counted from 0), any number of each class. It
    /// is a regularised one, whose strength cross-validation chooses.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["features", "set", "without_labels"])]
    labels: Option<PathBuf>,
    /// Keep the readout of --labels as the run's, for predictions and exports; a run keeps one.
    #[arg(long, requires = "labels", conflicts_with = "layers")]
    save: bool,
    /// Print what it reached as JSON, as `readout` or `without_labels` in summary.json.
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
    /// Measures, and says what came of it.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let Self { run_dir, features, layers, set, without_labels: unlabelled, labels, save, json, cluster } =
            self;
        let wanted = match labels {
            Some(file) => Wanted::FewLabels { file, layers, save },
            None if unlabelled => Wanted::WithoutLabels,
            None => Wanted::Readout { input: features == FeaturesArg::Input, layers, overrides: set },
        };
        Ok(print(match eval(&run_dir, wanted, &cluster.surroundings(kernel, stop)?).await? {
            Found::Readout(summary) if json => serde_json::to_string_pretty(&summary)?,
            Found::Readout(summary) => readout_line(&summary),
            Found::WithoutLabels(measures) if json => serde_json::to_string_pretty(&measures)?,
            Found::WithoutLabels(measures) => without_labels(&measures),
            Found::FewLabels(summary) if json => serde_json::to_string_pretty(&summary)?,
            Found::FewLabels(summary) => few_labels_line(&summary),
        })?)
    }
}
