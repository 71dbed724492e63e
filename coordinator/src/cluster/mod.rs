//! The workers of a run: where they are, which of them answer and take part, and what each hosts.

mod admission;
mod discovery;
mod hopeless;
mod hosting;
mod kernel;
mod local;
mod participant;
mod troubles;
mod waiting;
mod warned;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::address::Address;
use proto::dial::{Dialer, fit};
use proto::process::KernelChoice;
use proto::refusal::Reason;
use proto::wire;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::kernels::{Agreed, Began, Disagreement, Offer, agree};
use crate::retries::Retries;
use crate::run_dir::RunDirError;
use crate::worker_id::WorkerId;

pub use discovery::Discovery;
pub use hosting::HostableLayer;
pub use local::{LocalError, LocalOptions};
pub use participant::{Worker, WorkerFailure};
pub use waiting::{Tell, WaitedFor};

use admission::{Admission, LeftOut};
use hopeless::Hopeless;
use local::LocalWorkers;
use participant::Participant;
use troubles::Troubles;
use waiting::Waiting;
use warned::Warned;

/// The address of a worker that comes.
pub type Newcomer = Pin<Box<dyn Future<Output = String> + Send>>;

/// Why there is no cluster to work with.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Local workers do not start.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Nobody answers.
    #[error("no worker was to be had within {} s: {reasons}", waited.as_secs())]
    Nobody {
        /// How long was waited.
        waited: Duration,
        /// What each address said last.
        reasons: String,
    },
    /// Those who answer cannot take part, and will not if one waits.
    #[error("no worker can take part: {reasons}")]
    Unfit {
        /// Why, for each.
        reasons: String,
    },
    /// Their BLAS kernels do not go together, or not with the run.
    #[error(transparent)]
    Kernels(#[from] Disagreement),
    /// Whoever listens to what happens failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

/// Where workers are, and how they are reached.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Where they are.
    pub discovery: Discovery,
    /// How local ones are started.
    pub local: LocalOptions,
    /// How they are reached.
    pub dialer: Dialer,
    /// How long to wait for a first one.
    pub patience: Duration,
    /// After which pauses one that failed may take part again.
    pub retries: Retries,
    /// What they are to compute with.
    pub kernel: KernelChoice,
}

/// The workers of a run.
pub struct Cluster {
    discovery: Discovery,
    dialer: Dialer,
    local: Option<LocalWorkers>,
    patience: Duration,
    admission: Admission,
    /// What the run has begun with, if it has.
    began: Option<Began>,
    /// In the order of their addresses.
    participants: Vec<Participant>,
    warned: Warned,
}

/// How long one round of dialling may take.
const ROUND: Duration = Duration::from_secs(5);
/// Pause between two looks for workers that have come since.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Cluster {
    /// The cluster of `run`; nobody is dialled yet. `began`: what it has begun to compute with.
    pub fn new(run: String, began: Option<Began>, options: ClusterOptions) -> Self {
        let ClusterOptions { discovery, local, dialer, patience, retries, kernel: wanted } = options;
        let local = match discovery {
            Discovery::Local(count) => Some(LocalWorkers::new(count, local, dialer.silence)),
            _ => None,
        };
        let in_use = local.is_some() && began.is_none();
        let troubles = Troubles::new(retries);
        let admission = Admission { run, agreed: None, wanted, in_use, troubles };
        let (participants, warned) = (Vec::new(), Warned::default());
        Self { discovery, dialer, local, patience, admission, began, participants, warned }
    }

    /// The run's name on the workers.
    pub fn run(&self) -> &str {
        &self.admission.run
    }

    /// What the workers compute with, once they have gathered.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.admission.agreed.as_ref()
    }

    /// Looks up, starts and dials workers until at least one takes part; returns all that do, in order.
    /// Tells now and then what it waits for.
    pub async fn gather(&mut self, tell: Tell<'_>) -> Result<Vec<Worker>, ClusterError> {
        let mut waiting = Waiting::begin(self.discovery.to_string(), self.patience);
        loop {
            let mut left_out = waiting.meanwhile(tell, self.dial_all()).await??;
            if self.admission.agreed.is_none() {
                match waiting.meanwhile(tell, self.agree()).await? {
                    Ok(unable) => left_out.extend(unable),
                    // Somebody who may come yet might have it.
                    Err(ClusterError::Kernels(gone @ Disagreement::Gone { .. }))
                        if left_out.iter().any(|left_out| left_out.passing) =>
                    {
                        left_out.push(LeftOut::for_now(gone.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
            if !self.participants.is_empty() {
                for LeftOut { reason, .. } in left_out {
                    self.warned.once(&reason);
                }
                return Ok(self.workers());
            }
            if self.admission.troubles.forgive() {
                continue;
            }
            let hopeless = !left_out.is_empty() && left_out.iter().all(|left_out| !left_out.passing);
            let reasons: Vec<String> = left_out.into_iter().map(|left_out| left_out.reason).collect();
            if hopeless {
                return Err(ClusterError::Unfit { reasons: reasons.join("; ") });
            }
            if !waiting.go_on(tell, reasons).await? {
                return Err(ClusterError::Nobody { waited: self.patience, reasons: waiting.reasons() });
            }
        }
    }

    /// Lets go of a worker that failed. It is left out for a while, if there are others; a local one that does not answer is
    /// started again.
    pub async fn give_up(&mut self, failure: &WorkerFailure) {
        let there = self.participants.iter().find(|there| there.worker.id == failure.id);
        if let Some(Participant { worker, .. }) = there {
            self.admission.troubles.note(&worker.address, &failure.reason);
            if let Some(local) = &mut self.local
                && matches!(failure.reason, Reason::Silent | Reason::Stuck)
            {
                local.end(&worker.address.socket).await;
            }
        }
        self.forget(failure.id);
    }

    /// Lets go of a worker; the next [`Self::gather`] dials it anew.
    pub fn forget(&mut self, id: WorkerId) {
        self.participants.retain(|participant| participant.worker.id != id);
    }

    /// The workers that take part.
    pub fn workers(&self) -> Vec<Worker> {
        self.participants.iter().map(|participant| participant.worker.clone()).collect()
    }

    /// Hosts `layers` on all workers that do not have them yet.
    pub async fn host(&mut self, layers: &[Arc<HostableLayer>]) -> Result<(), WorkerFailure> {
        let mut tasks = JoinSet::new();
        for participant in &self.participants {
            let lacks = |layer: &&Arc<HostableLayer>| {
                participant.hosted.get(&layer.index()) != Some(&layer.weights_sha256)
            };
            let missing: Vec<Arc<HostableLayer>> = layers.iter().filter(lacks).cloned().collect();
            let (worker, run) = (participant.worker.clone(), self.admission.run.clone());
            tasks.spawn(async move {
                for layer in &missing {
                    // Encoding is work for a thread that may block.
                    let encoding = tokio::task::spawn_blocking({
                        let layer = layer.clone();
                        move || drop(layer.encoded().clone())
                    });
                    encoding.await.expect("encoding does not panic");
                    hosting::host(&worker, &run, layer).await?;
                }
                Ok((worker.id, missing))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (id, hosted) = done.expect("hosting does not panic")?;
            let participant = self.participants.iter_mut().find(|participant| participant.worker.id == id);
            let hosted = hosted.iter().map(|layer| (layer.index(), layer.weights_sha256.clone()));
            participant.expect("nobody is forgotten meanwhile").hosted.extend(hosted);
        }
        Ok(())
    }

    /// The most memory that all worker processes have had resident, added up.
    pub async fn peak_rss_bytes(&self) -> u64 {
        let mut total = 0;
        for Participant { worker, .. } in &self.participants {
            let mut description = described(worker).await;
            if description.is_none() {
                // A connection that has idled is closed.
                let dialled = timeout(ROUND, self.dialer.dial(&worker.address)).await;
                description = dialled.ok().and_then(Result::ok).map(|(_, description)| description);
            }
            total = description.map_or(0, |description| description.peak_rss_bytes).saturating_add(total);
        }
        total
    }

    /// Returns the address of the next worker that could take part and was not there before; never, where there is none.
    pub fn newcomer(&self) -> Newcomer {
        let Self { discovery, dialer, admission, warned, .. } = self;
        let (discovery, dialer, admission, warned) =
            (discovery.clone(), dialer.clone(), admission.clone(), warned.clone());
        let known: HashSet<Address> = self.workers().into_iter().map(|worker| worker.address).collect();
        let ids: HashSet<WorkerId> = self.workers().into_iter().map(|worker| worker.id).collect();
        Box::pin(async move {
            // Where nobody comes who fits, the looks become rarer.
            let mut hopeless: HashMap<Address, Hopeless> = HashMap::new();
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                for address in discovery.look_up().await.unwrap_or_default() {
                    let skipped = hopeless.get_mut(&address).is_some_and(Hopeless::skip);
                    if known.contains(&address) || skipped {
                        continue;
                    }
                    match dial(&dialer, &admission, &address).await {
                        Ok(worker) if !ids.contains(&worker.id) => return address.to_string(),
                        Err(LeftOut { reason, passing: false }) => {
                            warned.once(&reason);
                            hopeless.entry(address).or_default().again();
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        })
    }

    /// One round: reuses connections that still answer, dials the others. Returns who is left out, and why.
    async fn dial_all(&mut self) -> Result<Vec<LeftOut>, LocalError> {
        let addresses = match (&mut self.local, self.discovery.look_up().await) {
            (Some(local), _) => local.addresses().await?.iter().map(|given| Address::given(given)).collect(),
            (None, Ok(addresses)) => addresses,
            (None, Err(reason)) => return Ok(vec![LeftOut::for_now(reason)]),
        };
        let mut before = std::mem::take(&mut self.participants);
        let mut tasks = JoinSet::new();
        for (place, address) in addresses.into_iter().enumerate() {
            let known = before.iter().position(|participant| participant.worker.address == address);
            let known = known.map(|known| before.swap_remove(known));
            let (dialer, admission) = (self.dialer.clone(), self.admission.clone());
            tasks.spawn(async move { (place, participant(&dialer, &admission, address, known).await) });
        }
        let answers: BTreeMap<usize, Result<Participant, LeftOut>> =
            tasks.join_all().await.into_iter().collect();
        let mut left_out = Vec::new();
        for answer in answers.into_values() {
            match answer {
                Ok(participant) => left_out.extend(self.add(participant)),
                Err(reason) => left_out.push(reason),
            }
        }
        Ok(left_out)
    }

    /// Adds a participant, unless the same process is there under another address.
    fn add(&mut self, participant: Participant) -> Option<LeftOut> {
        let Worker { id, address, .. } = &participant.worker;
        if let Some(same) = self.participants.iter().find(|known| known.worker.id == *id) {
            let reason = format!("{address} leads to the same process as {}", same.worker);
            return Some(LeftOut { reason, passing: false });
        }
        self.participants.push(participant);
        None
    }

    /// Has the workers of a first gathering agree on a kernel, and change to it. Returns who is left out.
    async fn agree(&mut self) -> Result<Vec<LeftOut>, ClusterError> {
        let Admission { wanted, in_use, .. } = self.admission.clone();
        let ask = move |Participant { worker, .. }| async move {
            let offer = kernel::offer(&worker, in_use).await?;
            Ok((worker, offer))
        };
        let (asked, mut left_out) = each(std::mem::take(&mut self.participants), ask).await;
        let offers: Vec<Offer> = asked.iter().map(|(_, offer)| offer.clone()).collect();
        let Some(first) = offers.first() else { return Ok(left_out) };
        // Local workers are all alike.
        let wanted = if in_use { KernelChoice::Named(first.in_use.clone()) } else { wanted };
        let agreed = agree(&offers, self.began.as_ref(), &wanted)?;
        let (dialer, to) = (self.dialer.clone(), agreed.clone());
        let change = move |(worker, offer): (Worker, Offer)| {
            let (dialer, to, wanted) = (dialer.clone(), to.clone(), wanted.clone());
            async move { kernel::agreeing(&dialer, worker, &offer, &to, &wanted).await }
        };
        let (workers, unable) = each(asked, change).await;
        left_out.extend(unable);
        if !workers.is_empty() {
            self.admission.agreed = Some(agreed);
        }
        let participant = |worker| Participant { worker, hosted: BTreeMap::new() };
        self.participants = workers.into_iter().map(participant).collect();
        Ok(left_out)
    }
}

/// Does the same with all, at the same time. What comes of it is in their order.
async fn each<T, R, F>(all: Vec<T>, work: impl Fn(T) -> F) -> (Vec<R>, Vec<LeftOut>)
where
    R: Send + 'static,
    F: Future<Output = Result<R, LeftOut>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for (place, one) in all.into_iter().enumerate() {
        let work = work(one);
        tasks.spawn(async move { (place, work.await) });
    }
    let results: BTreeMap<usize, Result<R, LeftOut>> = tasks.join_all().await.into_iter().collect();
    let (mut done, mut left_out) = (Vec::new(), Vec::new());
    for result in results.into_values() {
        match result {
            Ok(result) => done.push(result),
            Err(reason) => left_out.push(reason),
        }
    }
    (done, left_out)
}

/// The worker at an address: the one that is known, where it still answers, and otherwise whoever is there now.
async fn participant(
    dialer: &Dialer,
    admission: &Admission,
    address: Address,
    known: Option<Participant>,
) -> Result<Participant, LeftOut> {
    let Some(Participant { mut worker, hosted }) = known else {
        return Ok(Participant { worker: dial(dialer, admission, &address).await?, hosted: BTreeMap::new() });
    };
    if let Some(description) = described(&worker).await {
        worker.description = description;
        admission.check(&worker)?;
        return Ok(Participant { worker, hosted });
    }
    // A connection that has idled is closed; and another process hosts nothing.
    let there = dial(dialer, admission, &address).await?;
    let hosted = if there.id == worker.id { hosted } else { BTreeMap::new() };
    Ok(Participant { worker: there, hosted })
}

/// What a worker says of itself now, where its connection lives.
async fn described(worker: &Worker) -> Option<wire::WorkerDescription> {
    let mut client = worker.client();
    let described = timeout(ROUND, client.describe(wire::DescribeRequest {})).await;
    Some(fit(described.ok()?.ok()?.into_inner()))
}

async fn dial(dialer: &Dialer, admission: &Admission, address: &Address) -> Result<Worker, LeftOut> {
    let dialled = timeout(ROUND, dialer.dial(address)).await;
    let silent = |_| LeftOut::for_now(format!("{address}: no answer within {} s", ROUND.as_secs()));
    let (connection, description) = dialled.map_err(silent)??;
    let worker = Worker::new(address.clone(), connection, description);
    admission.check(&worker)?;
    let Admission { agreed, wanted, in_use, .. } = admission;
    let Some(agreed) = agreed else { return Ok(worker) };
    let offer = kernel::offer(&worker, *in_use).await?;
    kernel::agreeing(dialer, worker, &offer, agreed, wanted).await
}
