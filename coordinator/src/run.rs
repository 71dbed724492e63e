//! A run: carries out what the [`crate::schedule`] commands.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use proto::observe::Observed;
use proto::refusal::Reason;
use proto::state::weights_sha256;
use scff::batch::{Epoch, LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::LayerState;
use scff::seed::Purpose;
use source::DataSet;

use crate::benchmarks::Benchmarks;
use crate::cluster::{Discovery, Worker, WorkerFailure};
use crate::config::{Config, Shards, TrainingSchedule};
use crate::estimate::{Benchmark, Network, Rates, task};
use crate::event_log::teller;
use crate::events::{Event, Events, LayerStarted, Listener};
use crate::features::FeaturesError;
use crate::links::Links;
use crate::location::Location;
use crate::meters::Meters;
use crate::metrics_log::MetricsLog;
use crate::phase::{Assignment, PhaseError, PhaseRun, WorkerRates, save_checkpoint};
use crate::plan::{Member, Phase, Plan, Stage};
use crate::readout::ReadoutError;
use crate::retries::Retries;
use crate::run_dir::{FrozenLayerFile, RunDir, RunDirError, TrainedLayer};
use crate::schedule::{Command, Outcome, Schedule, Task, wants_another};
use crate::sitting::{Sitting, Surroundings};
use crate::split::{prepare, split};
use crate::stop::{Stop, Stopped};
use crate::stream::Views;
use crate::summary::{LayerSummary, ReadoutSummary, Summary, WithoutLabels};
use crate::totals::Carried;
use crate::worker_id::WorkerId;

/// Trains all layers and the readout, in `out`; continues what is there of the same configuration.
pub async fn run(config: &Config, out: &Location, surroundings: &Surroundings) -> anyhow::Result<Summary> {
    let prepared = prepare(config, &surroundings.data)?;
    let dir = Arc::new(RunDir::open(out, config, surroundings.patience)?);
    let released = dir.clone();
    surroundings.stop.before_leaving(move || released.release());
    let done = run_in(dir.clone(), prepared, surroundings).await;
    dir.release();
    done
}

/// The same in a directory that is this run's.
async fn run_in(
    dir: Arc<RunDir>,
    (plan, set): (Plan, DataSet),
    surroundings: &Surroundings,
) -> anyhow::Result<Summary> {
    let mut listeners: Vec<Box<dyn Listener>> = vec![Box::new(MetricsLog::new(dir.clone())), teller()];
    if let Some(address) = surroundings.metrics {
        let observed = Observed::new();
        let shown = observed.clone().show(address).await;
        shown.with_context(|| format!("showing metrics on {address}"))?;
        listeners.push(Box::new(Meters::new(observed)));
    }
    let events = Events::new(listeners);
    if let Some(summary) = dir.summary()? {
        events.tell(&Event::Finished {
            run_dir: dir.place().clone(),
            summary: Box::new(summary.clone()),
            before: true,
        })?;
        return Ok(summary);
    }
    dir.keep_manifest(&set.record.manifest()?)?;
    let splits = split(&plan, set)?;
    dir.keep_input(&splits.input)?;
    let sitting = Sitting::new(plan, splits, dir, surroundings, events)?;
    Run::new(sitting, surroundings).go().await
}

/// What the frozen layers are measured by.
enum Measured {
    /// The linear classifier on their features.
    ByReadout(ReadoutSummary),
    /// What needs no labels.
    WithoutLabels(WithoutLabels),
}

struct Run {
    sitting: Sitting,
    views: Views,
    /// How many workers share each layer, whatever its configuration says.
    shards: Option<Shards>,
    /// Whether workers are processes of this machine.
    local: bool,
    /// Whether they are measured.
    measures: bool,
    /// The links to them, and how fast they compute.
    links: Links,
    benchmarks: Benchmarks,
    /// What lies between the workers that have gathered, and how fast the slowest of them is.
    network: Network,
    slowest: Benchmark,
    /// How fast workers have been.
    rates: WorkerRates,
    /// How often what fails is tried again.
    retries: Retries,
    /// Whether to end early.
    stop: Stop,
}

impl Run {
    fn new(sitting: Sitting, surroundings: &Surroundings) -> Self {
        let Sitting { plan, splits, .. } = &sitting;
        let local = matches!(surroundings.cluster.discovery, Discovery::Local(_));
        Self {
            views: Views { examples: splits.layers.clone(), augmentation: plan.augmentation },
            sitting,
            shards: surroundings.shards,
            local,
            measures: surroundings.measures && !local,
            links: Links::default(),
            benchmarks: Benchmarks::default(),
            network: if local { Network::LOCAL } else { Network::USUAL },
            slowest: Benchmark::USUAL,
            rates: WorkerRates::default(),
            retries: surroundings.retries,
            stop: surroundings.stop.clone(),
        }
    }

    /// A layer in training as the schedule sees it.
    fn task(&self, member: &Member) -> Task {
        let plan = &self.sitting.plan;
        let stage = plan.stage(member);
        let shards = match self.shards.or(stage.shards).unwrap_or(Shards::Auto) {
            Shards::Auto if self.local && member.trains_alone() => Shards::AtMost(1),
            shards => shards,
        };
        task(plan, member, &Rates::by(self.slowest, plan), self.network, shards)
    }

    /// Those of each phase, by the workers that have gathered and over their links.
    fn tasks(&self) -> Vec<Vec<Task>> {
        let tasks = |phase: &Phase| phase.members.iter().map(|member| self.task(member)).collect();
        self.sitting.plan.phases.iter().map(tasks).collect()
    }

    async fn go(mut self) -> anyhow::Result<Summary> {
        let mut schedule = Schedule::new(self.tasks(), self.retries.tries);
        let frozen = self.sitting.frozen.iter().flatten().count();
        self.tell(&Event::Started { run_dir: self.sitting.dir.place().clone(), frozen })?;
        let mut outcome = Outcome::Started { over: self.sitting.over };
        let mut measured = None;
        loop {
            outcome = match schedule.handle(outcome) {
                Command::Gather { failures } => {
                    let gathered = self.gather(failures).await?;
                    schedule.time_anew(self.tasks());
                    gathered
                }
                Command::Train { phase, groups, transformers } => {
                    self.train_or_stop(phase, &groups, &transformers).await?
                }
                Command::ReadOut { transformers } => match self.measure(&transformers).await {
                    Ok(found) => {
                        measured = Some(found);
                        Outcome::ReadOut
                    }
                    Err(ReadoutError::Features(FeaturesError::Worker(failure))) => {
                        self.failed(failure, Step(0)).await?
                    }
                    Err(error) => return Err(error.into()),
                },
                Command::Finish => {
                    return self.finish(measured.expect("measures come before the finish")).await;
                }
                Command::GiveUp { reason } => bail!("{reason}"),
            };
        }
    }

    fn tell(&self, event: &Event) -> Result<(), RunDirError> {
        self.sitting.events.tell(event)
    }

    async fn gather(&mut self, failures: u32) -> anyhow::Result<Outcome> {
        tokio::time::sleep(self.retries.pause(failures)).await;
        let workers = self.sitting.gather().await?;
        if self.measures {
            self.measure_workers(&workers).await?;
        }
        Ok(Outcome::Gathered(workers.iter().map(|worker| worker.id).collect()))
    }

    /// Measures the links of workers that are new, one after the other, for they all begin at this machine's network card; then how fast all
    /// workers are.
    async fn measure_workers(&mut self, workers: &[Worker]) -> Result<(), RunDirError> {
        let mut links = HashMap::new();
        for worker in workers {
            if !self.links.is_known(worker.id) {
                links.insert(worker.id, self.links.measure(worker).await);
            }
        }
        let news = self.benchmarks.measure(workers).await;
        for worker in workers {
            let link = links.remove(&worker.id).flatten();
            let benchmark = self.benchmarks.of(worker.id).filter(|_| news.contains(&worker.id));
            if link.is_some() || benchmark.is_some() {
                self.tell(&Event::WorkerMeasured { worker: worker.address.clone(), link, benchmark })?;
            }
        }
        let all = || workers.iter().map(|worker| worker.id);
        (self.network, self.slowest) = (self.links.slowest(all()), self.benchmarks.slowest(all()));
        Ok(())
    }

    /// Carries a phase on, to its end or until the run is to stop, which is an error.
    async fn train_or_stop(
        &mut self,
        phase: usize,
        groups: &[Vec<WorkerId>],
        transformers: &[WorkerId],
    ) -> anyhow::Result<Outcome> {
        if let Err(failure) = self.sitting.host().await {
            return Ok(self.failed(failure, self.reached(phase)?).await?);
        }
        let at_work = self.stop.at_work();
        let trained = self.train(phase, groups, transformers).await;
        self.tell(&Event::PhaseEnded)?;
        let outcome = match trained {
            Ok(()) => Some(Outcome::PhaseOver),
            Err(PhaseError::Worker(failure)) => Some(self.failed(failure, self.reached(phase)?).await?),
            Err(PhaseError::Newcomer { address }) => {
                self.tell(&Event::WorkerCame { address })?;
                Some(Outcome::Regrouping)
            }
            Err(PhaseError::Left { id, address }) => {
                self.sitting.cluster.forget(id);
                self.tell(&Event::WorkerLeft { address, step: self.reached(phase)? })?;
                Some(Outcome::Regrouping)
            }
            Err(PhaseError::RunDir(error)) => return Err(error.into()),
            Err(PhaseError::Sample(error)) => return Err(error.into()),
            Err(PhaseError::Stopped(_)) => None,
        };
        drop(at_work);
        match outcome {
            Some(outcome) if !self.stop.asked() => Ok(outcome),
            outcome => {
                let over = matches!(outcome, Some(Outcome::PhaseOver));
                self.stopped(if over { phase + 1 } else { phase })
            }
        }
    }

    /// Lets go of a worker that failed; the task at hand is tried again from a step on.
    async fn failed(&mut self, failure: WorkerFailure, reached: Step) -> Result<Outcome, RunDirError> {
        self.sitting.cluster.give_up(&failure).await;
        let (passing, reason) = (failure.passing, failure.to_string());
        if failure.reason == Reason::Closing {
            self.tell(&Event::WorkerLeft { address: failure.address, step: reached })?;
            return Ok(Outcome::Regrouping);
        }
        if passing {
            self.tell(&Event::WorkerLost { failure, again_from: reached })?;
        }
        Ok(Outcome::Failed { reached, passing, reason })
    }

    /// The step of a phase's checkpoint.
    fn reached(&self, phase: usize) -> Result<Step, RunDirError> {
        let Sitting { plan, dir, .. } = &self.sitting;
        let first = plan.phases[phase].members[0].layer;
        Ok(dir.checkpoint_step(plan.schedule, first)?.unwrap_or(Step(plan.phases[phase].steps.start)))
    }

    /// Says where the run stands, in `phase`.
    fn stopped(&self, phase: usize) -> anyhow::Result<Outcome> {
        let plan = &self.sitting.plan;
        let (layers, step) = match plan.phases.get(phase) {
            Some(Phase { members, .. }) => {
                let name = |member| plan.stage(member).spec.name.clone();
                (members.iter().map(name).collect(), self.reached(phase)?)
            }
            None => (Vec::new(), Step(0)),
        };
        self.tell(&Event::Stopped { layers, step })?;
        Err(Stopped.into())
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
        let states = self.states(index)?;
        let start = states[0].state.step;
        let Sitting { plan, dir, cluster, events, .. } = &self.sitting;
        let phase = &plan.phases[index];
        let layers = |which: &dyn Fn(LayerIndex) -> bool| -> Vec<LayerIndex> {
            plan.stages.iter().map(|stage| stage.layer).filter(|layer| which(*layer)).collect()
        };
        let training = layers(&|layer| phase.members.iter().any(|member| member.layer == layer));
        let frozen = layers(&|layer| plan.frozen_before(layer, index));
        dir.rewind_metrics(&frozen, &training, start)?;
        let grid = |(member, group): (&Member, &Vec<WorkerId>)| self.task(member).grids.best(group.len());
        let assignment = Assignment {
            grids: phase.members.iter().zip(groups).map(grid).collect(),
            groups: groups.iter().map(|group| self.sitting.workers(group)).collect(),
            transformers: self.sitting.workers(transformers),
        };
        events.tell(&phase_started(plan, phase, &assignment, start))?;
        let tasks: Vec<Task> = phase.members.iter().map(|member| self.task(member)).collect();
        let wanted = wants_another(&tasks, groups, transformers);
        let newcomer = if wanted { cluster.newcomer() } else { Box::pin(std::future::pending()) };
        let run = PhaseRun {
            plan,
            phase,
            run: cluster.run(),
            dir,
            views: &self.views,
            assignment,
            rates: self.rates.clone(),
            events,
            stop: &self.stop,
        };
        let trained = run.train(states, newcomer).await?;
        Ok(self.end_phase(index, trained).await?)
    }

    /// Freezes the layers whose training is over, and keeps the states of the others.
    async fn end_phase(&mut self, index: usize, trained: Vec<TrainedLayer>) -> Result<(), RunDirError> {
        let Sitting { plan, dir, frozen, events, .. } = &mut self.sitting;
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
            events.tell(&Event::LayerFrozen { layer: stage.layer, summary: file.summary.clone() })?;
            frozen[stage.layer.0 as usize] = Some(file);
        }
        // Frozen layers first: whoever is interrupted in between takes the last steps again, to the same bits.
        match plan.phases.get(index + 1) {
            Some(next) if !going_on.is_empty() => save_checkpoint(plan, next, dir, &going_on)?,
            _ => dir.drop_checkpoint(plan.schedule, members[0].layer)?,
        }
        self.sitting.note_memory().await
    }

    /// Writes the model, and measures it by a readout or, where there is none, without labels.
    async fn measure(&mut self, transformers: &[WorkerId]) -> Result<Measured, ReadoutError> {
        self.sitting.host().await.map_err(FeaturesError::from)?;
        let Sitting { plan, dir, frozen, .. } = &self.sitting;
        let read = plan.tapped();
        dir.save_model(&frozen.iter().flatten().map(|frozen| &*frozen.layer).collect::<Vec<_>>(), &read)?;
        let workers = self.sitting.workers(transformers);
        let Some(spec) = plan.readout else {
            return Ok(Measured::WithoutLabels(self.sitting.look_without_labels(&workers).await?));
        };
        let taps = self.sitting.taps(plan.stages.iter().map(|stage| stage.tapped).collect());
        let (parameters, summary) = self.sitting.read_out((&workers, true), &taps, spec).await?;
        dir.save_readout(&parameters, &read)?;
        Ok(Measured::ByReadout(summary))
    }

    async fn finish(mut self, measured: Measured) -> anyhow::Result<Summary> {
        self.sitting.note_memory().await?;
        let Sitting { plan, dir, identity, cluster, frozen, events, .. } = self.sitting;
        let workers = cluster.workers();
        let frozen: Vec<FrozenLayerFile> = frozen.into_iter().flatten().collect();
        let seconds = frozen.iter().map(|frozen| frozen.summary.seconds);
        let training = match plan.schedule {
            TrainingSchedule::Greedy => seconds.sum(),
            // All began together.
            TrainingSchedule::Joint => seconds.fold(0.0, f64::max),
        };
        let (readout, without_labels) = match measured {
            Measured::ByReadout(summary) => (Some(summary), None),
            Measured::WithoutLabels(measures) => (None, Some(measures)),
        };
        let measuring = readout.as_ref().map(|readout| readout.seconds);
        let measuring = measuring.or(without_labels.as_ref().map(|measures| measures.seconds));
        let summary = Summary {
            dataset: plan.data.to_string(),
            seed: plan.seed.0,
            workers: workers.len(),
            weights_sha256: weights_sha256(frozen.iter().map(|frozen| frozen.layer.parameters())),
            seconds: training + measuring.unwrap_or(0.0),
            layers: frozen.into_iter().map(|frozen| frozen.summary).collect(),
            readout,
            without_labels,
            blas: identity.blas,
            cpu: workers.first().map(|worker| worker.description.cpu.clone()).unwrap_or_default(),
            peak_rss_bytes: identity.peak_rss_bytes,
        };
        dir.save_summary(&summary).context("the run is done, but its summary is not written")?;
        let run_dir = dir.place().clone();
        events.tell(&Event::Finished { run_dir, summary: Box::new(summary.clone()), before: false })?;
        Ok(summary)
    }
}

fn phase_started(plan: &Plan, phase: &Phase, assignment: &Assignment, from: Step) -> Event {
    let started = |(member, group): (&Member, &Vec<Worker>)| {
        let stage = plan.stage(member);
        LayerStarted {
            layer: stage.layer,
            name: stage.spec.name.clone(),
            from,
            until: Step(phase.steps.end),
            epochs: stage.epochs,
            steps: stage.steps(),
            trainers: group.iter().map(Worker::to_string).collect(),
        }
    };
    Event::PhaseStarted { layers: phase.members.iter().zip(&assignment.groups).map(started).collect() }
}

fn layer_summary(plan: &Plan, stage: &Stage, TrainedLayer { state, carried }: &TrainedLayer) -> LayerSummary {
    let steps = stage.steps().0;
    LayerSummary {
        name: stage.spec.name.clone(),
        algorithm: stage.spec.map.algorithm(),
        epochs: stage.epochs,
        steps,
        seconds: carried.seconds,
        samples_per_second: steps as f64 * plan.batch as f64 / carried.seconds.max(1e-9),
        last: carried.reported.means(),
        spent: carried.all.spent,
        bytes_sent: carried.bytes_sent,
        weights_sha256: weights_sha256([&state.parameters]),
    }
}

/// A layer before its first step.
pub fn initial_state(plan: &Plan, stage: &Stage) -> LayerState {
    let mut random = plan.seed.stream(Purpose::Initialization, stage.layer, Epoch(0), Step(0));
    LayerState::initial(&stage.spec.map, &mut random)
}
