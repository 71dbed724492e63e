//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use proto::dial::Dialer;
use proto::logs::{LogArgs, LogFormat};
use proto::machine::{Cores, Memory};
use proto::output::print;
use proto::process::KernelChoice;
use proto::self_test::{self, Tester};
use proto::silence::Silence;
use proto::tls::Role;
use proto::tls_args::TlsArgs;

use crate::calibration::calibrate;
use crate::certs;
use crate::cluster::{ClusterOptions, Discovery, LocalOptions};
use crate::config;
use crate::data_folder;
use crate::estimate::{Estimate, Network, Numbers, Rates, Workers, table};
use crate::eval::{Wanted, eval};
use crate::location::Location;
use crate::objects::Patience;
use crate::plan::{Plan, selection};
use crate::retries::Retries;
use crate::run::run;
use crate::sitting::Surroundings;
use crate::split::prepare;
use crate::stop::Stop;
use crate::summary::{LayerSummary, ReadoutSummary, Summary};
use source::{self, DataSetName, FetchOptions, Outline, outline};

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
    /// faster one where it does not know the processor; for running workers the fastest that gives
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
    /// Train a network layer by layer, then its readout. Continues an interrupted run.
    Run {
        /// The configuration file.
        config: PathBuf,
        /// The run directory: a folder, or s3://BUCKET/PREFIX on an S3-compatible object store, which the usual variables name
        /// (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on) [default: runs/CONFIG-seedN].
        #[arg(long, value_name = "DIR|S3", value_parser = Location::parser())]
        out: Option<Location>,
        /// Override a key of the configuration, such as layers.0.lr=0.01; may be given several times.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Show metrics for Prometheus on /metrics of this address, and /live and /ready for probes.
        #[arg(long, value_name = "ADDR")]
        metrics: Option<SocketAddr>,
        /// On an object store: for how long the run directory stays this coordinator's without a sign of life of it, in seconds.
        /// Whoever continues a run whose coordinator was killed waits for so long; and what the store does not do within two
        /// thirds of it, with all tries, ends the run.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(6..=3600))]
        lease: u16,
        /// Where the workers are.
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Show what a run would do and how long it would take: shapes, parameters, operations, bytes, seconds.
    ///
    /// Seconds follow from measuring this machine for a few seconds. The data set's files are not needed.
    Plan {
        /// The configuration file.
        config: PathBuf,
        /// Override a key of the configuration.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Print seconds, and steps a second of each layer, as JSON.
        #[arg(long)]
        json: bool,
        /// What to plan for.
        #[command(flatten)]
        cluster: PlannedArgs,
    },
    /// Train and measure a readout on the frozen layers of a run, or on its input.
    Eval {
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

/// What a readout reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FeaturesArg {
    /// The frozen layers' outputs.
    Layers,
    /// The standardised input: the baseline.
    Input,
}

/// Where the workers are.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Start so many workers on this machine [default: 1, unless --workers is given].
    #[arg(long, value_name = "N", conflicts_with = "workers", value_parser = clap::value_parser!(u16).range(1..))]
    local: Option<u16>,
    /// Use running workers: HOST:PORT, several with commas between, or dns://NAME:PORT for all addresses of a name.
    #[arg(long, value_name = "ADDR,ADDR")]
    workers: Option<Discovery>,
    /// Threads of each local worker [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory that each local worker may fill with kept activations, such as 4GiB
    /// [default: a quarter of the machine's memory, shared among them].
    #[arg(long, value_name = "SIZE")]
    cache_memory: Option<ByteSize>,
    /// How many workers share each layer, each with some of its channels or of each batch's samples: a number, or
    /// `auto` for all that there are on machines of their own [default: what the configuration says, or auto]. The
    /// weights do not depend on it.
    #[arg(long, value_name = "N|auto")]
    shards: Option<config::Shards>,
    /// The worker program of --local [default: the `worker` beside this program].
    #[arg(long, value_name = "FILE")]
    worker_program: Option<PathBuf>,
    /// How long to wait for a first worker, in seconds: for one that answers, and that trains for no other run.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Give up a worker that is silent, or computes in one step, for so long, in seconds; the run goes on without it.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..))]
    silence: u16,
    /// Give up after so many tries in a row that came no further.
    #[arg(long, value_name = "N", default_value_t = Retries::default().tries, value_parser = clap::value_parser!(u32).range(1..))]
    retries: u32,
    /// Pause for so long after a try that came no further than the one before, in seconds; from one to the next it doubles, up
    /// to a minute. A worker that failed is left out for as long, if there are others.
    #[arg(long, value_name = "SECONDS", default_value_t = Retries::default().pause.as_secs() as u16)]
    retry_pause: u16,
    /// Certificates, for running workers.
    #[command(flatten)]
    tls: TlsArgs,
    /// The folder of data sets, or s3://BUCKET/PREFIX, whose files are copied to ~/.cache/strata first.
    #[arg(long, value_name = "DIR|S3", default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::parser())]
    data: Location,
}

/// Which workers a run is planned for.
#[derive(Debug, Args)]
pub struct PlannedArgs {
    /// So many workers, each on a machine of its own like this one; several numbers with commas between are compared, with
    /// the steps a second of every layer. Several workers on one machine are no faster than one.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..))]
    workers: Vec<u16>,
    /// Threads of each worker [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory that each worker may fill with kept activations, such as 4GiB [default: a quarter of the machine's memory].
    #[arg(long, value_name = "SIZE")]
    cache_memory: Option<ByteSize>,
    /// Megabits a second that each machine can send.
    #[arg(long, value_name = "MBIT", default_value_t = 1000.0, value_parser = positive)]
    bandwidth: f64,
    /// Milliseconds there and back between two machines.
    #[arg(long, value_name = "MS", default_value_t = 0.2, value_parser = positive)]
    round_trip: f64,
    /// The folder of data sets, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "DIR|S3", default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::parser())]
    data: Location,
}

/// What to do with certificates. Nothing is overwritten; a command that was carried out before says what is there.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make a certificate authority: ca.pem, which everybody needs, and ca-key.pem, which is needed to issue certificates and
    /// nowhere else.
    Init {
        /// The folder of certificates.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// For how many days it is valid.
        #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Issue a certificate and its key, such as worker.pem and worker-key.pem.
    Issue {
        /// The folder of certificates, with the authority.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What its holder acts as.
        #[arg(long, value_enum)]
        role: RoleArg,
        /// A host name or IP address that it is for: of a worker, the one by which it is looked up.
        #[arg(long = "name", value_name = "HOST", required = true)]
        names: Vec<String>,
        /// For how many days it is valid.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// How its files are called [default: the role].
        #[arg(long, value_name = "NAME")]
        out: Option<String>,
    },
    /// Say what is in a certificate.
    Show {
        /// Its file.
        file: PathBuf,
    },
}

/// What the holder of a certificate acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// It trains networks: workers do what it says.
    Coordinator,
    /// It is dialled by coordinators, and by workers that share a layer with it.
    Worker,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Download a data set from its official source; continues an interrupted download.
    Fetch {
        /// Which one.
        name: DataSetName,
        /// The folder of data sets.
        #[arg(long, default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::folder_parser())]
        data: PathBuf,
    },
    /// List the data sets there are, and which are here.
    List {
        /// The folder of data sets.
        #[arg(long, default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::folder_parser())]
        data: PathBuf,
    },
    /// Check a data set's files against their published checksums.
    Verify {
        /// Which one.
        name: DataSetName,
        /// The folder of data sets.
        #[arg(long, default_value = source::DATA_FOLDER, env = "STRATA_DATA", value_parser = Location::folder_parser())]
        data: PathBuf,
    },
}

impl ClusterArgs {
    fn surroundings(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<Surroundings> {
        let discovery = self.workers.unwrap_or(Discovery::Local(usize::from(self.local.unwrap_or(1))));
        let (count, tls) = match discovery {
            // On loopback, for this process alone.
            Discovery::Local(count) => (count as u64, None),
            _ => (1, self.tls.load(Role::Coordinator)?),
        };
        let retries = Retries { tries: self.retries, pause: Duration::from_secs(self.retry_pause.into()) };
        let shared = || Memory::look().bytes / 4 / count;
        let cluster = ClusterOptions {
            discovery,
            local: LocalOptions {
                program: self.worker_program,
                threads: self.threads.map(usize::from),
                cache_bytes: Some(self.cache_memory.map_or_else(shared, |size| size.as_u64())),
                blas_kernel: Some(kernel.to_string()),
            },
            dialer: Dialer { silence: Silence::seconds(self.silence), tls },
            patience: Duration::from_secs(self.wait),
            retries,
            kernel: kernel.clone(),
        };
        let (data, shards, patience) = (self.data, self.shards, Patience::default());
        Ok(Surroundings { data, patience, cluster, shards, retries, metrics: None, stop })
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number > 0.0 => Ok(number),
        _ => Err("expected a positive number".to_owned()),
    }
}

impl PlannedArgs {
    /// How fast this machine is, after a few seconds.
    fn rates(&self, plan: &Plan) -> Rates {
        let cores = Cores::look().count;
        calibrate(plan, self.threads.map_or(cores, |threads| cores.min(threads.into())))
    }

    /// The plan with estimates, for people or for programs.
    fn estimated(&self, plan: &Plan, test_samples: usize, rates: &Rates, json: bool) -> String {
        let quarter = || Memory::look().bytes / 4;
        let cache_bytes = self.cache_memory.map_or_else(quarter, |size| size.as_u64());
        let estimate = |&count| {
            let network =
                Network { bytes_per_second: self.bandwidth * 1e6 / 8.0, round_trip: self.round_trip / 1e3 };
            let workers = Workers { count: usize::from(count), cache_bytes, network };
            (workers, Estimate::new(plan, test_samples, rates, workers))
        };
        let estimates: Vec<_> = self.workers.iter().map(estimate).collect();
        if json {
            let numbers =
                |(workers, estimate): &(Workers, Estimate)| Numbers::new(plan, rates, *workers, estimate);
            let numbers: Vec<Numbers> = estimates.iter().map(numbers).collect();
            return serde_json::to_string_pretty(&numbers).expect("numbers and names");
        }
        table(plan, rates, &scff::blas::kernel(), &estimates)
    }
}

impl Cli {
    /// Does it; ends with [`crate::stop::Stopped`] where `stop` is asked for.
    pub async fn execute(self, stop: Stop) -> anyhow::Result<()> {
        let Self { blas_kernel: kernel, command, .. } = self;
        match command {
            Command::Run { config: file, out, set, metrics, lease, cluster } => {
                let config = config::load(&file, &set)?;
                let out = out.unwrap_or_else(|| {
                    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                    PathBuf::from(format!("runs/{stem}-seed{}", config.seed.0)).into()
                });
                let patience = Patience::of_lease(lease);
                let surroundings = Surroundings { patience, metrics, ..cluster.surroundings(&kernel, stop)? };
                let summary =
                    run(&config, &out, &surroundings).await.with_context(|| file.display().to_string())?;
                print(format_args!("{}\nrun directory: {out}", conclusion(&summary)))?;
            }
            Command::Plan { config: file, set, json, cluster } => {
                let config = config::load(&file, &set)?;
                let (plan, test_samples) =
                    plan(&config, &cluster.data).with_context(|| file.display().to_string())?;
                let rates = tokio::task::block_in_place(|| cluster.rates(&plan));
                print(cluster.estimated(&plan, test_samples, &rates, json))?;
                if !json {
                    print(kernels_here().await)?;
                }
            }
            Command::Eval { run_dir, features, layers, set, cluster } => {
                let wanted = Wanted { input: features == FeaturesArg::Input, layers, readout: set };
                let summary = eval(&run_dir, wanted, &cluster.surroundings(&kernel, stop)?).await?;
                print(readout_line(&summary))?;
            }
            Command::SelfTestBlas => self_test::answer()?,
            Command::Certs { command } => certs_command(command)?,
            Command::Data { command } => data_command(command)?,
        }
        Ok(())
    }
}

/// Which kernels a machine like this one adds to a cluster.
async fn kernels_here() -> String {
    let tester = Tester { argument: Some(SELF_TEST), folder: self_test::cache_folder() };
    let kernels = tester.test().await.kernels;
    let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    format!("BLAS kernels that such machines have: {} ({}).", names.join(", "), scff::blas::version())
}

/// The plan, and how many samples measure that are not held out: the data set's files are needed only where their number is not known
/// without them.
fn plan(config: &config::Config, data: &Location) -> anyhow::Result<(Plan, usize)> {
    let Some(Outline { layout, training, measured }) = outline(&selection(config)?)? else {
        let (plan, set) = prepare(config, &data_folder::local(config.data.name, data)?)?;
        return Ok((plan, set.test.len() + set.validation.map_or(0, |validation| validation.len())));
    };
    Ok((Plan::new(config, layout, training)?, measured))
}

fn certs_command(command: CertsCommand) -> anyhow::Result<()> {
    let said = match command {
        CertsCommand::Init { dir, days } => certs::init(&dir, days)?,
        CertsCommand::Issue { dir, role, names, days, out } => {
            let role = match role {
                RoleArg::Coordinator => Role::Coordinator,
                RoleArg::Worker => Role::Worker,
            };
            let out = out.unwrap_or_else(|| role.to_string());
            certs::issue(&dir, &out, &certs::Wanted { role, names, days })?
        }
        CertsCommand::Show { file } => certs::show(&file)?,
    };
    Ok(print(said)?)
}

fn data_command(command: DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Fetch { name, data } => {
            let options =
                FetchOptions { base_url: None, progress: LogFormat::of_this_process() == LogFormat::Text };
            print(source::fetch(name, &data, &options)?)?;
        }
        DataCommand::List { data } => {
            let mut list = Vec::new();
            source::list(&data, &mut list)?;
            print(String::from_utf8_lossy(&list).trim_end())?;
        }
        DataCommand::Verify { name, data } => print(source::verify(name, &data)?)?,
    }
    Ok(())
}

fn conclusion(summary: &Summary) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for layer in &summary.layers {
        let LayerSummary { name, epochs, steps, seconds, samples_per_second, .. } = layer;
        writeln!(
            text,
            "{name}: {epochs} epochs, {steps} steps in {seconds:.1} s ({samples_per_second:.0} samples/s)"
        )
        .expect("text");
    }
    write!(
        text,
        "{}\ntotal: {:.1} s\nweights_sha256: {}",
        readout_line(&summary.readout),
        summary.seconds,
        summary.weights_sha256
    )
    .expect("text");
    text
}

fn readout_line(readout: &ReadoutSummary) -> String {
    let (accuracy, on) = readout.measured();
    let validation = readout
        .validation_accuracy
        .map(|accuracy| format!("{:.2} % validation, ", 100.0 * accuracy))
        .unwrap_or_default();
    let rank = readout.effective_rank.map(|rank| format!(" effective rank {rank:.0},")).unwrap_or_default();
    format!(
        "readout of {} features: {:.2} % {on} accuracy ({validation}{:.2} % training),{rank} {:.1} s",
        readout.features,
        100.0 * accuracy,
        100.0 * readout.train_accuracy,
        readout.seconds
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::estimate::LayerRates;

    #[test]
    fn every_configuration_plans() {
        let mut planned = 0;
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")).unwrap() {
            let file = entry.unwrap().path();
            let words = ["coordinator", "plan", file.to_str().unwrap(), "--data", "nowhere"];
            let Command::Plan { config, set, cluster, .. } = Cli::parse_from(words).command else {
                panic!("{words:?} plans")
            };
            let (plan, test_samples) = plan(&config::load(&config, &set).unwrap(), &cluster.data).unwrap();
            let layer = LayerRates { operations: 400e9, updates: 4e9, bytes: 60e9 };
            let rates = Rates { threads: 2, layers: vec![layer; plan.stages.len()] };
            let [mut text, json] =
                [false, true].map(|json| cluster.estimated(&plan, test_samples, &rates, json));
            text.retain(|c| c != ' ');
            assert!(text.contains("readout:"), "{}: {text}", file.display());
            assert!(json.contains("\"seconds\""), "{}: {json}", file.display());
            planned += 1;
        }
        assert!(planned > 0);
    }
}
