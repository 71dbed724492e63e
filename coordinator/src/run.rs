//! A run: carries out what the [`crate::schedule`] commands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use proto::state::weights_sha256;
use scff::batch::{Epoch, LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::LayerState;
use scff::seed::{NO_LAYER, Purpose, permutation};

use crate::cluster::{Cluster, HostedLayer, LocalOptions, Place, Worker, WorkerFailure, WorkerId, kernel};
use crate::config::{Config, Shards, TrainingSchedule};
use crate::phase::{Assignment, PhaseError, PhaseRun, Trained, WorkerRates, save_checkpoint};
use crate::plan::{Phase, Plan, Stage};
use crate::readout::{LayerTaps, ReadoutError, Splits, Taps, read_out};
use crate::run_dir::{Carried, Frozen, RunDir, RunDirError, RunIdentity};
use crate::schedule::{Command, Event, Schedule, Task};
use crate::stream::Views;
use crate::summary::{LayerSummary, ReadoutSummary, Summary};
use source::{self, DataSet, Examples};

/// Where a run finds things.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The folder of data sets.
    pub data: PathBuf,
    /// The workers.
    pub place: Place,
    /// How local workers are started.
    pub local: LocalOptions,
    /// How long to wait for a first worker.
    pub patience: Duration,
    /// How many workers share each layer, whatever its configuration says.
    pub shards: Option<Shards>,
}

/// Loads the data set of a configuration and plans its run.
pub fn prepare(config: &Config, data: &Path) -> anyhow::Result<(Plan, DataSet)> {
    let set = source::load(config.data.name, data)?;
    let plan = Plan::new(config, set.train.shape(), set.training_samples())?;
    Ok((plan, set))
}

/// The training samples of a plan, and those that measure: held-out training samples, or else the test set.
pub fn split(plan: &Plan, set: DataSet) -> Splits {
    let DataSet { train, test, unlabeled, classes, .. } = set;
    let train = some_of(plan, train, plan.labelled_samples + plan.held_out);
    let unlabeled = unlabeled.map(|unlabeled| some_of(plan, unlabeled, plan.training_samples));
    let (train, measure) = if plan.held_out == 0 { (train, test) } else { hold_out(plan, &train) };
    let train = Arc::new(train);
    let layers = unlabeled.map_or_else(|| train.clone(), Arc::new);
    Splits {
        layers,
        train,
        flips: plan.augmentation.flips(),
        measure: Arc::new(measure),
        held_out: plan.held_out > 0,
        classes,
    }
}

/// The first `count` samples in a random order; all of them in their own order where there are no more.
fn some_of(plan: &Plan, examples: Examples, count: u32) -> Examples {
    if examples.len() == count as usize {
        return examples;
    }
    let mut random = plan.seed.stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(0));
    let order = permutation(&mut random, examples.len() as u32);
    examples.subset(&order[..count as usize])
}

/// The training samples that are kept, and those that are held out.
fn hold_out(plan: &Plan, train: &Examples) -> (Examples, Examples) {
    let mut random = plan.seed.stream(Purpose::HeldOut, NO_LAYER, Epoch(0), Step(0));
    let order = permutation(&mut random, train.len() as u32);
    let (held_out, kept) = order.split_at(plan.held_out as usize);
    (train.subset(kept), train.subset(held_out))
}

/// Trains all layers and the readout, in `out`; continues what is there of the same configuration.
pub async fn run(config: &Config, out: &Path, surroundings: &Surroundings) -> anyhow::Result<Summary> {
    let (plan, set) = prepare(config, &surroundings.data)?;
    let dir = RunDir::open(out, config)?;
    if let Some(summary) = dir.read_json::<Summary>("summary.json")? {
        eprintln!("{}: this run is finished", out.display());
        return Ok(summary);
    }
    let splits = split(&plan, set);
    Run::new(plan, splits, dir, surroundings)?.go().await
}

/// What a readout of a finished run reads, and how it is trained.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The input instead of the layers.
    pub input: bool,
    /// These layers instead of the configuration's.
    pub layers: Option<Vec<usize>>,
    /// Overrides of the configuration's `[readout]`.
    pub readout: Vec<String>,
}

/// Trains and measures a readout on what a run has frozen, without changing the run.
pub async fn eval(
    path: &Path,
    wanted: Wanted,
    surroundings: &Surroundings,
) -> anyhow::Result<ReadoutSummary> {
    let dir = RunDir::existing(path)?;
    if let Some(wrong) = wanted.readout.iter().find(|given| !given.trim_start().starts_with("readout.")) {
        bail!(
            "--set {wrong}: the run's layers are trained; expected a key of the readout, such as readout.dropout=0.4"
        );
    }
    let config = crate::config::load(&dir.config_file(), &wanted.readout)?;
    let (plan, set) = prepare(&config, &surroundings.data)?;
    let splits = split(&plan, set);
    let mut run = Run::new(plan, splits, dir, surroundings)?;
    if wanted.input {
        let (_, summary) = run.read_out(&[], &Taps::Input).await?;
        return Ok(summary);
    }
    let frozen = run.frozen.iter().take_while(|layer| layer.is_some()).count();
    if frozen == 0 {
        bail!("{}: no layer is frozen yet", path.display());
    }
    let mut taps: Vec<bool> = match wanted.layers {
        None => run.plan.stages[..frozen].iter().map(|stage| stage.tapped).collect(),
        Some(layers) => {
            if let Some(wrong) = layers.iter().find(|&&layer| layer >= frozen) {
                bail!("--layers {wrong}: expected indices below {frozen}: so many layers are frozen");
            }
            (0..frozen).map(|layer| layers.contains(&layer)).collect()
        }
    };
    // Layers above the highest that is read are of no use.
    let Some(highest) = taps.iter().rposition(|tapped| *tapped) else {
        bail!(
            "{}: the readout reads none of the {frozen} layers that are frozen; name some with --layers",
            path.display()
        );
    };
    taps.truncate(highest + 1);
    run.frozen.truncate(taps.len());
    let workers = run.cluster.gather().await?;
    run.check_kernel(&workers)?;
    run.host().await?;
    let (_, summary) = run.read_out(&workers, &run.taps(taps)).await?;
    Ok(summary)
}

struct Run {
    plan: Plan,
    splits: Splits,
    views: Views,
    dir: RunDir,
    identity: RunIdentity,
    cluster: Cluster,
    /// Each layer that is frozen by now.
    frozen: Vec<Option<Frozen>>,
    /// Phases that are over.
    over: usize,
    /// How many workers share each layer, whatever its configuration says.
    shards: Option<Shards>,
    /// Whether workers are processes of this machine.
    local: bool,
    /// How fast workers have been.
    rates: WorkerRates,
}

impl Run {
    fn new(plan: Plan, splits: Splits, dir: RunDir, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let identity = dir.identity()?;
        let Surroundings { place, local, patience, shards, .. } = surroundings.clone();
        let (frozen, over) = standing(&plan, &dir)?;
        Ok(Self {
            views: Views { examples: splits.layers.clone(), augmentation: plan.augmentation },
            cluster: Cluster::new(identity.id.clone(), place, local, patience),
            plan,
            splits,
            dir,
            identity,
            frozen,
            over,
            shards,
            local: matches!(surroundings.place, Place::Local(_)),
            rates: WorkerRates::default(),
        })
    }

    /// A stage as the schedule sees it.
    fn task(&self, stage: &Stage) -> Task {
        let parts = stage.parts(&self.plan).len();
        let shards = match self.shards.or(stage.shards).unwrap_or(Shards::Auto) {
            Shards::AtMost(number) => parts.min(usize::from(number)),
            Shards::Auto if self.local => 1,
            Shards::Auto => parts,
        };
        Task { layer: stage.layer, operations: self.plan.operations(stage), shards }
    }

    async fn go(mut self) -> anyhow::Result<Summary> {
        let tasks = |phase: &Phase| {
            phase.members.iter().map(|member| self.task(self.plan.stage(member))).collect::<Vec<_>>()
        };
        let mut schedule = Schedule::new(self.plan.phases.iter().map(tasks).collect());
        let frozen = self.frozen.iter().flatten().count();
        if frozen > 0 {
            eprintln!("{}: continuing after {frozen} frozen layer(s)", self.dir.path().display());
        }
        let mut event = Event::Started { over: self.over };
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
        let workers = self.cluster.gather().await?;
        self.check_kernel(&workers)?;
        Ok(Event::Gathered(workers.iter().map(|worker| worker.id).collect()))
    }

    /// A run keeps to the kernel that it was started with, for another one gives other bits.
    fn check_kernel(&mut self, workers: &[Worker]) -> anyhow::Result<()> {
        let found = kernel(&workers[0]);
        if self.identity.blas.is_empty() {
            self.identity.blas = found;
            self.dir.save_identity(&self.identity)?;
        } else if self.identity.blas != found {
            bail!(
                "{}: this run was started with {}, the workers compute with {found}, which gives other bits; \
                 start them with the --blas-kernel of before",
                self.dir.path().display(),
                self.identity.blas
            );
        }
        Ok(())
    }

    /// Lets go of a worker that failed, and tells the schedule how far the phase at hand has come.
    fn failed(&mut self, error: PhaseError, phase: Option<usize>) -> anyhow::Result<Event> {
        let failure = match error {
            PhaseError::Worker(failure) => failure,
            PhaseError::RunDir(error) => return Err(error.into()),
            PhaseError::Readout(error) => return Err(error.into()),
            PhaseError::Newcomer { address } => {
                eprintln!("{address}: a worker has come; going on with it from the checkpoint");
                return Ok(Event::Newcomer);
            }
        };
        self.cluster.forget(failure.id);
        let reached = match phase {
            Some(phase) => self.states(phase)?[0].0.step,
            None => Step(0),
        };
        if failure.passing {
            tracing::warn!("{failure}; trying again from step {}", reached.0);
        }
        Ok(Event::Failed { reached, passing: failure.passing, reason: failure.to_string() })
    }

    async fn host(&mut self) -> Result<(), WorkerFailure> {
        let layers: Vec<HostedLayer> = self
            .frozen
            .iter()
            .enumerate()
            .filter_map(|(index, layer)| Some(HostedLayer::new(index as u32, &layer.as_ref()?.0)))
            .collect();
        self.cluster.host(&layers).await
    }

    fn workers(&self, ids: &[WorkerId]) -> Vec<Worker> {
        let workers = self.cluster.workers();
        ids.iter().filter_map(|id| workers.iter().find(|worker| worker.id == *id)).cloned().collect()
    }

    /// Where the members of a phase stand: at their checkpoint, or at its beginning.
    fn states(&self, phase: usize) -> Result<Vec<Trained>, RunDirError> {
        let Plan { schedule, stages, phases, .. } = &self.plan;
        let members = &phases[phase].members;
        let checkpoint = self.dir.checkpoint(*schedule, members[0].layer, stages)?;
        let mut found = checkpoint.map(|checkpoint| checkpoint.layers).unwrap_or_default();
        Ok(members
            .iter()
            .map(|member| match found.iter().position(|(layer, ..)| *layer == member.layer) {
                Some(place) => {
                    let (_, state, carried) = found.swap_remove(place);
                    (state, carried)
                }
                None => (initial_state(&self.plan, self.plan.stage(member)), Carried::default()),
            })
            .collect())
    }

    async fn train(
        &mut self,
        index: usize,
        groups: &[Vec<WorkerId>],
        transformers: &[WorkerId],
    ) -> Result<(), PhaseError> {
        self.host().await?;
        let states = self.states(index)?;
        let phase = self.plan.phases[index].clone();
        let assignment = Assignment {
            groups: groups.iter().map(|group| self.workers(group)).collect(),
            transformers: self.workers(transformers),
        };
        for (member, group) in phase.members.iter().zip(&assignment.groups) {
            let trainer = group.iter().map(Worker::to_string).collect::<Vec<_>>().join(", ");
            let (name, step, end) = (&self.plan.stage(member).spec.name, states[0].0.step.0, phase.steps.end);
            if step > 0 {
                eprintln!("{name}: continuing at step {step} of {end} on {trainer}");
            } else {
                eprintln!("{name}: {end} steps on {trainer}");
            }
        }
        let layers = |which: &dyn Fn(LayerIndex) -> bool| -> Vec<LayerIndex> {
            self.plan.stages.iter().map(|stage| stage.layer).filter(|layer| which(*layer)).collect()
        };
        let training = layers(&|layer| phase.members.iter().any(|member| member.layer == layer));
        let frozen = layers(&|layer| self.plan.frozen_before(layer, index));
        self.dir.rewind_metrics(&frozen, &training, states[0].0.step)?;
        let run = PhaseRun {
            plan: &self.plan,
            phase: &phase,
            run: self.cluster.run(),
            dir: &self.dir,
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
                .any(|(member, group)| group.len() < self.task(self.plan.stage(member)).shards);
        let newcomer = if wanted { self.cluster.newcomer() } else { Box::pin(std::future::pending()) };
        let trained = run.train(states, newcomer).await?;
        self.end_phase(index, trained).await?;
        Ok(())
    }

    /// Freezes the layers whose training is over, and keeps the states of the others.
    async fn end_phase(&mut self, index: usize, trained: Vec<Trained>) -> Result<(), RunDirError> {
        let phase = self.plan.phases[index].clone();
        let mut going_on = Vec::new();
        for (member, (state, carried)) in phase.members.iter().zip(trained) {
            let stage = self.plan.stage(member).clone();
            if state.step < stage.steps() {
                going_on.push((state, carried));
                continue;
            }
            let summary = layer_summary(&self.plan, &stage, &state, &carried);
            let layer = FrozenLayer::new(stage.spec, state.parameters).expect("checked when it came in");
            self.dir.save_frozen(stage.layer, layer.parameters(), &summary)?;
            self.frozen[stage.layer.0 as usize] = Some((Arc::new(layer), summary));
        }
        // Frozen layers first: whoever is interrupted in between takes the last steps again, to the same bits.
        match self.plan.phases.get(index + 1) {
            Some(next) if !going_on.is_empty() => save_checkpoint(&self.plan, next, &self.dir, &going_on)?,
            _ => self.dir.drop_checkpoint(self.plan.schedule, phase.members[0].layer)?,
        }
        self.note_memory().await
    }

    /// Keeps the peak of memory, for a sitting may end at any time.
    async fn note_memory(&mut self) -> Result<(), RunDirError> {
        let now = self.cluster.peak_rss_bytes().await + proto::machine::peak_rss_bytes();
        if now > self.identity.peak_rss_bytes {
            self.identity.peak_rss_bytes = now;
            self.dir.save_identity(&self.identity)?;
        }
        Ok(())
    }

    async fn final_readout(&mut self, transformers: &[WorkerId]) -> Result<ReadoutSummary, PhaseError> {
        self.host().await?;
        self.dir
            .save_model(&self.frozen.iter().flatten().map(|(layer, _)| layer.clone()).collect::<Vec<_>>())?;
        let taps = self.taps(self.plan.stages.iter().map(|stage| stage.tapped).collect());
        let (parameters, summary) =
            self.read_out(&self.workers(transformers), &taps).await.map_err(|error| match error {
                ReadoutError::Worker(failure) => failure.into(),
                error @ ReadoutError::NotFinite(_) => PhaseError::Readout(error),
            })?;
        self.dir.save_readout(&parameters)?;
        Ok(summary)
    }

    /// What a readout of the flagged ones of the frozen layers reads.
    fn taps(&self, read: Vec<bool>) -> Taps {
        let stages = || self.plan.stages.iter().zip(&read);
        let features = stages().filter(|(_, read)| **read).map(|(stage, _)| stage.spec.features()).sum();
        let widest = stages().map(|(stage, _)| stage.spec.outputs()).fold(features, usize::max);
        Taps::Layers(LayerTaps { widest: widest.max(self.plan.shape.len()), read })
    }

    async fn read_out(
        &self,
        workers: &[Worker],
        taps: &Taps,
    ) -> Result<(scff::layer::Tensors, ReadoutSummary), ReadoutError> {
        let Plan { precision, readout, seed, .. } = &self.plan;
        read_out(workers, self.cluster.run(), taps, &self.splits, *precision, readout, *seed).await
    }

    async fn finish(mut self, readout: ReadoutSummary) -> anyhow::Result<Summary> {
        self.note_memory().await?;
        let workers = self.cluster.workers();
        let (layers, summaries): (Vec<_>, Vec<_>) = self.frozen.into_iter().flatten().unzip();
        let seconds = summaries.iter().map(|layer| layer.seconds);
        let training = match self.plan.schedule {
            TrainingSchedule::Greedy => seconds.sum(),
            // All began together.
            TrainingSchedule::Joint => seconds.fold(0.0, f64::max),
        };
        let summary = Summary {
            dataset: self.plan.data.to_string(),
            seed: self.plan.seed.0,
            workers: workers.len(),
            weights_sha256: weights_sha256(layers.iter().map(|layer| layer.parameters())),
            seconds: training + readout.seconds,
            layers: summaries,
            readout,
            blas: self.identity.blas.clone(),
            cpu: workers.first().map(|worker| worker.description.cpu.clone()).unwrap_or_default(),
            peak_rss_bytes: self.identity.peak_rss_bytes,
        };
        self.dir
            .write_json("summary.json", &summary)
            .context("the run is done, but its summary is not written")?;
        Ok(summary)
    }
}

/// The frozen layers that count, and how many phases are over.
fn standing(plan: &Plan, dir: &RunDir) -> Result<(Vec<Option<Frozen>>, usize), RunDirError> {
    let mut frozen = dir.frozen(&plan.stages)?;
    let flags: Vec<bool> = frozen.iter().map(Option::is_some).collect();
    let checkpoint = match plan.schedule {
        TrainingSchedule::Greedy => None,
        TrainingSchedule::Joint => dir.checkpoint(plan.schedule, LayerIndex(0), &plan.stages)?,
    };
    let over = plan.phase_at(&flags, checkpoint.map(|checkpoint| checkpoint.step));
    for (layer, frozen) in plan.stages.iter().map(|stage| stage.layer).zip(&mut frozen) {
        // Whatever else is there is trained again.
        match plan.frozen_before(layer, over) {
            true if frozen.is_none() => return Err(dir.missing(layer)),
            true => {}
            false => *frozen = None,
        }
    }
    Ok((frozen, over))
}

fn layer_summary(plan: &Plan, stage: &Stage, state: &LayerState, carried: &Carried) -> LayerSummary {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use source::{DataSetName, Shape};

    /// Rows of four equal numbers from `first` on, labelled 0.
    fn rows(first: u16, count: u16) -> Examples {
        let values = (first..first + count).flat_map(|row| [f32::from(row); 4]).collect();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        Examples::from_rows(shape, values, vec![0; usize::from(count)])
    }

    /// The number that each row repeats.
    fn numbers(examples: &Examples) -> Vec<u16> {
        let mut row = [0.0; 4];
        let mut number = |index| {
            examples.write(index, &mut row);
            row[0] as u16
        };
        (0..examples.len() as u32).map(&mut number).collect()
    }

    fn splits(unlabeled: Option<Examples>) -> Splits {
        let set = ["data.held_out=10".to_owned()];
        let config = config::parse("iris", include_str!("../../configs/iris.toml"), &set).unwrap();
        let set = DataSet {
            name: DataSetName::Iris,
            classes: 3,
            train: rows(0, 40),
            test: rows(100, 5),
            unlabeled,
        };
        split(&Plan::new(&config, set.train.shape(), set.training_samples()).unwrap(), set)
    }

    #[test]
    fn no_layer_sees_what_is_held_out() {
        let Splits { layers, train, measure, held_out, .. } = splits(None);
        assert!(held_out);
        assert_eq!((numbers(&layers), measure.len()), (numbers(&train), 10));
        let mut all = [numbers(&train), numbers(&measure)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn layers_learn_from_what_has_no_labels_and_the_readout_from_what_has() {
        let unlabeled = splits(Some(rows(200, 50)));
        assert_eq!(numbers(&unlabeled.layers), (200..250).collect::<Vec<_>>());
        let labelled = splits(None);
        assert_eq!(numbers(&unlabeled.train), numbers(&labelled.train));
        assert_eq!(numbers(&unlabeled.measure), numbers(&labelled.measure));
    }

    /// What a run on iris with these overrides learns from and measures on, each sample as its bits.
    fn split_of_iris(overrides: &[&str]) -> [Vec<Vec<u32>>; 2] {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let text = include_str!("../../configs/iris.toml");
        let config = crate::config::parse("iris.toml", text, &overrides).unwrap();
        let (plan, set) = prepare(&config, Path::new("nowhere")).unwrap();
        let Splits { train, measure, .. } = split(&plan, set);
        [train, measure].map(|examples| {
            let row = |index| {
                let mut row = [0.0; 4];
                examples.write(index, &mut row);
                row.map(f32::to_bits).to_vec()
            };
            (0..examples.len() as u32).map(row).collect()
        })
    }

    #[test]
    fn the_first_samples_of_an_order_of_the_seed_are_used_and_then_some_are_held_out() {
        let [forty, test] = split_of_iris(&["data.samples=40"]);
        assert_eq!((forty.len(), test.len()), (40, 30));
        let [sixty, _] = split_of_iris(&["data.samples=60"]);
        assert_eq!(sixty[..40], forty);
        assert_ne!(split_of_iris(&["data.samples=40", "seed=2"])[0], forty);
        let [kept, held_out] = split_of_iris(&["data.samples=40", "data.held_out=10"]);
        let mut both = [kept, held_out].concat();
        let mut all = forty;
        both.sort_unstable();
        all.sort_unstable();
        assert_eq!(both, all);
    }
}
