//! `coordinator baseline`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use proto::output::print;
use proto::process::KernelChoice;

use crate::baseline::summary::{BaselineSummary, Method, Training};
use crate::baseline::{Start, Wanted, back_propagate, forward_forward, random};
use crate::config::{self, Config};
use crate::data_place::DataPlace;
use crate::location::Location;
use crate::objects::Patience;
use crate::stop::Stop;

use super::cluster::ClusterArgs;
use super::data_args::DataArgs;
use super::positive::positive;

/// Which baseline.
///
/// Each writes baseline.json, its configuration and what it has learnt to a directory of its own. The same command continues one
/// that is interrupted, after its last whole epoch.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Random weights: layers as they begin, with the readout of any run; a run of no epochs.
    Random {
        /// Of what.
        #[command(flatten)]
        network: NetworkArgs,
        /// Where the workers are.
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Layers and readout together, by back-propagation; of recurrent layers, through time. From random weights.
    BackPropagation {
        /// Of what.
        #[command(flatten)]
        network: NetworkArgs,
        /// How.
        #[command(flatten)]
        learning: LearningArgs,
    },
    /// The same, from what a finished run of the configuration has learnt.
    FineTuning {
        /// Of what.
        #[command(flatten)]
        network: NetworkArgs,
        /// The run's directory [default: runs/CONFIG-seedN].
        #[arg(long, value_name = "DIR|S3", value_parser = Location::parser())]
        run: Option<Location>,
        /// How.
        #[command(flatten)]
        learning: LearningArgs,
    },
    /// Hinton's original Forward-Forward algorithm (arXiv 2212.13345) without labels: negative samples are hybrids of two images by
    /// random masks. Of dense layers, with the readout of any run.
    ForwardForward {
        /// Of what.
        #[command(flatten)]
        network: NetworkArgs,
        /// How.
        #[command(flatten)]
        learning: LearningArgs,
    },
}

/// Whose baseline.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// The configuration file.
    config: PathBuf,
    /// The directory: a folder or s3://BUCKET/PREFIX [default: runs/CONFIG-METHOD-seedN].
    #[arg(long, value_name = "DIR|S3", value_parser = Location::parser())]
    out: Option<Location>,
    /// Override a key of the configuration, such as data.held_out=10000; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// How a baseline learns.
#[derive(Debug, Args)]
pub struct LearningArgs {
    /// Epochs.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Adam's learning rate in the first epoch; it halves at 20, 35, 50, 60, 70, 80 and 90 % of the epochs.
    #[arg(long, value_name = "RATE", default_value_t = 0.001, value_parser = positive)]
    lr: f64,
    /// Samples of a batch [default: training.batch of the configuration].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// Decoupled weight decay; none unless given.
    #[arg(long, value_name = "DECAY", value_parser = positive)]
    weight_decay: Option<f64>,
    /// Where data sets are.
    #[command(flatten)]
    data: DataArgs,
}

impl LearningArgs {
    fn training(&self, config: &Config) -> Training {
        Training {
            epochs: self.epochs,
            batch: self.batch.map_or(config.training.batch as usize, usize::from),
            lr: self.lr,
            weight_decay: self.weight_decay.unwrap_or(0.0),
        }
    }
}

/// A parsed configuration, and where its baseline belongs.
struct Network {
    config: Config,
    file: String,
    name: String,
    out: Location,
}

impl NetworkArgs {
    fn network(self, method: Method) -> anyhow::Result<Network> {
        let Self { config: file, out, set } = self;
        let config = config::load(&file, &set)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let default = || PathBuf::from(format!("runs/{name}-{method}-seed{}", config.seed.0)).into();
        let out = out.unwrap_or_else(default);
        Ok(Network { config, file: file.display().to_string(), name, out })
    }
}

impl Network {
    fn wanted(&self, data: &DataPlace) -> Wanted<'_> {
        let (name, out, data) = (self.name.clone(), self.out.clone(), data.clone());
        Wanted { config: &self.config, name, out, data, patience: Patience::default() }
    }

    /// Where `run` puts a run of the configuration.
    fn run(&self) -> Location {
        PathBuf::from(format!("runs/{}-seed{}", self.name, self.config.seed.0)).into()
    }
}

impl BaselineCommand {
    /// Trains a baseline, and says what it reached.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let (network, summary) = match self {
            Self::Random { network, cluster } => {
                let network = network.network(Method::Random)?;
                let surroundings = cluster.surroundings(kernel, stop)?;
                let summary = random(&network.wanted(&surroundings.data), &surroundings).await;
                (network, summary)
            }
            Self::BackPropagation { network, learning } => {
                computed(network.network(Method::BackPropagation)?, learning, |wanted, training, _| {
                    back_propagate(wanted, &Start::Random, training)
                })
            }
            Self::FineTuning { network, run, learning } => {
                computed(network.network(Method::FineTuning)?, learning, |wanted, training, network| {
                    back_propagate(wanted, &Start::Run(run.unwrap_or_else(|| network.run())), training)
                })
            }
            Self::ForwardForward { network, learning } => {
                computed(network.network(Method::ForwardForward)?, learning, |wanted, training, _| {
                    forward_forward(wanted, training)
                })
            }
        };
        let summary = summary.with_context(|| network.file.clone())?;
        Ok(print(format_args!("{summary}\ndirectory: {}", network.out))?)
    }
}

/// What is computed in this process.
fn computed(
    network: Network,
    learning: LearningArgs,
    compute: impl FnOnce(&Wanted<'_>, &Training, &Network) -> anyhow::Result<BaselineSummary>,
) -> (Network, anyhow::Result<BaselineSummary>) {
    let training = learning.training(&network.config);
    let wanted = network.wanted(&learning.data.place());
    let summary = tokio::task::block_in_place(|| compute(&wanted, &training, &network));
    (network, summary)
}
