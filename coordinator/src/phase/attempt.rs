//! One try at a phase: opens a training stream for each member, and follows them to the end or to a failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use proto::wire;
use scff::batch::Step;
use scff::train::PassOn;
use source::Lengths;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::back::Back;
use crate::clock::{Stopwatch, nanoseconds_since_1970};
use crate::cluster::{Newcomer, Worker, WorkerFailure};
use crate::events::{Event, Events};
use crate::grid::Grid;
use crate::ledger::Ledger;
use crate::order::Order;
use crate::plan::{Member, Phase, Plan, Stage};
use crate::run_dir::{RunDir, RunDirError, TrainedLayer};
use crate::stop::{Stop, Stopped};
use crate::stream::{BatchSource, Views};
use crate::transform::{Job, QUEUE, through};

use super::error::PhaseError;
use super::listener::{Arrived, Listener};
use super::reporter::Reporter;
use super::sending::{Below, Course, live_batches, send};
use super::shares::{WorkerRates, shards, sharers};
use super::states::States;
use super::under_way::UnderWay;

/// Who does what in a phase.
pub struct Assignment {
    /// Who trains each member: a group of workers that share it.
    pub groups: Vec<Vec<Worker>>,
    /// How each group stands.
    pub grids: Vec<Grid>,
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
    /// Who is told what happens.
    pub events: &'a Events,
    /// Whether to end early.
    pub stop: &'a Stop,
}

/// Senders and listeners at work. They end with this value.
type Tasks = JoinSet<Result<(), PhaseError>>;

/// What the members of a phase have in common while they train, up to its end or a failure.
pub struct Attempt {
    pub number: u64,
    pub start: Step,
    /// Who has which part of each member.
    pub shards: Vec<Vec<wire::Shard>>,
    /// How many steps each has taken.
    progress: Vec<watch::Receiver<u64>>,
    /// Where states go.
    arrived: mpsc::Sender<Arrived>,
    /// Ends the batches early.
    halt: CancellationToken,
}

impl Attempt {
    /// Those who share a member; nobody where one worker has it.
    pub fn group(&self, place: usize) -> &[wire::Shard] {
        match &self.shards[place][..] {
            [_] => &[],
            group => group,
        }
    }
}

impl PhaseRun<'_> {
    /// Trains the members from their states on, with a checkpoint now and then; returns the states after the last step.
    ///
    /// Once it is asked to stop, it ends with [`PhaseError::Stopped`] after the steps that are under way and a checkpoint; and
    /// likewise, with [`PhaseError::Left`], once a worker says that it is about to end. Once `newcomer` has an address, it ends with [`PhaseError::Newcomer`] at the next checkpoint.
    pub async fn train(
        self,
        states: Vec<TrainedLayer>,
        newcomer: Newcomer,
    ) -> Result<Vec<TrainedLayer>, PhaseError> {
        let start = states[0].state.step;
        assert!(states.iter().all(|trained| trained.state.step == start), "members are at the same step");
        if start.0 >= self.phase.steps.end {
            return Ok(states);
        }
        let (arrived, checkpoints) = mpsc::channel(QUEUE);
        let halt = CancellationToken::new();
        let mut taken = Vec::new();
        let mut progress = Vec::new();
        for _ in &states {
            let (sender, receiver) = watch::channel(start.0);
            taken.push(sender);
            progress.push(receiver);
        }
        let shards = (0..states.len()).map(|place| self.shards(place)).collect();
        let attempt = Attempt { number: attempt(), start, shards, progress, arrived, halt: halt.clone() };
        let mut tasks = Tasks::new();
        for ((place, trained), taken) in states.into_iter().enumerate().zip(taken) {
            self.open(&mut tasks, &attempt, place, trained, taken).await?;
        }
        drop(attempt);
        self.follow(tasks, checkpoints, newcomer, halt).await
    }

    /// Who has which part of a member.
    fn shards(&self, place: usize) -> Vec<wire::Shard> {
        let Self { plan, phase, assignment, .. } = self;
        let stage = plan.stage(&phase.members[place]);
        let group = (stage.layer, &assignment.groups[place][..]);
        shards(&plan.parts(stage), assignment.grids[place], group, &self.rates)
    }

    /// Opens the training stream of a member, which tells how many steps it has `taken`.
    async fn open(
        &self,
        tasks: &mut Tasks,
        attempt: &Attempt,
        place: usize,
        TrainedLayer { state, carried }: TrainedLayer,
        taken: watch::Sender<u64>,
    ) -> Result<(), PhaseError> {
        let Self { plan, phase, assignment, .. } = self;
        let Attempt { start, progress, arrived, halt, .. } = attempt;
        let member = &phase.members[place];
        let stage = plan.stage(member);
        let group = &assignment.groups[place];
        let trainer = &group[0];
        let bytes_sent = Arc::new(AtomicU64::new(carried.bytes_sent));
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let batches = self.batches(tasks, place, attempt, &bytes_sent);
        let shards = attempt.group(place);
        let states = States::new(stage.spec.map, sharers(&plan.parts(stage), shards, group));
        let begin = self.begin(place, attempt);
        let end = Arc::new(AtomicU64::new(phase.steps.end));
        let under_way = Arc::new(UnderWay::new());
        let course = Course {
            from: *start,
            checkpoint_every: plan.checkpoint_every,
            end: end.clone(),
            under_way: under_way.clone(),
            halt: (place == 0).then(|| halt.clone()),
            above: progress.get(place + 1).cloned(),
        };
        // A call returns once the worker has read `begin`, so its sending must already be under way.
        tasks.spawn({
            let bytes_sent = bytes_sent.clone();
            async move {
                // A closed channel means that the worker ended the call; its reply says why.
                let _ = send(begin, state, batches, course, &requests, &bytes_sent).await;
                Ok(())
            }
        });
        let mut client = trainer.client();
        let opened = client.train(ReceiverStream::new(outgoing));
        let opened = tokio::time::timeout(trainer.connection.silence().duration(), opened).await;
        let replies = opened.map_err(|_| WorkerFailure::late(trainer))?;
        let replies = replies.map_err(|status| WorkerFailure::of(trainer, &status))?.into_inner();
        let feeders = place.checked_sub(1).map_or(&[][..], |below| &assignment.groups[below][..]);
        let listener = Listener {
            trainer: trainer.clone(),
            awaited: group.iter().chain(feeders).cloned().collect(),
            under_way,
            place,
            stage: stage.clone(),
            end,
            reached: *start,
            replies,
            reporter: Reporter::new(plan, stage, *start, carried),
            events: self.events.clone(),
            bytes_sent,
            began: Stopwatch::start(),
            seconds_before: carried.seconds,
            states,
            paces: BTreeMap::new(),
            slow_told: false,
            rates: self.rates.clone(),
            checkpoint_every: plan.checkpoint_every,
            ready: false,
            trains_alone: member.trains_alone(),
            taken,
            arrived: arrived.clone(),
        };
        tasks.spawn(listener.listen());
        Ok(())
    }

    /// Keeps the checkpoints of members at work, and returns the states after the last step.
    async fn follow(
        self,
        mut tasks: Tasks,
        mut checkpoints: mpsc::Receiver<Arrived>,
        mut newcomer: Newcomer,
        halt: CancellationToken,
    ) -> Result<Vec<TrainedLayer>, PhaseError> {
        let mut leavers = self.leavers();
        let mut left = None;
        let Self { plan, phase, dir, events, stop, .. } = self;
        let mut pending: BTreeMap<Step, Vec<Option<TrainedLayer>>> = BTreeMap::new();
        let mut come = None;
        loop {
            let arrived = tokio::select! {
                biased;
                arrived = checkpoints.recv() => arrived,
                Some(task) = tasks.join_next() => {
                    task.expect("senders and listeners do not panic")?;
                    continue;
                }
                address = &mut newcomer, if come.is_none() => {
                    come = Some(address);
                    continue;
                }
                Some(Ok(leaver)) = leavers.join_next() => {
                    left.get_or_insert(leaver);
                    halt.cancel();
                    continue;
                }
                () = stop.wait(), if !halt.is_cancelled() => {
                    halt.cancel();
                    continue;
                }
            };
            let Some(Arrived { place, trained }) = arrived else {
                // All listeners have ended before the last step: one with an error, or all since there was a halt.
                while let Some(task) = tasks.join_next().await {
                    task.expect("senders and listeners do not panic")?;
                }
                return Err(match left {
                    Some(Worker { id, address, .. }) => PhaseError::Left { id, address },
                    None => Stopped.into(),
                });
            };
            let step = trained.state.step;
            let set = pending.entry(step).or_insert_with(|| phase.members.iter().map(|_| None).collect());
            set[place] = Some(trained);
            if set.iter().any(Option::is_none) {
                continue;
            }
            let set: Vec<TrainedLayer> =
                pending.remove(&step).expect("just filled").into_iter().flatten().collect();
            if step.0 >= phase.steps.end {
                return Ok(set);
            }
            // Writing takes milliseconds and the next batches are on their way already.
            tokio::task::block_in_place(|| save_checkpoint(plan, phase, dir, &set))?;
            let layers = phase.members.iter().map(|member| member.layer).collect();
            events.tell(&Event::Checkpoint { layers, step })?;
            // In a halt the last steps are yet to come.
            if let Some(address) = come.take_if(|_| !halt.is_cancelled()) {
                return Err(PhaseError::Newcomer { address });
            }
        }
    }

    /// Those who take part and are about to end, as they say so.
    fn leavers(&self) -> JoinSet<Worker> {
        let Assignment { groups, transformers, .. } = &self.assignment;
        let all = groups.iter().flatten().chain(transformers);
        let distinct: BTreeMap<_, &Worker> = all.map(|worker| (worker.id, worker)).collect();
        let leaving = |worker: Worker| async move {
            worker.connection.leaving().await;
            worker
        };
        distinct.into_values().cloned().map(leaving).collect()
    }

    /// The batches of a member, with the rows that arrive with them; the tasks that prepare them are added to `tasks`.
    fn batches(
        &self,
        tasks: &mut Tasks,
        place: usize,
        attempt: &Attempt,
        bytes_sent: &Arc<AtomicU64>,
    ) -> mpsc::Receiver<Job<wire::Batch>> {
        let Self { plan, phase, assignment, .. } = self;
        let member = &phase.members[place];
        let stage = plan.stage(member);
        let steps = attempt.start.0..phase.steps.end;
        let order = Order::new(plan, stage);
        let (jobs, mut batches) = mpsc::channel(QUEUE);
        if let Some(below) = place.checked_sub(1) {
            let member = &phase.members[below];
            let positives = member.pass_on == PassOn::Positives;
            let order_below = positives.then(|| Order::new(plan, plan.stage(member)));
            let below = Below { order: order_below, taken: attempt.progress[below].clone() };
            tasks.spawn(async move {
                live_batches(order, steps, below, &jobs).await;
                Ok(())
            });
            return batches;
        }
        let source = BatchSource {
            order,
            ledger: Ledger::new(kept_bytes(member, &assignment.groups[place])),
            views: self.views.clone(),
            precision: plan.precision,
            elements: stage.elements,
            row_bytes: plan.widest(stage) * plan.precision.bytes(),
        };
        tasks.spawn_blocking(move || Ok(source.produce(steps, &jobs)?));
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
            let back = back(plan, stage);
            tasks.spawn(
                async move { Ok(through(&workers, &begin, back, jobs, transformed, &bytes_sent).await?) },
            );
        }
        batches
    }
}

/// How many bytes of activations each of a member's trainers keeps: what is passed on is new in every step.
pub fn kept_bytes(member: &Member, group: &[Worker]) -> u64 {
    if member.live {
        return 0;
    }
    group.iter().map(|worker| worker.description.cache_bytes).min().unwrap_or(0)
}

/// Keeps the states of a phase's members, which have taken as many steps.
pub fn save_checkpoint(
    plan: &Plan,
    phase: &Phase,
    dir: &RunDir,
    set: &[TrainedLayer],
) -> Result<(), RunDirError> {
    let layers: Vec<_> = phase.members.iter().map(|member| member.layer).zip(set).collect();
    dir.save_checkpoint(plan.schedule, &layers)
}

/// A number that no other attempt of this run has: sittings follow each other in time.
fn attempt() -> u64 {
    nanoseconds_since_1970() as u64
}

/// How long activations at a stage's cut point are.
fn back(plan: &Plan, stage: &Stage) -> Back {
    match plan.lengths {
        Lengths::Alike => Back::Alike(plan.row_bytes(stage) as usize),
        Lengths::Frames { .. } => {
            let frames = plan.shape.height;
            Back::Frames { sent: plan.shape.len() / frames, back: stage.elements / frames }
        }
    }
}
