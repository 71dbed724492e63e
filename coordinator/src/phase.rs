//! One phase: training the layers that are at work at the same time, from their checkpoint to its end.
//!
//! Every member of the phase has a training stream of its own. Samples go to the lowest; what a step of a member passes on
//! comes back here and goes on to the member above, so that member k trains on batch t while the one above it trains on
//! batch t - 1. A phase of a greedy schedule has one member.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use indicatif::MultiProgress;
use prost::Message;
use proto::batch::ArrivingBatch;
use proto::state::{Header, decode_state, encode_state, parts};
use proto::wire;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use scff::batch::Step;
use scff::layer::LayerState;
use scff::train::PassOn;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::cluster::{Newcomer, Worker, WorkerFailure, WorkerId};
use crate::ledger::Ledger;
use crate::order::Order;
use crate::plan::{Member, Phase, Plan, Stage};
use crate::progress::StageProgress;
use crate::run_dir::{Carried, RunDir, RunDirError};
use crate::stream::{BatchSource, Views};
use crate::transform::{Job, QUEUE, through};

/// Why a phase ended early.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailure),
    /// The run directory failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A worker has come that may take part from the checkpoint on.
    #[error("{address} has come")]
    Newcomer {
        /// Where it listens.
        address: String,
    },
}

/// Who does what in a phase.
pub struct Assignment {
    /// Who trains each member: a group of workers that share it, the first with the highest channels.
    pub groups: Vec<Vec<Worker>>,
    /// Who transforms activations for them.
    pub transformers: Vec<Worker>,
}

/// Everything that a phase needs.
pub struct PhaseRun<'a> {
    /// The run's plan.
    pub plan: &'a Plan,
    /// The phase.
    pub phase: &'a Phase,
    /// The run's name on the workers.
    pub run: &'a str,
    /// The run directory.
    pub dir: &'a RunDir,
    /// The training samples.
    pub views: &'a Views,
    /// Who does what.
    pub assignment: Assignment,
    /// How fast workers have been.
    pub rates: WorkerRates,
}

/// Seconds that each worker computes for a channel block, by the last it said: who is slower gets fewer of the next layer's.
pub type WorkerRates = Arc<Mutex<HashMap<WorkerId, f64>>>;

/// A layer's state, and what its stage carries besides.
pub type Trained = (LayerState, Carried);

/// What a step of a member passes on.
type PassedOn = Vec<wire::Rows>;

/// Steps whose outputs wait for the member above.
const PASSED_ON: usize = 2;

impl PhaseRun<'_> {
    /// Trains the members from their states on, with a checkpoint now and then; returns the states after the last step.
    ///
    /// Once `newcomer` has an address, it ends with [`PhaseError::Newcomer`] at the next checkpoint.
    pub async fn train(
        self,
        states: Vec<Trained>,
        mut newcomer: Newcomer,
    ) -> Result<Vec<Trained>, PhaseError> {
        let Self { plan, phase, dir, .. } = self;
        let start = states[0].0.step;
        assert!(states.iter().all(|(state, _)| state.step == start), "members are at the same step");
        if start.0 >= phase.steps.end {
            return Ok(states);
        }
        let bars = MultiProgress::new();
        let (arrived, mut checkpoints) = mpsc::channel(QUEUE);
        // A call returns once the worker has read `begin`, so its sending must already be under way.
        let mut tasks = JoinSet::new();
        let attempt = attempt();
        let mut below = None;
        for (place, (member, (state, carried))) in phase.members.iter().zip(states).enumerate() {
            let stage = plan.stage(member);
            let group = &self.assignment.groups[place];
            let trainer = &group[0];
            let bytes_sent = Arc::new(AtomicU64::new(carried.bytes_sent));
            let (requests, outgoing) = mpsc::channel(QUEUE);
            let batches = self.batches(&mut tasks, place, below.take(), start, &bytes_sent);
            let begin = self.begin(member, group, attempt);
            let due = Checkpoints { every: plan.checkpoint_every, last: Step(phase.steps.end) };
            tasks.spawn({
                let bytes_sent = bytes_sent.clone();
                async move {
                    // A closed channel means that the worker ended the call; its reply says why.
                    let _ = send(begin, state, batches, due, &requests, &bytes_sent).await;
                    Ok(())
                }
            });
            let call = trainer.client.clone();
            let replies = { call }.train(ReceiverStream::new(outgoing)).await;
            let replies = replies.map_err(|status| WorkerFailure::of(trainer, &status))?.into_inner();
            let (above, passed_on) = mpsc::channel(PASSED_ON);
            below = Some(passed_on);
            let listener = Listener {
                trainer: trainer.clone(),
                place,
                stage: stage.clone(),
                last: phase.steps.end,
                replies,
                progress: StageProgress::new(plan, stage, dir, start, carried, &bars)?,
                metrics: dir.metrics_file(),
                carried,
                bytes_sent,
                began: Instant::now(),
                shards: self
                    .shards(stage, group)
                    .into_iter()
                    .zip(group)
                    .map(|(shard, worker)| (shard.start, worker.id))
                    .collect(),
                rates: self.rates.clone(),
                parts: BTreeMap::new(),
                rows: Vec::new(),
                missing: 0,
                passed_on: passed_on_rows(plan, stage, member.pass_on),
                above,
                arrived: arrived.clone(),
            };
            tasks.spawn(listener.listen());
        }
        drop(arrived);
        let mut pending: BTreeMap<Step, Vec<Option<Trained>>> = BTreeMap::new();
        let mut come = None;
        loop {
            let Arrived { place, trained } = tokio::select! {
                biased;
                Some(arrived) = checkpoints.recv() => arrived,
                Some(task) = tasks.join_next() => {
                    task.expect("senders and listeners do not panic")?;
                    continue;
                }
                address = &mut newcomer, if come.is_none() => {
                    come = Some(address);
                    continue;
                }
            };
            let step = trained.0.step;
            let set = pending.entry(step).or_insert_with(|| phase.members.iter().map(|_| None).collect());
            set[place] = Some(trained);
            if set.iter().any(Option::is_none) {
                continue;
            }
            let set: Vec<Trained> =
                pending.remove(&step).expect("just filled").into_iter().flatten().collect();
            if step.0 >= phase.steps.end {
                return Ok(set);
            }
            // Writing takes milliseconds and the next batches are on their way already.
            tokio::task::block_in_place(|| save_checkpoint(plan, phase, dir, &set))?;
            if let Some(address) = come.take() {
                return Err(PhaseError::Newcomer { address });
            }
        }
    }

    fn begin(&self, member: &Member, group: &[Worker], attempt: u64) -> wire::TrainBegin {
        let plan = self.plan;
        let stage = plan.stage(member);
        wire::TrainBegin {
            run: self.run.to_owned(),
            layer: stage.layer.0,
            spec: Some((&stage.spec).into()),
            hyperparameters: Some((&stage.hyperparameters).into()),
            cut_point: member.from,
            batch: plan.batch as u32,
            two_views: plan.two_views,
            elements: plan.stages[member.from as usize].spec.map.inputs() as u64,
            wire: proto::wire::Wire::from(plan.precision).into(),
            kept_rows: self.kept_rows(member, group) as u64,
            state_length: 0, // known once the state is encoded
            attempt,
            live: member.live,
            pass_on: match member.pass_on {
                PassOn::Nothing => wire::PassOn::Nothing,
                PassOn::Positives => wire::PassOn::Positives,
                PassOn::Pairs => wire::PassOn::Pairs,
            }
            .into(),
            group: self.shards(stage, group),
        }
    }

    /// How many activations each of a member's trainers keeps: what is passed on is new in every step.
    fn kept_rows(&self, member: &Member, group: &[Worker]) -> usize {
        if member.live {
            return 0;
        }
        let least = group.iter().map(|worker| worker.description.cache_bytes).min().unwrap_or(0);
        (least / self.plan.stage(member).row_bytes(self.plan)) as usize
    }

    /// The batches of a member, with the rows that arrive with them; the tasks that prepare them are added to `tasks`.
    fn batches(
        &self,
        tasks: &mut JoinSet<Result<(), PhaseError>>,
        place: usize,
        below: Option<mpsc::Receiver<PassedOn>>,
        start: Step,
        bytes_sent: &Arc<AtomicU64>,
    ) -> mpsc::Receiver<Job<wire::Batch>> {
        let Self { plan, phase, assignment, .. } = self;
        let member = &phase.members[place];
        let stage = plan.stage(member);
        let steps = start.0..phase.steps.end;
        let order = Order::new(plan, stage);
        let (jobs, mut batches) = mpsc::channel(QUEUE);
        if let Some(below) = below {
            tasks.spawn(async move {
                live_batches(order, steps, below, &jobs).await;
                Ok(())
            });
            return batches;
        }
        let source = BatchSource {
            order,
            ledger: Ledger::new(self.kept_rows(member, &assignment.groups[place])),
            views: self.views.clone(),
            precision: plan.precision,
            row_bytes: plan.widest(stage) * plan.precision.bytes(),
        };
        std::thread::spawn(move || source.produce(steps, &jobs));
        if member.from > 0 {
            let (transformed, results) = mpsc::channel(QUEUE);
            let workers = assignment.transformers.clone();
            let begin = wire::TransformBegin {
                run: self.run.to_owned(),
                inputs: plan.shape.len() as u64,
                layers: member.from,
                wire: proto::wire::Wire::from(plan.precision).into(),
                taps: Vec::new(),
            };
            let jobs = std::mem::replace(&mut batches, results);
            let bytes_sent = bytes_sent.clone();
            tasks.spawn(async move { Ok(through(&workers, &begin, jobs, transformed, &bytes_sent).await?) });
        }
        batches
    }

    /// Who of a group owns which channels: whole blocks, by how fast each has been, or else by its threads; from the highest
    /// down.
    fn shards(&self, stage: &Stage, group: &[Worker]) -> Vec<wire::Shard> {
        if group.len() == 1 {
            return Vec::new();
        }
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let measured: Option<Vec<f64>> =
            group.iter().map(|worker| rates.get(&worker.id).map(|seconds| seconds.recip())).collect();
        let threads = || group.iter().map(|worker| f64::from(worker.description.threads.max(1))).collect();
        let blocks = stage.spec.blocks();
        let counts = share_out(blocks.len(), &measured.unwrap_or_else(threads));
        let mut end = blocks.len();
        let shard = |(worker, count): (&Worker, usize)| {
            let own = &blocks[end - count..end];
            end -= count;
            let (start, end) = (own[0].start as u64, own[own.len() - 1].end as u64);
            wire::Shard { address: worker.address.clone(), start, end }
        };
        group.iter().zip(counts).map(shard).collect()
    }
}

/// Shares `count` things out in proportion to `weights`, at least one to each: the largest remainders are rounded up.
fn share_out(count: usize, weights: &[f64]) -> Vec<usize> {
    assert!(count >= weights.len(), "something for everybody");
    let total: f64 = weights.iter().sum();
    let exact = |place: usize| count as f64 * weights[place] / total;
    let mut shares: Vec<usize> = (0..weights.len()).map(|place| (exact(place) as usize).max(1)).collect();
    while shares.iter().sum::<usize>() != count {
        // How far each is below its exact share; of equals, the first gets more and the last gives.
        let lack = |place: &usize| exact(*place) - shares[*place] as f64;
        let by_lack = |one: &usize, other: &usize| lack(one).total_cmp(&lack(other));
        if shares.iter().sum::<usize>() < count {
            let most = (0..shares.len()).rev().max_by(by_lack).expect("a share");
            shares[most] += 1;
        } else {
            let least = (0..shares.len()).rev().filter(|place| shares[*place] > 1).min_by(by_lack);
            shares[least.expect("one has more than one")] -= 1;
        }
    }
    shares
}

/// Keeps the states of a phase's members, which have taken as many steps.
pub fn save_checkpoint(plan: &Plan, phase: &Phase, dir: &RunDir, set: &[Trained]) -> Result<(), RunDirError> {
    let layers: Vec<_> = phase
        .members
        .iter()
        .zip(set)
        .map(|(member, (state, carried))| (member.layer, state, carried))
        .collect();
    dir.save_checkpoint(plan.schedule, &layers)
}

/// A number that no other attempt of this run has: sittings follow each other in time.
fn attempt() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Rows that a step passes on.
fn passed_on_rows(plan: &Plan, stage: &Stage, pass_on: PassOn) -> u64 {
    match pass_on {
        PassOn::Nothing => 0,
        PassOn::Positives => plan.batch as u64,
        PassOn::Pairs => plan.pairs_per_step(stage),
    }
}

/// Batches whose rows are what the member below passes on.
async fn live_batches(
    mut order: Order,
    steps: Range<u64>,
    mut below: mpsc::Receiver<PassedOn>,
    jobs: &mpsc::Sender<Job<wire::Batch>>,
) {
    for step in steps {
        let batch = order.batch(Step(step));
        let Some(rows) = below.recv().await else { return };
        let tag = wire::Batch::from(&ArrivingBatch { batch, arriving: Vec::new() });
        if jobs.send(Job { tag, rows }).await.is_err() {
            return;
        }
    }
}

/// After which steps the state is asked for: now and then, and after the last.
#[derive(Clone, Copy)]
struct Checkpoints {
    every: u64,
    last: Step,
}

impl Checkpoints {
    fn due(self, taken: u64) -> bool {
        taken.is_multiple_of(self.every) || taken == self.last.0
    }
}

async fn send(
    begin: wire::TrainBegin,
    state: LayerState,
    mut batches: mpsc::Receiver<Job<wire::Batch>>,
    checkpoints: Checkpoints,
    requests: &mpsc::Sender<wire::TrainRequest>,
    bytes_sent: &AtomicU64,
) -> Result<(), mpsc::error::SendError<wire::TrainRequest>> {
    let send = async |request: Request| {
        let request = wire::TrainRequest { request: Some(request) };
        bytes_sent.fetch_add(request.encoded_len() as u64, Ordering::Relaxed);
        requests.send(request).await
    };
    let state_bytes = Bytes::from(encode_state(&state, Header::new()));
    drop(state);
    send(Request::Begin(wire::TrainBegin { state_length: state_bytes.len() as u64, ..begin })).await?;
    for part in parts(&state_bytes) {
        send(Request::State(part)).await?;
    }
    drop(state_bytes);
    while let Some(Job { tag, rows }) = batches.recv().await {
        let taken = tag.step + 1;
        send(Request::Batch(tag)).await?;
        for rows in rows {
            send(Request::Rows(rows)).await?;
        }
        if checkpoints.due(taken) {
            send(Request::Checkpoint(wire::Checkpoint {})).await?;
        }
    }
    Ok(())
}

/// A member's state, as it has come.
struct Arrived {
    place: usize,
    trained: Trained,
}

/// A shard's state.
enum Shard {
    /// Bytes of it are missing.
    Arriving(Vec<u8>),
    /// It is here.
    Whole(Box<LayerState>),
}

/// Hears a trainer's replies, and those of the others of its group.
struct Listener {
    trainer: Worker,
    place: usize,
    stage: Stage,
    /// Steps in the end.
    last: u64,
    replies: tonic::Streaming<wire::TrainReply>,
    progress: StageProgress,
    metrics: PathBuf,
    /// What the stage had carried when this sitting began.
    carried: Carried,
    bytes_sent: Arc<AtomicU64>,
    began: Instant,
    /// Who shares the layer, by first channels; nobody where it is not shared.
    shards: HashMap<u64, WorkerId>,
    rates: WorkerRates,
    /// The states that are arriving: by step, and by the first channel of each shard.
    parts: BTreeMap<u64, BTreeMap<u64, Shard>>,
    /// What the step at hand passes on, as far as it has come.
    rows: PassedOn,
    /// Rows of it that are missing.
    missing: u64,
    /// Rows that every step passes on.
    passed_on: u64,
    above: mpsc::Sender<PassedOn>,
    arrived: mpsc::Sender<Arrived>,
}

impl Listener {
    /// Listens until the last state has come.
    async fn listen(mut self) -> Result<(), PhaseError> {
        loop {
            let reply =
                self.replies.message().await.map_err(|status| WorkerFailure::of(&self.trainer, &status))?;
            match reply.map(|reply| reply.reply) {
                Some(Some(Reply::Ready(_))) => {}
                Some(Some(Reply::Step(report))) => {
                    self.missing = self.passed_on;
                    self.progress
                        .step(&report)
                        .map_err(|source| RunDirError::Io { path: self.metrics.clone(), source })?;
                }
                Some(Some(Reply::Rows(rows))) => self.rows(rows).await?,
                Some(Some(Reply::State(part))) => {
                    if self.state(part).await? {
                        return Ok(());
                    }
                }
                Some(Some(Reply::Sums(_)) | None) => {
                    return Err(WorkerFailure::protocol(&self.trainer, "a reply that says nothing").into());
                }
                None => return Err(WorkerFailure::gone(&self.trainer).into()),
            }
        }
    }

    async fn rows(&mut self, rows: wire::Rows) -> Result<(), PhaseError> {
        let count = u64::from(rows.rows);
        if count == 0 || count > self.missing {
            let message = format!("{count} rows of a step that lacks {}", self.missing);
            return Err(WorkerFailure::protocol(&self.trainer, message).into());
        }
        self.missing -= count;
        self.rows.push(rows);
        if self.missing == 0 {
            // Where nobody takes them any more, the member above has failed, and says so itself.
            let _ = self.above.send(std::mem::take(&mut self.rows)).await;
        }
        Ok(())
    }

    /// Takes in a part of the state; returns whether it was the last part of the last state.
    async fn state(&mut self, part: wire::StatePart) -> Result<bool, PhaseError> {
        let broken = |error: &dyn std::fmt::Display| WorkerFailure::protocol(&self.trainer, error);
        let shards = self.parts.entry(part.step).or_default();
        let shard = shards.entry(part.start).or_insert_with(|| Shard::Arriving(Vec::new()));
        let Shard::Arriving(bytes) = shard else {
            return Err(broken(&format_args!("the state of channel {} twice", part.start)).into());
        };
        bytes.extend_from_slice(&part.part);
        if (bytes.len() as u64) < part.length {
            return Ok(false);
        }
        let (state, _) = decode_state(bytes).map_err(|error| broken(&error))?;
        *shard = Shard::Whole(Box::new(state));
        if let Some(worker) = self.shards.get(&part.start).filter(|_| part.block_seconds > 0.0) {
            self.rates.lock().unwrap_or_else(PoisonError::into_inner).insert(*worker, part.block_seconds);
        }
        let whole = |shard: &Shard| matches!(shard, Shard::Whole(_));
        if shards.len() < self.shards.len().max(1) || !shards.values().all(whole) {
            return Ok(false);
        }
        let shards = self.parts.remove(&part.step).expect("just there");
        let states: Vec<LayerState> = shards
            .into_values()
            .filter_map(|shard| match shard {
                Shard::Whole(state) => Some(*state),
                Shard::Arriving(_) => None,
            })
            .collect();
        let same = states.iter().all(|state| {
            state.step.0 == part.step && state.parameters.weight.ncols() == self.stage.spec.map.fan_in()
        });
        if !same {
            return Err(broken(&"states of another step or layer").into());
        }
        let state = if states.len() == 1 {
            states.into_iter().next().expect("one")
        } else {
            LayerState::assemble(&states)
        };
        state.check(&self.stage.spec.map).map_err(|error| broken(&error))?;
        let carried = Carried {
            seconds: self.carried.seconds + self.began.elapsed().as_secs_f64(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            ..self.progress.carried()
        };
        let last = state.step.0 >= self.last;
        // Nobody takes it where the phase has failed already.
        let _ = self.arrived.send(Arrived { place: self.place, trained: (state, carried) }).await;
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_shared_out_by_rates_and_nobody_goes_without() {
        assert_eq!(share_out(4, &[1.0, 1.0]), [2, 2]);
        assert_eq!(share_out(4, &[1.0, 0.9]), [2, 2]);
        assert_eq!(share_out(10, &[2.0, 2.0, 2.0]), [4, 3, 3]);
        assert_eq!(share_out(6, &[2.0, 1.0]), [4, 2]);
        assert_eq!(share_out(3, &[16.0, 1.0, 1.0]), [1, 1, 1]);
        assert_eq!(share_out(7, &[1.0]), [7]);
        assert_eq!(share_out(24, &[1.0, 2.0, 3.0, 4.0]), [2, 5, 7, 10]);
    }
}
