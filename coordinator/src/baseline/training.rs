//! What the training of all baselines has in common.

use anyhow::{Context, bail};
use scff::batch::Epoch;

use super::accuracies::Accuracies;
use super::summary::{BaselineSummary, Method, Training};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::data_folder;
use crate::location::Location;
use crate::objects::Patience;
use crate::plan::{Plan, source};
use crate::run_dir::BaselineDir;
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
    pub data: Location,
    /// What there is patience for where the directory is on an object store.
    pub patience: Patience,
}

/// What has been learnt and how well it does.
pub struct Learnt {
    /// On the samples of the run's splits.
    pub accuracies: Accuracies,
    /// SHA-256 over the tensors of all layers, in their order.
    pub weights_sha256: String,
}

/// Trains a baseline in its own directory, unless it is there already. Blocks.
pub fn train(
    wanted: &Wanted<'_>,
    method: Method,
    training: &Training,
    learn: impl FnOnce(&Plan, &Splits, &BaselineDir) -> anyhow::Result<Learnt>,
) -> anyhow::Result<BaselineSummary> {
    let Wanted { config, name, out, data, patience } = wanted;
    let data = data_folder::local(&source(&config.data)?, data)?;
    let (plan, set) = prepare(config, &data)?;
    let dir = BaselineDir::open(out, config, *patience)?;
    if let Some(found) = dir.summary()? {
        if found.method != method || found.training.as_ref() != Some(training) {
            bail!(
                "{out}: holds the baseline {}, expected {method} {training}; choose another with --out",
                found.said()
            );
        }
        return Ok(found);
    }
    let began = Stopwatch::start();
    let splits = split(&plan, set)?;
    let Learnt { accuracies, weights_sha256 } = learn(&plan, &splits, &dir)?;
    let summary = BaselineSummary {
        method,
        config: name.clone(),
        dataset: plan.data.to_string(),
        seed: plan.seed.0,
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
pub fn tell(training: &Training, epoch: Epoch, loss: f64) -> anyhow::Result<()> {
    if !loss.is_finite() {
        bail!("the loss is not finite any more in epoch {}: try a smaller --lr", epoch.0 + 1);
    }
    proto::logs::say(format_args!("epoch {}/{}  loss {loss:.4}", epoch.0 + 1, training.epochs));
    Ok(())
}
