//! The workers of a run: where they are, which of them answer, and what each hosts.

mod local;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::dial::{Client, dial};
use proto::refusal::{Reason, Refused};
use proto::wire;
use scff::frozen::FrozenLayer;
use tokio::task::JoinSet;

pub use local::{LocalError, LocalOptions};

use local::LocalWorkers;

/// A worker's place in the list of workers, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub usize);

/// Where the workers of a run are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// So many processes of this machine, started and ended with the run.
    Local(usize),
    /// These addresses.
    Addresses(Vec<String>),
    /// All addresses of a DNS name, looked up again before every stage.
    Dns(String),
}

impl Place {
    /// The addresses that workers may have now; none of local ones, which are started at addresses of their own.
    async fn look_up(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Local(_) => Ok(Vec::new()),
            Self::Addresses(addresses) => Ok(addresses.clone()),
            Self::Dns(name) => {
                let found =
                    tokio::net::lookup_host(name).await.map_err(|error| format!("{name}: {error}"))?;
                let mut found: Vec<String> = found.map(|address| address.to_string()).collect();
                found.sort();
                found.dedup();
                Ok(found)
            }
        }
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let has_port = |address: &&str| {
            address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(name) = text.strip_prefix("dns://") {
            if !has_port(&name) {
                return Err(format!("found `{text}`, expected dns://NAME:PORT"));
            }
            return Ok(Self::Dns(name.to_owned()));
        }
        let addresses: Vec<&str> = text.split(',').map(str::trim).collect();
        match addresses.iter().find(|address| !has_port(address)) {
            Some(wrong) => Err(format!(
                "found `{wrong}`, expected HOST:PORT, several with commas between, or dns://NAME:PORT"
            )),
            None => Ok(Self::Addresses(addresses.into_iter().map(str::to_owned).collect())),
        }
    }
}

/// The address of a worker that comes.
pub type Newcomer = Pin<Box<dyn Future<Output = String> + Send>>;

/// A worker that answered.
#[derive(Clone)]
pub struct Worker {
    /// Its place in the list.
    pub id: WorkerId,
    /// Where it listens.
    pub address: String,
    /// What it says of itself.
    pub description: wire::WorkerDescription,
    /// The connection.
    pub client: Client,
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} ({})", self.id.0, self.address)
    }
}

/// Something went wrong on the side of a worker, or on the way to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("worker {} ({address}): {message}", id.0)]
pub struct WorkerFailure {
    /// Which worker.
    pub id: WorkerId,
    /// Where it listens.
    pub address: String,
    /// What kind of failure it is.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// Whether trying again may help: the worker is gone, or forgot what it hosted.
    pub passing: bool,
}

impl WorkerFailure {
    /// What a worker answered instead of what it was asked for.
    pub fn of(worker: &Worker, status: &tonic::Status) -> Self {
        let Refused { reason, passing, message } = Refused::read(status);
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing }
    }

    /// A worker that broke the protocol.
    pub fn protocol(worker: &Worker, message: impl fmt::Display) -> Self {
        let message = format!("broke the protocol: {message}");
        let reason = Reason::Malformed;
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing: false }
    }

    /// A worker whose stream ended too early.
    pub fn gone(worker: &Worker) -> Self {
        let message = "ended the stream".to_owned();
        let reason = Reason::Broken;
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing: true }
    }
}

/// Why there is no cluster to work with.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Local workers do not start.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Nobody answers.
    #[error("no worker answered within {}: {reasons}", seconds(*.waited))]
    Nobody {
        /// How long was waited.
        waited: Duration,
        /// What each address said last.
        reasons: String,
    },
    /// Workers with different BLAS kernels would give different bits.
    #[error(
        "{one} computes with {one_kernel}, {other} with {other_kernel}: their results differ in the last bits; \
         start all workers with the same --blas-kernel (Haswell runs on every x86-64 machine with AVX2)"
    )]
    MixedKernels {
        /// A worker ...
        one: String,
        /// ... and its kernel.
        one_kernel: String,
        /// Another worker ...
        other: String,
        /// ... and its kernel.
        other_kernel: String,
    },
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

struct Member {
    worker: Worker,
    /// Checksums of the layers that it hosts for this run, as far as we hosted them.
    hosted: BTreeMap<u32, String>,
}

/// The workers of a run.
pub struct Cluster {
    run: String,
    place: Place,
    local: Option<LocalWorkers>,
    patience: Duration,
    members: BTreeMap<WorkerId, Member>,
}

/// How long one round of dialling may take.
const ROUND: Duration = Duration::from_secs(5);
/// Pause between two looks for workers that have come since.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(250);

impl Cluster {
    /// The cluster of `run`; nobody is dialled yet. `patience`: how long to wait for a first worker.
    pub fn new(run: String, place: Place, local: LocalOptions, patience: Duration) -> Self {
        let local = match place {
            Place::Local(count) => Some(LocalWorkers::new(count, local)),
            _ => None,
        };
        Self { run, place, local, patience, members: BTreeMap::new() }
    }

    /// The run's name on the workers.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Looks up, starts and dials workers until at least one answers; returns all that do, in order.
    pub async fn gather(&mut self) -> Result<Vec<Worker>, ClusterError> {
        let start = Instant::now();
        loop {
            let reasons = self.dial_all().await?;
            if !self.members.is_empty() {
                for reason in reasons {
                    tracing::warn!("{reason}; going on without it");
                }
                self.refuse_mixed_kernels()?;
                return Ok(self.workers());
            }
            if start.elapsed() >= self.patience {
                let reasons =
                    if reasons.is_empty() { "no address was found".to_owned() } else { reasons.join("; ") };
                return Err(ClusterError::Nobody { waited: self.patience, reasons });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets go of a worker that failed; the next [`Self::gather`] dials it anew.
    pub fn forget(&mut self, id: WorkerId) {
        self.members.remove(&id);
    }

    /// The workers that answered last.
    pub fn workers(&self) -> Vec<Worker> {
        self.members.values().map(|member| member.worker.clone()).collect()
    }

    /// Hosts `layers` (with their encoded tensors) on all workers that do not have them yet.
    pub async fn host(&mut self, layers: &[HostedLayer]) -> Result<(), WorkerFailure> {
        let mut tasks = JoinSet::new();
        for member in self.members.values() {
            let missing: Vec<HostedLayer> = layers
                .iter()
                .filter(|layer| member.hosted.get(&layer.index) != Some(&layer.sha256))
                .cloned()
                .collect();
            let (worker, run) = (member.worker.clone(), self.run.clone());
            tasks.spawn(async move {
                for layer in &missing {
                    host_layer(&worker, &run, layer)
                        .await
                        .map_err(|status| WorkerFailure::of(&worker, &status))?;
                }
                Ok((worker.id, missing))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (id, hosted) = done.expect("hosting does not panic")?;
            let member = self.members.get_mut(&id).expect("a member until it is forgotten");
            member.hosted.extend(hosted.into_iter().map(|layer| (layer.index, layer.sha256)));
        }
        Ok(())
    }

    /// The most memory that all worker processes have had resident, added up.
    pub async fn peak_rss_bytes(&self) -> u64 {
        let mut total = 0;
        for member in self.members.values() {
            let mut client = member.worker.client.clone();
            if let Ok(Ok(description)) =
                tokio::time::timeout(ROUND, client.describe(wire::DescribeRequest {})).await
            {
                total += description.into_inner().peak_rss_bytes;
            }
        }
        total
    }

    /// Returns the address of the next worker that answers and was not there before; never, where there is none.
    pub fn newcomer(&self) -> Newcomer {
        let place = self.place.clone();
        let known: Vec<String> = self.members.values().map(|member| member.worker.address.clone()).collect();
        Box::pin(async move {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                for address in place.look_up().await.unwrap_or_default() {
                    let new = !known.contains(&address);
                    if new && matches!(tokio::time::timeout(ROUND, dial(&address)).await, Ok(Ok(_))) {
                        return address;
                    }
                }
            }
        })
    }

    /// One round: reuses connections that still answer, dials the others. Returns why the missing ones are missing.
    async fn dial_all(&mut self) -> Result<Vec<String>, ClusterError> {
        let addresses = match (&mut self.local, self.place.look_up().await) {
            (Some(local), _) => local.addresses().await?,
            (None, Ok(addresses)) => addresses,
            (None, Err(reason)) => return Ok(vec![reason]),
        };
        let mut tasks = JoinSet::new();
        for (index, address) in addresses.into_iter().enumerate() {
            let id = WorkerId(index);
            let known = self.members.remove(&id).filter(|member| member.worker.address == address);
            tasks.spawn(async move {
                if let Some(mut member) = known
                    && let Ok(Ok(description)) =
                        tokio::time::timeout(ROUND, member.worker.client.describe(wire::DescribeRequest {}))
                            .await
                {
                    member.worker.description = description.into_inner();
                    return Ok(member);
                }
                let dialled = tokio::time::timeout(ROUND, dial(&address)).await;
                let (client, description) = dialled
                    .map_err(|_| format!("{address}: no answer within {}", seconds(ROUND)))?
                    .map_err(|error| error.to_string())?;
                Ok(Member { worker: Worker { id, address, description, client }, hosted: BTreeMap::new() })
            });
        }
        let mut members = BTreeMap::new();
        let mut reasons: Vec<String> = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done.expect("dialling does not panic") {
                Ok(member) => {
                    members.insert(member.worker.id, member);
                }
                Err(reason) => reasons.push(reason),
            }
        }
        self.members = members;
        Ok(reasons)
    }

    fn refuse_mixed_kernels(&self) -> Result<(), ClusterError> {
        let mut workers = self.members.values().map(|member| &member.worker);
        let Some(one) = workers.next() else { return Ok(()) };
        match workers.find(|other| kernel(other) != kernel(one)) {
            None => Ok(()),
            Some(other) => Err(ClusterError::MixedKernels {
                one: one.to_string(),
                one_kernel: kernel(one),
                other: other.to_string(),
                other_kernel: kernel(other),
            }),
        }
    }
}

/// BLAS and kernel of a worker, such as `OpenBLAS 0.3.21 SkylakeX`: what its bits depend on.
pub fn kernel(worker: &Worker) -> String {
    format!("{} {}", worker.description.blas, worker.description.blas_kernel)
}

/// A frozen layer as workers take it in.
#[derive(Clone)]
pub struct HostedLayer {
    index: u32,
    spec: wire::LayerSpec,
    bytes: Bytes,
    sha256: String,
}

impl HostedLayer {
    /// Encodes a frozen layer.
    pub fn new(index: u32, layer: &Arc<FrozenLayer>) -> Self {
        let bytes = proto::state::encode(&[("", layer.parameters())], proto::state::Header::new());
        let sha256 = proto::state::sha256(&bytes);
        Self { index, spec: layer.spec().into(), bytes: bytes.into(), sha256 }
    }
}

async fn host_layer(worker: &Worker, run: &str, layer: &HostedLayer) -> Result<(), tonic::Status> {
    use wire::host_layer_request::Request;
    let begin = wire::HostLayerBegin {
        run: run.to_owned(),
        layer: layer.index,
        spec: Some(layer.spec.clone()),
        length: layer.bytes.len() as u64,
        sha256: layer.sha256.clone(),
    };
    let parts = proto::state::parts(&layer.bytes).map(Request::Part);
    let requests: Vec<_> = std::iter::once(Request::Begin(begin))
        .chain(parts)
        .map(|request| wire::HostLayerRequest { request: Some(request) })
        .collect();
    worker.client.clone().host_layer(tokio_stream::iter(requests)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lists_of_addresses_or_a_name() {
        let addresses = Place::Addresses(vec!["a:1".into(), "10.0.0.2:50551".into()]);
        assert_eq!("a:1, 10.0.0.2:50551".parse(), Ok(addresses));
        assert_eq!("dns://workers:50551".parse(), Ok(Place::Dns("workers:50551".into())));
        for wrong in ["", "a", "a:", ":1", "a:1,b", "dns://a", "a:70000"] {
            assert!(wrong.parse::<Place>().unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
