//! What a person sees of a run: bars on a terminal, plain lines elsewhere. That nobody reads them ends no run.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::logs::say;
use scff::batch::{Epoch, LayerIndex, Step};

use crate::clock::Stopwatch;
use crate::cluster::WaitedFor;
use crate::events::{Event, LayerStarted, Listener};
use crate::run_dir::RunDirError;
use crate::totals::{Measures, Metrics};

/// Lines of a layer, where there is no terminal: at most one in this time.
pub const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Words and draws on standard error.
pub struct Terminal {
    bars: MultiProgress,
    /// Whether there are no bars.
    plain: bool,
    layers: BTreeMap<LayerIndex, LayerShown>,
    /// The bar of features or of the readout.
    bar: ProgressBar,
}

struct LayerShown {
    name: String,
    epochs: u32,
    steps: Step,
    bar: ProgressBar,
    last_line: Stopwatch,
}

impl Terminal {
    /// The terminal of this process.
    pub fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
            plain: !std::io::stderr().is_terminal(),
            layers: BTreeMap::new(),
            bar: ProgressBar::hidden(),
        }
    }

    fn say(&self, line: impl std::fmt::Display) {
        self.bars.suspend(|| say(line));
    }

    fn layer_starts(&mut self, started: &LayerStarted) {
        let LayerStarted { layer, name, from, until, epochs, steps, trainers } = started;
        let trainers = trainers.join(", ");
        if from.0 > 0 {
            self.say(format_args!("{name}: continuing at step {} of {} on {trainers}", from.0, until.0));
        } else {
            self.say(format_args!("{name}: {} steps on {trainers}", until.0));
        }
        let bar = bar(steps.0, "{prefix:>10} {bar:30} {pos}/{len} steps  {msg}  {eta} left");
        let bar = self.bars.add(bar);
        bar.set_prefix(name.clone());
        bar.set_position(from.0);
        bar.reset_eta();
        let shown = LayerShown {
            name: name.clone(),
            epochs: *epochs,
            steps: *steps,
            bar,
            last_line: Stopwatch::start(),
        };
        self.layers.insert(*layer, shown);
    }

    fn report(&mut self, metrics: &Metrics) {
        let Some(layer) = self.layers.get_mut(&LayerIndex(metrics.layer)) else { return };
        let Metrics { epoch, step, samples_per_second, means, .. } = metrics;
        let Measures { loss, goodness_pos, goodness_neg } = means;
        let message = format!(
            "epoch {epoch}/{}  {samples_per_second:.0} samples/s  goodness {goodness_pos:.3} / {goodness_neg:.3}  loss {loss:.4}",
            layer.epochs
        );
        if self.plain && (*step == layer.steps.0 || layer.last_line.elapsed() >= PLAIN_EVERY) {
            layer.last_line = Stopwatch::start();
            say(format_args!("{}  step {step}/{}  {message}", layer.name, layer.steps.0));
        }
        layer.bar.set_message(message);
    }

    fn layers_end(&mut self) {
        for layer in std::mem::take(&mut self.layers).into_values() {
            layer.bar.abandon();
        }
    }

    fn stopped(&self, layers: &[String], step: Step) {
        const NEXT: &str = "the same command continues";
        if layers.is_empty() {
            self.say(format_args!("stopped before the readout; {NEXT}"));
        } else {
            self.say(format_args!("stopped after step {} of {}; {NEXT}", step.0, layers.join(", ")));
        }
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener for Terminal {
    fn hear(&mut self, event: &Event) -> Result<(), RunDirError> {
        match event {
            Event::Started { frozen: 0, .. }
            | Event::Checkpoint { .. }
            | Event::LayerFrozen { .. }
            | Event::WithoutLabels(_)
            | Event::Finished { before: false, .. } => {}
            Event::Started { run_dir, frozen } => {
                self.say(format_args!("{run_dir}: continuing after {frozen} frozen layer(s)"));
            }
            Event::OtherBuild { before, now } => {
                let before =
                    before.as_ref().map_or_else(|| "an earlier build".to_owned(), ToString::to_string);
                self.say(format_args!("this run was worked on by {before}; {now} goes on with it"));
            }
            Event::Waiting(WaitedFor { whom, reasons, left }) => {
                let why = if reasons.is_empty() { "no answer yet".to_owned() } else { reasons.join("; ") };
                self.say(format_args!("waiting for {whom} ({why}), for {} s at most", left.as_secs()));
            }
            Event::WorkerMeasured { worker, link, benchmark } => {
                let link = link.map(|link| link.to_string());
                let found: Vec<String> =
                    link.into_iter().chain(benchmark.map(|benchmark| benchmark.to_string())).collect();
                self.say(format_args!("worker {worker}: {}", found.join("; ")));
            }
            Event::PhaseStarted { layers } => layers.iter().for_each(|layer| self.layer_starts(layer)),
            Event::Step { layer, taken } => {
                if let Some(layer) = self.layers.get(layer) {
                    layer.bar.set_position(taken.0);
                }
            }
            Event::Report(metrics) => self.report(metrics),
            Event::PhaseEnded => self.layers_end(),
            Event::WorkerCame { address } => {
                self.say(format_args!("{address}: a worker has come; going on with it from the checkpoint"));
            }
            Event::SlowWorker { layer, slow } => {
                let (worker, seconds, held_up) = (&slow.pace.worker, slow.pace.seconds, slow.held_up());
                self.say(format_args!(
                    "worker {worker} is slow: it computes {seconds:.3} s of each step of {layer}, the others {:.3} s at most, \
                     and wait {held_up:.3} s for it",
                    slow.others
                ));
            }
            Event::WorkerLeft { address, step } => {
                self.say(format_args!("worker {address} leaves; going on without it from step {}", step.0));
            }
            Event::WorkerLost { failure, again_from } => {
                self.say(format_args!("{failure}; trying again from step {}", again_from.0));
            }
            Event::FeaturesStarted { samples } => {
                self.bar = bar(*samples, "  features {bar:30} {pos}/{len} samples  {per_sec}  {eta} left");
            }
            Event::Features { samples } => self.bar.inc(*samples),
            Event::FeaturesEnded => self.bar.finish_and_clear(),
            Event::FeaturesInterrupted { failure, again_from } => {
                self.say(format_args!("{failure}; going on from sample {again_from}"));
            }
            Event::ReadoutStarted { epochs } => {
                let epochs = u64::from(*epochs);
                self.bar = bar(epochs, "   readout {bar:30} {pos}/{len} epochs  {msg}  {eta} left");
            }
            Event::ReadoutEpoch { epoch: Epoch(epoch), loss } => {
                self.bar.set_position(u64::from(*epoch) + 1);
                self.bar.set_message(format!("loss {loss:.4}"));
            }
            Event::ReadOut(_) => self.bar.abandon(),
            Event::Stopped { layers, step } => self.stopped(layers, *step),
            Event::Finished { run_dir, before: true, .. } => {
                self.say(format_args!("{run_dir}: this run is finished"));
            }
        }
        Ok(())
    }
}

/// A progress bar on a terminal, nothing elsewhere.
fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a valid template");
    ProgressBar::new(length).with_style(style)
}
