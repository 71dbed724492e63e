//! The command line: a file for each command, with its arguments and what it does.

mod data_args;
mod positive;
mod words;

mod baseline;
mod certs;
mod cluster;
mod data;
mod eval;
mod export;
mod features;
mod init;
mod input;
mod plan;
mod predict;
mod run;
mod score;

use clap::{Parser, Subcommand};
use proto::logs::LogArgs;
use proto::process::KernelChoice;
use proto::self_test;

use crate::stop::Stop;

use baseline::BaselineCommand;
use certs::CertsCommand;
use data::DataCommand;
use eval::EvalArgs;
use export::ExportArgs;
use features::FeaturesArgs;
use init::InitArgs;
use plan::PlanArgs;
use predict::PredictArgs;
use run::RunArgs;
use score::ScoreArgs;

const EXIT_STATUS: &str = "\
Exit status:
    0  done
    1  an error, which the last line on standard error states
    2  the command line is wrong
   75  asked to end by SIGTERM or SIGINT (Ctrl-C): the same command continues. Training is brought to a checkpoint first;
       a second signal ends at once, with status 143 or 130, and costs the steps since the last checkpoint";

/// How this program starts children that test a kernel.
const SELF_TEST: &str = "self-test-blas";

/// Trains Self-Contrastive Forward-Forward networks layer by layer, over worker processes.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub struct Cli {
    /// BLAS kernel of this process and of its workers, such as Haswell or SkylakeX. `auto` takes for this process and for local
    /// workers the one that OPENBLAS_CORETYPE names, or else what OpenBLAS chooses, or a
    /// faster one where it does not know the processor; for running workers one of the fastest that give
    /// the same bits on all; and for a run that goes on the one that it began with. Another kernel gives other bits.
    #[arg(long, global = true, default_value = "auto", env = "STRATA_BLAS_KERNEL")]
    pub blas_kernel: KernelChoice,
    /// How it logs, and its local workers.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at data and write a commented configuration that suits them; nothing is overwritten.
    ///
    /// The data are a folder of images or whatever else `path` of a configuration's [data] may name. It says what was found, and
    /// chooses a network and numbers that work untuned: dense layers for rows, convolutions for images, a recurrent layer for
    /// recordings. Where there are no labels the configuration needs none.
    Init(InitArgs),
    /// Train a network layer by layer, then its readout. Continues an interrupted run.
    Run(RunArgs),
    /// Show what a run would do and how long it would take: shapes, parameters, operations, bytes, seconds.
    ///
    /// Seconds follow from measuring this machine for a few seconds. The data set's files are not needed.
    Plan(PlanArgs),
    /// Train and measure a readout on the frozen layers of a run, or on its input; or measure the layers without labels.
    Eval(EvalArgs),
    /// Write the features of samples, as the frozen layers of a run make them, on all workers.
    ///
    /// The samples need not be those of the run's data set. They are read as they are needed, and their features are written in
    /// their order: as *.npz with the arrays features (samples, features), names and, where there are labels, labels and
    /// classes; as *.npy with the features alone; or as *.csv or *.parquet with columns name, label and features.
    Features(FeaturesArgs),
    /// Write what the readout of a run takes samples for: columns name, label, and p_CLASS, the probability of each class.
    ///
    /// The samples need not be those of the run's data set. They are read as they are needed. Where their labels are known, it
    /// says how many are predicted as they are labelled.
    Predict(PredictArgs),
    /// Write how unlike the training data samples are: columns name and score. The higher, the more unlike.
    ///
    /// What they are compared with is computed of a sample of the run's training data, which is needed once: it is kept in the run
    /// directory.
    Score(ScoreArgs),
    /// Write what a run has learned as a file of another program: ONNX, PyTorch or NumPy.
    Export(ExportArgs),
    /// What other ways of learning reach with the network of a configuration, on the same samples.
    Baseline {
        /// Which one.
        #[command(subcommand)]
        method: BaselineCommand,
    },
    /// Test the BLAS kernel in use, print its name and the digest of its bits, and end.
    #[command(hide = true)]
    SelfTestBlas,
    /// Certificates for coordinators and workers: an authority of your own, and what it signs.
    Certs {
        /// What to do with them.
        #[command(subcommand)]
        command: CertsCommand,
    },
    /// Data sets: fetch, list, verify.
    Data {
        /// What to do with them.
        #[command(subcommand)]
        command: DataCommand,
    },
}

impl Cli {
    /// Does it; ends with [`crate::stop::Stopped`] where `stop` is asked for.
    pub async fn execute(self, stop: Stop) -> anyhow::Result<()> {
        let Self { blas_kernel: kernel, command, .. } = self;
        match command {
            Command::Init(arguments) => arguments.execute(),
            Command::Run(arguments) => arguments.execute(&kernel, stop).await,
            Command::Plan(arguments) => arguments.execute(SELF_TEST).await,
            Command::Eval(arguments) => arguments.execute(&kernel, stop).await,
            Command::Features(arguments) => arguments.execute(&kernel, stop).await,
            Command::Predict(arguments) => arguments.execute(&kernel, stop).await,
            Command::Score(arguments) => arguments.execute(&kernel, stop).await,
            Command::Export(arguments) => arguments.execute(),
            Command::Baseline { method } => method.execute(&kernel, stop).await,
            Command::SelfTestBlas => Ok(self_test::answer()?),
            Command::Certs { command } => command.execute(),
            Command::Data { command } => command.execute(),
        }
    }
}
