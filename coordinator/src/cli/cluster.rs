//! Where the workers are, on the command line.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use proto::dial::Dialer;
use proto::machine::Memory;
use proto::process::KernelChoice;
use proto::silence::Silence;
use proto::tls::Role;
use proto::tls_args::TlsArgs;

use crate::cluster::{ClusterOptions, Discovery, LocalOptions};
use crate::config;
use crate::objects::Patience;
use crate::retries::Retries;
use crate::sitting::Surroundings;
use crate::stop::Stop;

use super::data_args::DataArgs;

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
    /// Memory that each local worker may fill with kept activations, and then with features that the readout reads, such as 4GiB
    /// [default: a quarter of the machine's memory, shared among them].
    #[arg(long, value_name = "SIZE")]
    cache_memory: Option<ByteSize>,
    /// How many workers share each layer at most, each with some of its channels, of each batch's samples, or of both: a
    /// number, a grid such as `2x3`, for two rows of samples and three columns of channels, or `auto` for all that there are and
    /// make it faster; local workers, which have the same cores, then share only layers that train together [default: what the
    /// configuration says, or auto]. The weights do not depend on it.
    #[arg(long, value_name = "N|RxC|auto")]
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
    /// Where data sets are.
    #[command(flatten)]
    data: DataArgs,
}

impl ClusterArgs {
    /// What a run finds around it, with BLAS kernel and request to end of this process.
    pub fn surroundings(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<Surroundings> {
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
        let (data, shards, patience) = (self.data.place(), self.shards, Patience::default());
        Ok(Surroundings { data, patience, cluster, shards, measures: true, retries, metrics: None, stop })
    }
}
