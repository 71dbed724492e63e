//! Random weights: a run of no epochs, on workers and with the readout of any run.

use anyhow::{Context, ensure};

use super::summary::{BaselineSummary, Method};
use super::training::{READOUT, Wanted};
use crate::config::TrainingSchedule;
use crate::run::run;
use crate::run_dir::BaselineDir;
use crate::sitting::Surroundings;

/// Reads out the layers of a configuration as they begin.
pub async fn random(wanted: &Wanted<'_>, surroundings: &Surroundings) -> anyhow::Result<BaselineSummary> {
    ensure!(wanted.config.readout.is_some(), READOUT);
    let mut config = wanted.config.clone();
    config.training.schedule = TrainingSchedule::Greedy;
    config.layers.iter_mut().for_each(|layer| layer.epochs = 0);
    let run = run(&config, &wanted.out, surroundings).await?;
    let summary = BaselineSummary {
        method: Method::Random,
        config: wanted.name.clone(),
        dataset: run.dataset,
        seed: run.seed,
        training: None,
        accuracies: run.readout.context(READOUT)?.accuracies,
        seconds: run.seconds,
        weights_sha256: run.weights_sha256,
        cpu: run.cpu,
    };
    BaselineDir::of_run(&wanted.out, &config, wanted.patience)?.save_summary(&summary)?;
    Ok(summary)
}
