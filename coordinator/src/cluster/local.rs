//! Worker processes of this machine, started and ended with the run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use proto::logs::LogFormat;
use proto::silence::Silence;
use proto::tls_args::TlsArgs;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How local workers are started.
#[derive(Clone, Debug, Default)]
pub struct LocalOptions {
    /// The worker program; the sibling of this one where it is not given.
    pub program: Option<PathBuf>,
    /// Threads of each; all cores where it is not given.
    pub threads: Option<usize>,
    /// Memory for kept activations of each, in bytes.
    pub cache_bytes: Option<u64>,
    /// The BLAS kernel.
    pub blas_kernel: Option<String>,
}

/// Why a local worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There is no worker program.
    #[error("{}: {source} (build it with `cargo build --release`, or name it with --worker-program)", program.display())]
    Spawn {
        /// Where it was looked for.
        program: PathBuf,
        /// Why it does not run.
        source: std::io::Error,
    },
    /// It ended, or said something else than where it listens.
    #[error("{}: said {found:?} on starting, expected `listening on ADDRESS`; its own message stands above", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What it said instead.
        found: String,
    },
}

/// The worker processes of a `--local` run.
pub struct LocalWorkers {
    options: LocalOptions,
    silence: Silence,
    processes: Vec<Option<Process>>,
}

struct Process {
    child: Child,
    address: String,
}

const LISTENING: &str = "listening on ";
const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(5);

impl LocalWorkers {
    /// `count` workers, none started yet.
    pub fn new(count: usize, options: LocalOptions, silence: Silence) -> Self {
        Self { options, silence, processes: (0..count).map(|_| None).collect() }
    }

    /// Where the workers listen; those that are not running, or no longer, are started.
    pub async fn addresses(&mut self) -> Result<Vec<String>, LocalError> {
        let mut addresses = Vec::with_capacity(self.processes.len());
        for (index, slot) in self.processes.iter_mut().enumerate() {
            let ended = slot.as_mut().and_then(|process| process.child.try_wait().ok().flatten());
            if let Some(status) = ended {
                tracing::warn!("local worker {index} ended ({status}); starting it again");
                *slot = None;
            }
            let process = match slot {
                Some(process) => process,
                None => slot.insert(start(&self.options, self.silence).await?),
            };
            addresses.push(process.address.clone());
        }
        Ok(addresses)
    }
}

impl LocalWorkers {
    /// Ends the worker that listens at `address`; the next look at the addresses starts it again.
    pub async fn end(&mut self, address: &str) {
        let there = self.processes.iter_mut().flatten().find(|process| process.address == address);
        if let Some(process) = there {
            // It may have ended by itself; or not end at once, where the system itself hangs.
            let _ = tokio::time::timeout(END, process.child.kill()).await;
        }
    }
}

async fn start(options: &LocalOptions, silence: Silence) -> Result<Process, LocalError> {
    let program = options.program.clone().unwrap_or_else(sibling);
    let mut command = Command::new(&program);
    command.args(["--listen", "127.0.0.1:0", "--until-stdin-closes"]);
    command.arg("--silence").arg(silence.duration().as_secs().to_string());
    if let Some(threads) = options.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    if let Some(bytes) = options.cache_bytes {
        command.arg("--cache-memory").arg(format!("{bytes}B"));
    }
    if let Some(kernel) = &options.blas_kernel {
        command.arg("--blas-kernel").arg(kernel);
    }
    command.env(LogFormat::VARIABLE, LogFormat::of_this_process().to_string());
    for variable in TlsArgs::VARIABLES {
        command.env_remove(variable);
    }
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "warn");
    }
    // Ctrl-C is for this process, which brings the work at hand to a checkpoint; to do so it needs its workers.
    command.process_group(0);
    // Its standard input closes when this process ends, however it ends, and the worker ends with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child =
        command.spawn().map_err(|source| LocalError::Spawn { program: program.clone(), source })?;
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = match tokio::time::timeout(START, lines.next_line()).await {
        Ok(Ok(line)) => line.unwrap_or_default(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "nothing".to_owned(),
    };
    match line.strip_prefix(LISTENING) {
        Some(address) => Ok(Process { child, address: address.to_owned() }),
        None => Err(LocalError::Start { program, found: line }),
    }
}

/// The `worker` beside this program; during tests this program lies one folder deeper.
fn sibling() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let mut folder = own.parent().map(PathBuf::from).unwrap_or_default();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder.join(format!("worker{}", std::env::consts::EXE_SUFFIX))
}
