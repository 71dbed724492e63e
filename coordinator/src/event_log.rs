//! What a program sees of a run that logs as JSON: events, with their numbers as fields.

use std::collections::BTreeMap;

use proto::logs::LogFormat;
use scff::batch::{LayerIndex, Step};
use tracing::{info, warn};

use crate::clock::Stopwatch;
use crate::cluster::WaitedFor;
use crate::events::{Event, LayerStarted, Listener};
use crate::run_dir::RunDirError;
use crate::summary::{LayerSummary, LayerWithoutLabels, WithoutLabels};
use crate::terminal::{PLAIN_EVERY, Terminal};
use crate::totals::{Measures, Metrics};

/// Who tells of a run on standard error, as this process logs.
pub fn teller() -> Box<dyn Listener> {
    match LogFormat::of_this_process() {
        LogFormat::Text => Box::new(Terminal::new()),
        LogFormat::Json => Box::new(EventLog::default()),
    }
}

/// Logs what happens.
#[derive(Default)]
pub struct EventLog {
    layers: BTreeMap<LayerIndex, LayerLogged>,
}

struct LayerLogged {
    name: String,
    steps: Step,
    last_line: Stopwatch,
}

impl EventLog {
    fn layer_starts(&mut self, started: &LayerStarted) {
        let LayerStarted { layer, name, from, until, epochs, steps, trainers } = started;
        let workers = trainers.join(", ");
        info!(
            event = "layer_started",
            layer = layer.0,
            name,
            from = from.0,
            until = until.0,
            epochs,
            steps = steps.0,
            workers,
            "a layer trains"
        );
        let shown = LayerLogged { name: name.clone(), steps: *steps, last_line: Stopwatch::start() };
        self.layers.insert(*layer, shown);
    }

    fn report(&mut self, metrics: &Metrics) {
        let Some(layer) = self.layers.get_mut(&LayerIndex(metrics.layer)) else { return };
        let Metrics { epoch, step, samples_per_second, means, learning_rate, .. } = metrics;
        if *step != layer.steps.0 && layer.last_line.elapsed() < PLAIN_EVERY {
            return;
        }
        layer.last_line = Stopwatch::start();
        let Measures { loss, goodness_pos, goodness_neg } = means;
        info!(
            event = "report",
            layer = metrics.layer,
            name = layer.name,
            epoch,
            step,
            samples_per_second,
            loss,
            goodness_pos,
            goodness_neg,
            learning_rate,
            "steps were taken"
        );
    }
}

impl Listener for EventLog {
    fn hear(&mut self, event: &Event) -> Result<(), RunDirError> {
        match event {
            // Bars are drawn of these.
            Event::Step { .. } | Event::Features { .. } | Event::ReadoutEpoch { .. } => {}
            Event::PhaseStarted { layers } => layers.iter().for_each(|layer| self.layer_starts(layer)),
            Event::Report(metrics) => self.report(metrics),
            Event::PhaseEnded => self.layers.clear(),
            event => log(event),
        }
        Ok(())
    }
}

/// Logs what needs no memory of what came before.
fn log(event: &Event) {
    match event {
        Event::Started { run_dir, frozen } => {
            info!(event = "started", folder = %run_dir, frozen_layers = frozen, "a run begins or goes on");
        }
        Event::OtherBuild { before, now } => {
            let (before, now) = (before.as_ref().map(ToString::to_string), now.to_string());
            warn!(event = "other_build", before, now, "another build goes on with the run");
        }
        Event::Waiting(WaitedFor { whom, reasons, left }) => {
            let (reasons, left_seconds) = (reasons.join("; "), left.as_secs());
            info!(event = "waiting", for_whom = whom, reasons, left_seconds, "waiting for workers");
        }
        Event::WorkerMeasured { worker, link, benchmark } => {
            let megabits_per_second = link.map(|link| 8e-6 * link.bytes_per_second);
            let round_trip_ms = link.map(|link| 1e3 * link.round_trip);
            let gigaflops = benchmark.map(|benchmark| 1e-9 * benchmark.operations);
            let threads = benchmark.map(|benchmark| benchmark.threads);
            info!(
                event = "worker_measured",
                %worker, megabits_per_second, round_trip_ms, gigaflops, threads, "a worker is measured"
            );
        }
        Event::Checkpoint { layers, step } => {
            let layers = layers.iter().map(|layer| layer.0.to_string()).collect::<Vec<_>>().join(", ");
            info!(event = "checkpoint", layers, step = step.0, "a checkpoint is written");
        }
        Event::LayerFrozen { layer, summary } => log_frozen(*layer, summary),
        Event::WorkerCame { address } => {
            info!(event = "worker_came", worker = address, "a worker has come; going on from the checkpoint");
        }
        Event::SlowWorker { layer, slow } => warn!(
            event = "slow_worker",
            worker = %slow.pace.worker,
            name = layer,
            seconds = slow.pace.seconds,
            others_seconds = slow.others,
            held_up_seconds = slow.held_up(),
            "a worker takes longer in each step than the others, who wait for it"
        ),
        Event::WorkerLeft { address, step } => {
            let (worker, step) = (address, step.0);
            info!(event = "worker_left", %worker, step, "a worker leaves; going on without it from the step");
        }
        Event::WorkerLost { failure, again_from } => {
            let (worker, step) = (&failure.address, again_from.0);
            warn!(event = "worker_lost", %worker, reason = failure.message, step, "trying again from the step");
        }
        Event::FeaturesStarted { samples } => {
            info!(event = "features_started", samples, "features are computed");
        }
        Event::FeaturesInterrupted { failure, again_from: sample } => {
            let worker = &failure.address;
            warn!(event = "features_interrupted", %worker, reason = failure.message, sample, "going on from the sample");
        }
        Event::FeaturesEnded => info!(event = "features_ended", "no more features come"),
        Event::ReadoutStarted { epochs } => info!(event = "readout_started", epochs, "the readout learns"),
        Event::ReadOut(summary) => {
            let (accuracy, on) = summary.accuracies.measured();
            let (features, seconds) = (summary.features, summary.seconds);
            info!(event = "read_out", features, accuracy, on, seconds, "the readout is measured");
        }
        Event::WithoutLabels(WithoutLabels { samples, of, layers, .. }) => {
            for LayerWithoutLabels { name, effective_rank, neighbour_agreement, .. } in layers {
                let said = "a layer is looked at without labels";
                info!(event = "without_labels", samples, of, name, effective_rank, neighbour_agreement, said);
            }
        }
        Event::Stopped { layers, step } => {
            let layers = layers.join(", ");
            info!(event = "stopped", layers, step = step.0, "stopped; the same command continues");
        }
        Event::Finished { run_dir, summary, before } => info!(
            event = "finished",
            folder = %run_dir,
            seconds = summary.seconds,
            weights_sha256 = summary.weights_sha256,
            before,
            "the run is finished"
        ),
        // Told elsewhere, or not at all.
        Event::PhaseStarted { .. }
        | Event::Step { .. }
        | Event::Report(_)
        | Event::PhaseEnded
        | Event::Features { .. }
        | Event::ReadoutEpoch { .. } => {}
    }
}

fn log_frozen(layer: LayerIndex, summary: &LayerSummary) {
    info!(
        event = "layer_frozen",
        layer = layer.0,
        name = summary.name,
        steps = summary.steps,
        seconds = summary.seconds,
        samples_per_second = summary.samples_per_second,
        weights_sha256 = summary.weights_sha256,
        "a layer is frozen"
    );
}
