//! A run: carries out what the [`crate::schedule`] commands.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use proto::state::weights_sha256;
use scff::batch::{Epoch, LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::LayerState;
use scff::seed::Purpose;

use crate::cluster::{Place, Worker, WorkerId};
use crate::config::{Config, Shards, TrainingSchedule};
use crate::features::FeaturesError;
use crate::phase::{Assignment, PhaseError, PhaseRun, WorkerRates, save_checkpoint};
use crate::plan::{Phase, Plan, Stage};
use crate::readout::ReadoutError;
use crate::run_dir::{Carried, FrozenLayerFile, RunDir, RunDirError, TrainedLayer};
use crate::schedule::{Command, Event, Schedule, Task};
use crate::sitting::{Sitting, Surroundings};
use crate::split::{prepare, split};
use crate::stream::Views;
use crate::summary::{LayerSummary, ReadoutSummary, Summary};

/// Trains all layers and the readout, in `out`; continues what is there of the same configuration.
pub async fn run(config: &Config, out: &Path, surroundings: &Surroundings) -> anyhow::Result<Summary> {
    let (plan, set) = prepare(config, &surroundings.data)?;
    let dir = RunDir::open(out, config)?;
    if let Some(summary) = dir.summary()? {
        eprintln!("{}: this run is finished", out.display());
        return Ok(summary);
    }
    let splits = split(&plan, set);
    let sitting = Sitting::new(plan, splits, dir, surroundings)?;
    Run::new(sitting, surroundings).go().await
}

struct Run {
    sitting: Sitting,
    views: Views,
    /// How many workers share each layer, whatever its configuration says.
    shards: Option<Shards>,
    /// Whether workers are processes of this machine.
    local: bool,
    /// How fast workers have been.
    rates: WorkerRates,
}

impl Run {
    fn new(sitting: Sitting, surroundings: &Surroundings) -> Self {
        let Sitting { plan, splits, .. } = &sitting;
        Self {
            views: Views { examples: splits.layers.clone(), augmentation: plan.augmentation },
            sitting,
            shards: surroundings.shards,
            local: matches!(surroundings.place, Place::Local(_)),
            rates: WorkerRates::default(),
        }
    }

    /// A stage as the schedule sees it.
    fn task(&self, stage: &Stage) -> Task {
        let parts = self.sitting.plan.parts(stage).len();
        let shards = match self.shards.or(stage.shards).unwrap_or(Shards::Auto) {
            Shards::AtMost(number) => parts.min(usize::from(number)),
            Shards::Auto if self.local => 1,
            Shards::Auto => parts,
        };
        Task { layer: stage.layer, operations: self.sitting.plan.operations(stage), shards }
    }

    async fn go(mut self) -> anyhow::Result<Summary> {
        let tasks = |phase: &Phase| {
            phase.members.iter().map(|member| self.task(self.sitting.plan.stage(member))).collect::<Vec<_>>()
        };
        let mut schedule = Schedule::new(self.sitting.plan.phases.iter().map(tasks).collect());
        let frozen = self.sitting.frozen.iter().flatten().count();
        if frozen > 0 {
            eprintln!("{}: continuing after {frozen} frozen layer(s)", self.sitting.dir.path().display());
        }
        let mut event = Event::Started { over: self.sitting.over };
        let mut readout = None;
        loop {
            event = match schedule.handle(event) {
                Command::Gather => self.gather().await?,
                Command::Train { phase, groups, transformers } => {
                    match self.train(phase, &groups, &transformers).await {
                        Ok(()) => Event::PhaseOver,
                        Err(error) => self.failed(error, Some(phase))?,
                    }
                }
                Command::ReadOut { transformers } => match self.final_readout(&transformers).await {
                    Ok(summary) => {
                        readout = Some(summary);
                        Event::ReadOut
                    }
                    Err(error) => self.failed(error, None)?,
                },
                Command::Finish => {
                    return self.finish(readout.expect("the readout comes before the finish")).await;
                }
                Command::GiveUp { reason } => bail!("{reason}"),
            };
        }
    }

    async fn gather(&mut self) -> anyhow::Result<Event> {
        let workers = self.sitting.gather().await?;
        Ok(Event::Gathered(workers.iter().map(|worker| worker.id).collect()))
    }

    /// Lets go of a worker that failed, and tells the schedule how far the phase at hand has come.
    fn failed(&mut self, error: PhaseError, phase: Option<usize>) -> anyhow::Result<Event> {
        let failure = match error {
            PhaseError::Worker(failure) => failure,
            PhaseError::RunDir(error) => return Err(error.into()),
            PhaseError::Sample(error) => return Err(error.into()),
            PhaseError::Readout(error) => return Err(error.into()),
            PhaseError::Newcomer { address } => {
                eprintln!("{address}: a worker has come; going on with it from the checkpoint");
                return Ok(Event::Newcomer);
            }
        };
        self.sitting.cluster.forget(failure.id);
        let reached = match phase {
            Some(phase) => {
                let Plan { schedule, phases, .. } = &self.sitting.plan;
                let first = phases[phase].members[0].layer;
                self.sitting.dir.checkpoint_step(*schedule, first)?.unwrap_or(Step(0))
            }
            None => Step(0),
        };
        if failure.passing {
            tracing::warn!("{failure}; trying again from step {}", reached.0);
        }
        Ok(Event::Failed { reached, passing: failure.passing, reason: failure.to_string() })
    }

    /// Where the members of a phase stand: at their checkpoint, or at its beginning.
    fn states(&self, phase: usize) -> Result<Vec<TrainedLayer>, RunDirError> {
        let Plan { schedule, stages, phases, .. } = &self.sitting.plan;
        let members = &phases[phase].members;
        let checkpoint = self.sitting.dir.checkpoint(*schedule, members[0].layer, stages)?;
        let mut found = checkpoint.map(|checkpoint| checkpoint.layers).unwrap_or_default();
        Ok(members
            .iter()
            .map(|member| {
                found.remove(&member.layer).unwrap_or_else(|| TrainedLayer {
                    state: initial_state(&self.sitting.plan, self.sitting.plan.stage(member)),
                    carried: Carried::default(),
                })
            })
            .collect())
    }

    async fn train(
        &mut self,
        index: usize,
        groups: &[Vec<WorkerId>],
        transformers: &[WorkerId],
    ) -> Result<(), PhaseError> {
        self.sitting.host().await?;
        let states = self.states(index)?;
        let phase = self.sitting.plan.phases[index].clone();
        let assignment = Assignment {
            groups: groups.iter().map(|group| self.sitting.workers(group)).collect(),
            transformers: self.sitting.workers(transformers),
        };
        let Step(step) = states[0].state.step;
        for (member, group) in phase.members.iter().zip(&assignment.groups) {
            let trainer = group.iter().map(Worker::to_string).collect::<Vec<_>>().join(", ");
            let (name, end) = (&self.sitting.plan.stage(member).spec.name, phase.steps.end);
            if step > 0 {
                eprintln!("{name}: continuing at step {step} of {end} on {trainer}");
            } else {
                eprintln!("{name}: {end} steps on {trainer}");
            }
        }
        let layers = |which: &dyn Fn(LayerIndex) -> bool| -> Vec<LayerIndex> {
            self.sitting.plan.stages.iter().map(|stage| stage.layer).filter(|layer| which(*layer)).collect()
        };
        let training = layers(&|layer| phase.members.iter().any(|member| member.layer == layer));
        let frozen = layers(&|layer| self.sitting.plan.frozen_before(layer, index));
        self.sitting.dir.rewind_metrics(&frozen, &training, Step(step))?;
        let run = PhaseRun {
            plan: &self.sitting.plan,
            phase: &phase,
            run: self.sitting.cluster.run(),
            dir: &self.sitting.dir,
            views: &self.views,
            assignment,
            rates: self.rates.clone(),
        };
        // Worth stopping for where the layer could be shared by more than share it.
        let wanted = phase.members.len() == 1
            && phase
                .members
                .iter()
                .zip(groups)
                .any(|(member, group)| group.len() < self.task(self.sitting.plan.stage(member)).shards);
        let newcomer =
            if wanted { self.sitting.cluster.newcomer() } else { Box::pin(std::future::pending()) };
        let trained = run.train(states, newcomer).await?;
        self.end_phase(index, trained).await?;
        Ok(())
    }

    /// Freezes the layers whose training is over, and keeps the states of the others.
    async fn end_phase(&mut self, index: usize, trained: Vec<TrainedLayer>) -> Result<(), RunDirError> {
        let Sitting { plan, dir, frozen, .. } = &mut self.sitting;
        let mut going_on = Vec::new();
        let members = &plan.phases[index].members;
        for (member, trained) in members.iter().zip(trained) {
            let stage = plan.stage(member);
            if trained.state.step < stage.steps() {
                going_on.push(trained);
                continue;
            }
            let summary = layer_summary(plan, stage, &trained);
            let layer = FrozenLayer::new(stage.spec.clone(), trained.state.parameters)
                .expect("checked when it came in");
            let file = FrozenLayerFile { layer: Arc::new(layer), summary };
            dir.save_frozen(stage.layer, &file)?;
            frozen[stage.layer.0 as usize] = Some(file);
        }
        // Frozen layers first: whoever is interrupted in between takes the last steps again, to the same bits.
        match plan.phases.get(index + 1) {
            Some(next) if !going_on.is_empty() => save_checkpoint(plan, next, dir, &going_on)?,
            _ => dir.drop_checkpoint(plan.schedule, members[0].layer)?,
        }
        self.sitting.note_memory().await
    }

    async fn final_readout(&mut self, transformers: &[WorkerId]) -> Result<ReadoutSummary, PhaseError> {
        self.sitting.host().await?;
        let layers = self.sitting.frozen.iter().flatten().map(|frozen| &*frozen.layer);
        self.sitting.dir.save_model(&layers.collect::<Vec<_>>())?;
        let taps = self.sitting.taps(self.sitting.plan.stages.iter().map(|stage| stage.tapped).collect());
        let done = self.sitting.read_out(&self.sitting.workers(transformers), &taps).await;
        let (parameters, summary) = done.map_err(|error| match error {
            ReadoutError::Features(FeaturesError::Worker(failure)) => failure.into(),
            error => PhaseError::Readout(error),
        })?;
        self.sitting.dir.save_readout(&parameters)?;
        Ok(summary)
    }

    async fn finish(mut self, readout: ReadoutSummary) -> anyhow::Result<Summary> {
        self.sitting.note_memory().await?;
        let Sitting { plan, dir, identity, cluster, frozen, .. } = self.sitting;
        let workers = cluster.workers();
        let frozen: Vec<FrozenLayerFile> = frozen.into_iter().flatten().collect();
        let seconds = frozen.iter().map(|frozen| frozen.summary.seconds);
        let training = match plan.schedule {
            TrainingSchedule::Greedy => seconds.sum(),
            // All began together.
            TrainingSchedule::Joint => seconds.fold(0.0, f64::max),
        };
        let summary = Summary {
            dataset: plan.data.to_string(),
            seed: plan.seed.0,
            workers: workers.len(),
            weights_sha256: weights_sha256(frozen.iter().map(|frozen| frozen.layer.parameters())),
            seconds: training + readout.seconds,
            layers: frozen.into_iter().map(|frozen| frozen.summary).collect(),
            readout,
            blas: identity.blas,
            cpu: workers.first().map(|worker| worker.description.cpu.clone()).unwrap_or_default(),
            peak_rss_bytes: identity.peak_rss_bytes,
        };
        dir.save_summary(&summary).context("the run is done, but its summary is not written")?;
        Ok(summary)
    }
}

fn layer_summary(plan: &Plan, stage: &Stage, TrainedLayer { state, carried }: &TrainedLayer) -> LayerSummary {
    let steps = stage.steps().0;
    LayerSummary {
        name: stage.spec.name.clone(),
        epochs: stage.epochs,
        steps,
        seconds: carried.seconds,
        samples_per_second: steps as f64 * plan.batch as f64 / carried.seconds.max(f64::MIN_POSITIVE),
        goodness_pos: carried.goodness_pos,
        goodness_neg: carried.goodness_neg,
        waiting_seconds: carried.waiting_seconds,
        bytes_sent: carried.bytes_sent,
        bytes_exchanged: carried.bytes_exchanged,
        bytes_forwarded: carried.bytes_forwarded,
        weights_sha256: weights_sha256([&state.parameters]),
    }
}

fn initial_state(plan: &Plan, stage: &Stage) -> LayerState {
    let mut random = plan.seed.stream(Purpose::Initialization, stage.layer, Epoch(0), Step(0));
    LayerState::initial(&stage.spec.map, &mut random)
}
