//! Evaluation: readouts of what a run has frozen, or of its input, which leave the run as it is.

use anyhow::bail;
use proto::refusal::Reason;
use scff::batch::Step;

use crate::cluster::Worker;
use crate::data_folder;
use crate::event_log::teller;
use crate::events::{Event, Events};
use crate::features::{FeaturesError, Taps};
use crate::location::Location;
use crate::plan::source;
use crate::readout::ReadoutError;
use crate::run_dir::RunDirReader;
use crate::sitting::{Sitting, Surroundings};
use crate::split::{prepare, split};
use crate::summary::ReadoutSummary;

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
    place: &Location,
    wanted: Wanted,
    surroundings: &Surroundings,
) -> anyhow::Result<ReadoutSummary> {
    let dir = RunDirReader::open(place)?;
    if let Some(wrong) = wanted.readout.iter().find(|given| !given.trim_start().starts_with("readout.")) {
        bail!(
            "--set {wrong}: the run's layers are trained; expected a key of the readout, such as readout.dropout=0.4"
        );
    }
    let (file, text) = dir.config_file()?;
    let config = crate::config::parse(&file.to_string(), &text, &wanted.readout)?;
    let data = data_folder::local(&source(&config.data)?, &surroundings.data)?;
    let (plan, set) = prepare(&config, &data)?;
    let splits = split(&plan, set)?;
    let events = Events::new(vec![teller()]);
    let mut sitting = Sitting::evaluating(plan, splits, dir, surroundings, events)?;
    if wanted.input {
        let (_, summary) = sitting.read_out(&[], &Taps::Input).await?;
        return Ok(summary);
    }
    let read = layers_to_read(&sitting, wanted.layers)?;
    sitting.frozen.truncate(read.len());
    let taps = sitting.taps(read);
    let (retries, mut failures) = (surroundings.retries, 0);
    loop {
        tokio::time::sleep(retries.pause(failures)).await;
        let workers = sitting.gather().await?;
        let failure = match read_out(&mut sitting, &workers, &taps).await {
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

/// Trains and measures a readout of the frozen layers on workers.
async fn read_out(
    sitting: &mut Sitting<RunDirReader>,
    workers: &[Worker],
    taps: &Taps,
) -> Result<ReadoutSummary, ReadoutError> {
    sitting.host().await.map_err(FeaturesError::from)?;
    Ok(sitting.read_out(workers, taps).await?.1)
}

/// Of each frozen layer up to the highest that is read, whether it is: layers above that are of no use.
fn layers_to_read(sitting: &Sitting<RunDirReader>, wanted: Option<Vec<usize>>) -> anyhow::Result<Vec<bool>> {
    let place = sitting.dir.place();
    let frozen = sitting.frozen.len();
    if frozen == 0 {
        bail!("{place}: no layer is frozen yet");
    }
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
