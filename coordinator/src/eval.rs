//! Evaluation: readouts of what a run has frozen, or of its input, and what can be said of it without labels. It leaves the run
//! as it is.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use proto::refusal::Reason;
use scff::batch::Step;
use scff::layer::Tensors;

use crate::cluster::Worker;
use crate::event_log::teller;
use crate::events::{Event, Events};
use crate::features::{FeaturesError, Taps};
use crate::few_labels;
use crate::location::Location;
use crate::readout::ReadoutError;
use crate::retries::Retries;
use crate::run_dir::{RunDir, RunDirReader};
use crate::sitting::{Sitting, Surroundings};
use crate::split::{prepare, split};
use crate::summary::{FewLabelsSummary, ReadoutSummary, WithoutLabels};

/// What is wanted of a run.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A readout of its input, the baseline, or of what it has frozen.
    Readout {
        /// The input instead of the layers.
        input: bool,
        /// These layers instead of the configuration's.
        layers: Option<Vec<usize>>,
        /// Overrides of the configuration's `[readout]`.
        overrides: Vec<String>,
    },
    /// What can be said of its layers without labels.
    WithoutLabels,
    /// A readout of a few labels.
    FewLabels {
        /// The file of labels.
        file: PathBuf,
        /// These layers instead of the configuration's.
        layers: Option<Vec<usize>>,
        /// Whether it becomes the run's own.
        save: bool,
    },
}

/// What it came to.
#[derive(Clone, Debug)]
pub enum Found {
    /// What a readout reached.
    Readout(ReadoutSummary),
    /// What can be said without labels.
    WithoutLabels(WithoutLabels),
    /// What a readout of a few labels reached.
    FewLabels(FewLabelsSummary),
}

/// Measures what a run has frozen, without changing the run.
pub async fn eval(place: &Location, wanted: Wanted, surroundings: &Surroundings) -> anyhow::Result<Found> {
    let dir = RunDirReader::open(place)?;
    let overrides = if let Wanted::Readout { overrides, .. } = &wanted { &overrides[..] } else { &[] };
    let mut sitting = sitting(dir, overrides, surroundings)?;
    match wanted {
        Wanted::Readout { input, layers, .. } => {
            let Some(spec) = sitting.plan.readout else {
                bail!(
                    "{place}: its configuration has no [readout]: read it out by a few labels with --labels FILE, \
                     or measure it with --without-labels"
                );
            };
            if input {
                return Ok(Found::Readout(sitting.read_out((&[], false), &Taps::Input, spec).await?.1));
            }
            let read = layers_to_read(&sitting, layers)?;
            sitting.frozen.truncate(read.len());
            let taps = sitting.taps(read);
            let read_out = async |sitting: &Sitting<RunDirReader>, workers: &[Worker]| {
                // The run may be at work meanwhile.
                let free = workers.iter().all(|worker| worker.description.training.is_empty());
                Ok(sitting.read_out((workers, free), &taps, spec).await?.1)
            };
            Ok(Found::Readout(on_workers(&mut sitting, surroundings.retries, read_out).await?))
        }
        Wanted::WithoutLabels => {
            some_frozen(&sitting)?;
            let look = async |sitting: &Sitting<RunDirReader>, workers: &[Worker]| {
                Ok(sitting.look_without_labels(workers).await?)
            };
            Ok(Found::WithoutLabels(on_workers(&mut sitting, surroundings.retries, look).await?))
        }
        Wanted::FewLabels { file, layers, save } => {
            if save {
                check_savable(&sitting)?;
            }
            let labelled = few_labels::read(&file, &sitting.splits)?;
            let read = layers_to_read(&sitting, layers)?;
            sitting.frozen.truncate(read.len());
            let Taps::Layers(taps) = sitting.taps(read) else { unreachable!("layers are read") };
            let learn = async |sitting: &Sitting<RunDirReader>, workers: &[Worker]| {
                sitting.read_out_few(workers, &taps, &labelled).await
            };
            let (parameters, summary) = on_workers(&mut sitting, surroundings.retries, learn).await?;
            if save {
                keep(&sitting, surroundings, &parameters, &summary.classes)?;
            }
            Ok(Found::FewLabels(summary))
        }
    }
}

/// Only a run that is finished and has no readout of its own takes one of a few labels.
fn check_savable(sitting: &Sitting<RunDirReader>) -> anyhow::Result<()> {
    let (place, plan) = (sitting.dir.place(), &sitting.plan);
    ensure!(
        plan.readout.is_none(),
        "--save: {place} has a readout of its own, by the [readout] of its configuration; leave --save out"
    );
    ensure!(
        sitting.frozen.len() == plan.stages.len(),
        "--save: {place}: the run is not finished; run it to its end first"
    );
    Ok(())
}

/// Makes a readout of all layers that are read the run's own, with what its classes are called.
fn keep(
    sitting: &Sitting<RunDirReader>,
    surroundings: &Surroundings,
    parameters: &Tensors,
    classes: &[String],
) -> anyhow::Result<()> {
    let (file, text) = sitting.dir.config_file()?;
    let config = crate::config::parse(&file.to_string(), &text, &[])?;
    let dir = RunDir::open(sitting.dir.place(), &config, surroundings.patience)?;
    // Classes first: a readout without names would be of no use.
    let kept = dir.name_classes(classes).and_then(|()| dir.save_readout(parameters, &sitting.plan.tapped()));
    dir.release();
    Ok(kept?)
}

/// Takes up what a run has frozen, and the samples that it is measured with.
fn sitting(
    dir: RunDirReader,
    overrides: &[String],
    surroundings: &Surroundings,
) -> anyhow::Result<Sitting<RunDirReader>> {
    if let Some(wrong) = overrides.iter().find(|given| !given.trim_start().starts_with("readout.")) {
        bail!(
            "--set {wrong}: the run's layers are trained; expected a key of the readout, such as readout.dropout=0.4"
        );
    }
    let (file, text) = dir.config_file()?;
    let config = crate::config::parse(&file.to_string(), &text, overrides)?;
    let (plan, set) = prepare(&config, &surroundings.data)?;
    // By which a file of labels calls them.
    let splits = split(&plan, set.numbered())?;
    Ok(Sitting::evaluating(plan, splits, dir, surroundings, Events::new(vec![teller()]))?)
}

/// Computes something of the frozen layers on workers, and tries again when one fails.
async fn on_workers<T>(
    sitting: &mut Sitting<RunDirReader>,
    retries: Retries,
    compute: impl AsyncFn(&Sitting<RunDirReader>, &[Worker]) -> Result<T, ReadoutError>,
) -> anyhow::Result<T> {
    let mut failures = 0;
    loop {
        tokio::time::sleep(retries.pause(failures)).await;
        let workers = sitting.gather().await?;
        let computed = match sitting.host().await {
            Ok(()) => compute(sitting, &workers).await,
            Err(failure) => Err(FeaturesError::from(failure).into()),
        };
        let failure = match computed {
            Err(ReadoutError::Features(FeaturesError::Worker(failure))) if failure.passing => failure,
            done => return Ok(done?),
        };
        sitting.cluster.give_up(&failure).await;
        if failure.reason == Reason::Closing {
            sitting.events.tell(&Event::WorkerLeft { address: failure.address, step: Step(0) })?;
            continue;
        }
        failures += 1;
        if failures == retries.tries {
            return Err(failure.into());
        }
        sitting.events.tell(&Event::WorkerLost { failure, again_from: Step(0) })?;
    }
}

/// How many layers are frozen, one at least.
fn some_frozen(sitting: &Sitting<RunDirReader>) -> anyhow::Result<usize> {
    let frozen = sitting.frozen.len();
    ensure!(frozen > 0, "{}: no layer is frozen yet", sitting.dir.place());
    Ok(frozen)
}

/// Of each frozen layer up to the highest that is read, whether it is: layers above that are of no use.
fn layers_to_read(sitting: &Sitting<RunDirReader>, wanted: Option<Vec<usize>>) -> anyhow::Result<Vec<bool>> {
    let place = sitting.dir.place();
    let frozen = some_frozen(sitting)?;
    let mut read: Vec<bool> = match wanted {
        None => sitting.plan.stages[..frozen].iter().map(|stage| stage.tapped).collect(),
        Some(layers) => {
            if let Some(wrong) = layers.iter().find(|&&layer| layer >= frozen) {
                bail!("--layers {wrong}: expected indices below {frozen}: so many layers are frozen");
            }
            (0..frozen).map(|layer| layers.contains(&layer)).collect()
        }
    };
    let Some(highest) = read.iter().rposition(|read| *read) else {
        bail!(
            "{place}: the readout reads none of the {frozen} layers that are frozen; name some with --layers"
        );
    };
    read.truncate(highest + 1);
    Ok(read)
}
