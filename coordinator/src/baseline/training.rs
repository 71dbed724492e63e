//! What the training of all baselines has in common.

use anyhow::{Context, anyhow, bail, ensure};
use scff::batch::Epoch;
use scff::layer::{LayerMap, LayerState};

use super::summary::{BaselineSummary, Method, Training};
use crate::accuracies::Accuracies;
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::data_place::DataPlace;
use crate::location::Location;
use crate::objects::Patience;
use crate::plan::Plan;
use crate::run_dir::{BaselineCheckpoint, BaselineDir};
use crate::split::{Splits, prepare, split};

/// What is to be trained, and where.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What it is called.
    pub name: String,
    /// The directory of the baseline.
    pub out: Location,
    /// Where data sets are.
    pub data: DataPlace,
    /// What there is patience for where the directory is on an object store.
    pub patience: Patience,
}

/// What every baseline is measured by.
pub const READOUT: &str =
    "readout = nothing: expected a [readout] and labels, which baselines are measured by";

/// The plan of a baseline and its samples.
pub struct Prepared {
    /// What a run of the configuration would do.
    pub plan: Plan,
    /// The samples.
    pub splits: Splits,
}

impl Prepared {
    /// Reads the data set.
    pub fn of(wanted: &Wanted<'_>) -> anyhow::Result<Self> {
        let Wanted { config, data, .. } = wanted;
        ensure!(config.readout.is_some(), READOUT);
        let (plan, set) = prepare(config, data)?;
        let splits = split(&plan, set)?;
        Ok(Self { plan, splits })
    }
}

/// What learns, epoch by epoch.
pub trait Learner {
    /// Goes through all samples once; returns the mean loss of one.
    fn epoch(&mut self, epoch: Epoch) -> anyhow::Result<f64>;

    /// The maps of the states.
    fn maps(&self) -> Vec<LayerMap>;

    /// What is carried from one epoch to the next.
    fn states(&self) -> anyhow::Result<Vec<LayerState>>;

    /// Goes on from such states.
    fn restore(&mut self, states: &[LayerState]) -> anyhow::Result<()>;

    /// What has been learnt, some of which may belong in the directory.
    fn learnt(&self, dir: &BaselineDir) -> anyhow::Result<Learnt>;
}

/// What has been learnt and how well it does.
pub struct Learnt {
    /// On the samples of the run's splits.
    pub accuracies: Accuracies,
    /// SHA-256 over the tensors of all layers, in their order.
    pub weights_sha256: String,
}

/// Trains a baseline in its own directory, unless it is there already, from the last epoch on that was finished. Blocks.
pub fn train(
    wanted: &Wanted<'_>,
    prepared: &Prepared,
    method: Method,
    training: &Training,
    learner: &mut impl Learner,
) -> anyhow::Result<BaselineSummary> {
    let Wanted { config, name, out, patience, .. } = wanted;
    let dir = BaselineDir::open(out, config, *patience)?;
    let learning = format!("{method} {training}");
    let other = |found: &str| {
        anyhow!("{out}: holds the baseline {found}, expected {learning}; choose another with --out")
    };
    if let Some(found) = dir.summary()? {
        let same = found.method == method && found.training.as_ref() == Some(training);
        return if same { Ok(found) } else { Err(other(&found.said())) };
    }
    let began = Stopwatch::start();
    let mut next = Epoch(0);
    if let Some(found) = dir.checkpoint(&learner.maps())? {
        ensure!(found.learning == learning, other(&found.learning));
        learner.restore(&found.states)?;
        next = found.next;
        proto::logs::say(format_args!("going on after epoch {}/{}", next.0, training.epochs));
    }
    for epoch in (next.0..training.epochs).map(Epoch) {
        tell(training, epoch, learner.epoch(epoch)?)?;
        let (learning, states) = (learning.clone(), learner.states()?);
        dir.save_checkpoint(&BaselineCheckpoint { learning, next: Epoch(epoch.0 + 1), states })?;
    }
    let Learnt { accuracies, weights_sha256 } = learner.learnt(&dir)?;
    let summary = BaselineSummary {
        method,
        config: name.clone(),
        dataset: prepared.plan.data.to_string(),
        seed: prepared.plan.seed.0,
        training: Some(training.clone()),
        accuracies,
        seconds: began.seconds(),
        weights_sha256,
        cpu: proto::machine::processor(),
    };
    dir.save_summary(&summary).context("the baseline is done, but its summary is not written")?;
    Ok(summary)
}

/// Says how an epoch went, whose mean loss is a number where anything is learnt.
fn tell(training: &Training, epoch: Epoch, loss: f64) -> anyhow::Result<()> {
    if !loss.is_finite() {
        bail!("the loss is not finite any more in epoch {}: try a smaller --lr", epoch.0 + 1);
    }
    proto::logs::say(format_args!("epoch {}/{}  loss {loss:.4}", epoch.0 + 1, training.epochs));
    Ok(())
}
