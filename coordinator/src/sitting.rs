//! One sitting of a run, to train or to evaluate: its plan and samples, its directory, its workers, and the layers that are frozen.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::kernels::Digest;
use proto::logs;
use scff::batch::LayerIndex;
use scff::layer::Tensors;
use scff::readout::ReadoutSpec;

use crate::cluster::{Cluster, ClusterOptions, HostableLayer, Worker, WorkerFailure};
use crate::config::{Shards, TrainingSchedule};
use crate::data_place::DataPlace;
use crate::events::{Event, Events};
use crate::features::{FeaturesError, LayerTaps, Taps};
use crate::few_labels::{FewLabelsRun, Labelled};
use crate::kernels::{Agreed, Began};
use crate::objects::Patience;
use crate::plan::Plan;
use crate::readout::{ReadoutError, ReadoutRun};
use crate::retries::Retries;
use crate::run_dir::{FrozenLayerFile, RunDir, RunDirError, RunDirReader, RunIdentity};
use crate::split::Splits;
use crate::stop::Stop;
use crate::summary::{FewLabelsSummary, ReadoutSummary, WithoutLabels};
use crate::version::Program;
use crate::without_labels::Look;
use crate::worker_id::WorkerId;

/// Where a run finds things.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where data sets are, and where their samples go.
    pub data: DataPlace,
    /// What a run has patience for where its directory is on an object store.
    pub patience: Patience,
    /// The workers.
    pub cluster: ClusterOptions,
    /// How many workers share each layer, whatever its configuration says.
    pub shards: Option<Shards>,
    /// Whether to measure running workers and the links to them.
    pub measures: bool,
    /// How often what fails is tried again.
    pub retries: Retries,
    /// Where to show metrics.
    pub metrics: Option<SocketAddr>,
    /// Whether the process was asked to end.
    pub stop: Stop,
}

/// What a sitting works with: one that trains writes to its directory, one that evaluates has a directory of which it reads.
pub struct Sitting<D = Arc<RunDir>> {
    /// What is to happen.
    pub plan: Plan,
    /// The samples.
    pub splits: Splits,
    /// Where the run is kept.
    pub dir: D,
    /// What the run is called and computed with.
    pub identity: RunIdentity,
    /// Who computes.
    pub cluster: Cluster,
    /// Each layer that is frozen by now.
    pub frozen: Vec<Option<FrozenLayerFile>>,
    /// Those of them that were to be hosted so far.
    hostable: Vec<Arc<HostableLayer>>,
    /// Phases that are over.
    pub over: usize,
    /// Who is told what happens.
    pub events: Events,
}

impl Sitting {
    /// Takes a run up where its directory says that it stands. No worker is dialled yet.
    pub fn new(
        plan: Plan,
        splits: Splits,
        dir: Arc<RunDir>,
        surroundings: &Surroundings,
        events: Events,
    ) -> Result<Self, RunDirError> {
        let identity = identity(&dir, &events)?;
        let (frozen, over) = standing(&plan, &dir)?;
        let cluster = cluster(&identity, surroundings);
        let hostable = Vec::new();
        Ok(Self { plan, splits, dir, identity, cluster, frozen, hostable, over, events })
    }

    /// The workers that are there, at least one, all of one kernel, which the run keeps to.
    pub async fn gather(&mut self) -> anyhow::Result<Vec<Worker>> {
        let workers = self.cluster.gather(&|waited| self.events.tell(&Event::Waiting(waited))).await?;
        if let Some(Agreed { blas, digest }) = self.cluster.agreed()
            && self.identity.blas_digest != digest.0
        {
            self.identity.blas.clone_from(blas);
            self.identity.blas_digest.clone_from(&digest.0);
            self.dir.save_identity(&self.identity)?;
        }
        Ok(workers)
    }

    /// Keeps the peak of memory, for a sitting may end at any time.
    pub async fn note_memory(&mut self) -> Result<(), RunDirError> {
        let now = self.cluster.peak_rss_bytes().await.saturating_add(proto::machine::peak_rss_bytes());
        if now > self.identity.peak_rss_bytes {
            self.identity.peak_rss_bytes = now;
            self.dir.save_identity(&self.identity)?;
        }
        Ok(())
    }
}

impl Sitting<RunDirReader> {
    /// Takes up what a run has frozen so far, from the input up; the run may be at work meanwhile. No worker is dialled yet.
    pub fn evaluating(
        plan: Plan,
        splits: Splits,
        dir: RunDirReader,
        surroundings: &Surroundings,
        events: Events,
    ) -> Result<Self, RunDirError> {
        let identity = dir.identity()?.unwrap_or_else(|| RunIdentity::new(dir.place()));
        let mut frozen = dir.frozen(&plan.stages)?;
        frozen.truncate(frozen.iter().take_while(|layer| layer.is_some()).count());
        let over = frozen.len();
        let cluster = cluster(&identity, surroundings);
        let hostable = Vec::new();
        Ok(Self { plan, splits, dir, identity, cluster, frozen, hostable, over, events })
    }

    /// The workers that are there, at least one, all of the run's kernel.
    pub async fn gather(&mut self) -> anyhow::Result<Vec<Worker>> {
        Ok(self.cluster.gather(&|waited| self.events.tell(&Event::Waiting(waited))).await?)
    }
}

impl<D> Sitting<D> {
    /// Hosts the frozen layers on all workers.
    pub async fn host(&mut self) -> Result<(), WorkerFailure> {
        for (index, frozen) in self.frozen.iter().enumerate() {
            let Some(FrozenLayerFile { layer, summary }) = frozen else { continue };
            let index = index as u32;
            if !self.hostable.iter().any(|hostable| hostable.index() == index) {
                let digest = summary.weights_sha256.clone();
                self.hostable.push(Arc::new(HostableLayer::new(index, layer.clone(), digest)));
            }
        }
        self.cluster.host(&self.hostable).await
    }

    /// Those of the workers that have these numbers.
    pub fn workers(&self, ids: &[WorkerId]) -> Vec<Worker> {
        let workers = self.cluster.workers();
        ids.iter().filter_map(|id| workers.iter().find(|worker| worker.id == *id)).cloned().collect()
    }

    /// What a readout of the flagged ones of the frozen layers reads.
    pub fn taps(&self, read: Vec<bool>) -> Taps {
        let stages = || self.plan.stages.iter().zip(&read);
        let features = stages().filter(|(_, read)| **read).map(|(stage, _)| stage.spec.features()).sum();
        let widest = stages().map(|(stage, _)| stage.spec.outputs()).fold(features, usize::max);
        Taps::Layers(LayerTaps { features, widest: widest.max(self.plan.shape.len()), read })
    }

    /// Trains and measures a readout of what `taps` names; its parameters, and what it reached. `free`: whether no worker trains layers.
    pub async fn read_out(
        &self,
        (workers, free): (&[Worker], bool),
        taps: &Taps,
        spec: ReadoutSpec,
    ) -> Result<(Tensors, ReadoutSummary), ReadoutError> {
        let Plan { precision, seed, .. } = &self.plan;
        let run = ReadoutRun {
            workers,
            free,
            run: self.cluster.run(),
            taps,
            splits: &self.splits,
            agreed: self.cluster.agreed(),
            precision: *precision,
            spec,
            seed: *seed,
            events: &self.events,
        };
        run.read_out().await
    }

    /// Learns a readout of what `taps` names from a few labels; its parameters, and what it reached.
    pub async fn read_out_few(
        &self,
        workers: &[Worker],
        taps: &LayerTaps,
        labelled: &Labelled,
    ) -> Result<(Tensors, FewLabelsSummary), ReadoutError> {
        let Plan { precision, seed, .. } = self.plan;
        let (run, splits, events) = (self.cluster.run(), &self.splits, &self.events);
        FewLabelsRun { workers, run, taps, labelled, splits, precision, seed, events }.learn().await
    }

    /// What can be said of the frozen layers without labels.
    pub async fn look_without_labels(&self, workers: &[Worker]) -> Result<WithoutLabels, FeaturesError> {
        let Plan { precision, seed, .. } = self.plan;
        let only = |layer: usize| self.taps((0..=layer).map(|below| below == layer).collect());
        let frozen = self.frozen.iter().flatten().enumerate();
        let look = Look {
            workers,
            run: self.cluster.run(),
            layers: frozen.map(|(layer, frozen)| (only(layer), &frozen.summary)).collect(),
            splits: &self.splits,
            precision,
            seed,
            events: &self.events,
        };
        look.measure().await
    }
}

/// What the run is called, after noting and telling where another build goes on with it.
fn identity(dir: &RunDir, events: &Events) -> Result<RunIdentity, RunDirError> {
    let mut identity = dir.identity()?;
    let Some((before, now)) = identity.continue_by(Program::this()) else { return Ok(identity) };
    events.tell(&Event::OtherBuild { before: before.cloned(), now: now.clone() })?;
    dir.save_identity(&identity)?;
    Ok(identity)
}

/// The workers of a run, which keeps to the kernel that it has begun with.
pub fn cluster(identity: &RunIdentity, surroundings: &Surroundings) -> Cluster {
    let RunIdentity { id, blas, blas_digest, .. } = identity.clone();
    logs::always("run", &id);
    let digest = (!blas_digest.is_empty()).then_some(Digest(blas_digest));
    let began = (!blas.is_empty()).then_some(Began { blas, digest });
    Cluster::new(id, began, surroundings.cluster.clone())
}

/// The frozen layers that count, and how many phases are over.
fn standing(plan: &Plan, dir: &RunDir) -> Result<(Vec<Option<FrozenLayerFile>>, usize), RunDirError> {
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
