//! What a person sees of a run, and what `metrics.jsonl` keeps of it.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::wire;

use crate::plan::{Plan, Stage};
use crate::run_dir::{Carried, Metrics, MetricsFile, RunDir, RunDirError};
use scff::batch::Step;

/// Follows one stage: adds up its steps, writes its metrics, shows its progress.
pub struct StageProgress {
    layer: u32,
    steps_per_epoch: u64,
    epochs: u32,
    name: String,
    batch: usize,
    report_every: u64,
    metrics: MetricsFile,
    bar: ProgressBar,
    plain: Option<PlainLines>,
    sums: Sums,
    rate: Rate,
    last: Carried,
}

#[derive(Default)]
struct Sums {
    steps: u64,
    loss: f64,
    goodness_pos: f64,
    goodness_neg: f64,
    waiting_seconds: f64,
    bytes_exchanged: u64,
    bytes_forwarded: u64,
}

/// Steps a second. Reports of short steps come in bursts, so it is taken over half a second at least.
struct Rate {
    step: u64,
    since: Instant,
    per_second: f64,
}

impl Rate {
    fn per_second(&mut self, step: u64) -> f64 {
        let elapsed = self.since.elapsed().as_secs_f64();
        if elapsed >= 0.5 || self.per_second == 0.0 {
            self.per_second = (step - self.step) as f64 / elapsed;
        }
        if elapsed >= 0.5 {
            (self.step, self.since) = (step, Instant::now());
        }
        self.per_second
    }
}

/// Plain lines, where there is no terminal: at most one in this time.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

struct PlainLines {
    last: Instant,
}

impl StageProgress {
    /// Takes up a stage at `start`, with a bar beneath those that `bars` shows already.
    pub fn new(
        plan: &Plan,
        stage: &Stage,
        run: &RunDir,
        start: Step,
        carried: Carried,
        bars: &MultiProgress,
    ) -> Result<Self, RunDirError> {
        let bar =
            bars.add(bar(stage.steps().0, "{prefix:>10} {bar:30} {pos}/{len} steps  {msg}  {eta} left"));
        bar.set_prefix(stage.spec.name.clone());
        bar.set_position(start.0);
        bar.reset_eta();
        Ok(Self {
            layer: stage.layer.0,
            steps_per_epoch: stage.steps_per_epoch,
            epochs: stage.epochs,
            name: stage.spec.name.clone(),
            batch: plan.batch,
            report_every: plan.report_every,
            metrics: run.metrics()?,
            bar,
            plain: (!std::io::stderr().is_terminal()).then(|| PlainLines { last: Instant::now() }),
            sums: Sums::default(),
            rate: Rate { step: start.0, since: Instant::now(), per_second: 0.0 },
            last: carried,
        })
    }

    /// Takes note of one step.
    pub fn step(&mut self, report: &wire::StepReport) -> Result<(), RunDirError> {
        self.sums.steps += 1;
        self.sums.loss += report.loss_positive + report.loss_negative + report.loss_penalty;
        self.sums.goodness_pos += report.goodness_pos;
        self.sums.goodness_neg += report.goodness_neg;
        self.sums.waiting_seconds += report.waiting_seconds;
        self.sums.bytes_exchanged += report.exchanged_bytes;
        self.sums.bytes_forwarded += report.forwarded_bytes;
        self.last.waiting_seconds += report.waiting_seconds;
        self.last.bytes_exchanged += report.exchanged_bytes;
        self.last.bytes_forwarded += report.forwarded_bytes;
        self.bar.set_position(report.step + 1);
        let taken = report.step + 1;
        let last = taken == self.steps_per_epoch * u64::from(self.epochs);
        if taken.is_multiple_of(self.report_every) || last {
            self.report(report, taken, last)?;
        }
        Ok(())
    }

    /// Goodness of both signs in the last report, and all the waiting and exchange so far; what else is carried is not known here.
    pub fn carried(&self) -> Carried {
        self.last
    }

    fn report(&mut self, report: &wire::StepReport, taken: u64, last: bool) -> Result<(), RunDirError> {
        let sums = std::mem::take(&mut self.sums);
        let steps = sums.steps as f64;
        let metrics = Metrics {
            layer: self.layer,
            epoch: report.step / self.steps_per_epoch + 1,
            step: taken,
            loss: sums.loss / steps,
            goodness_pos: sums.goodness_pos / steps,
            goodness_neg: sums.goodness_neg / steps,
            learning_rate: report.learning_rate,
            samples_per_second: self.rate.per_second(taken) * self.batch as f64,
            waiting_seconds: sums.waiting_seconds,
            bytes_exchanged: sums.bytes_exchanged,
            bytes_forwarded: sums.bytes_forwarded,
        };
        self.last.goodness_pos = metrics.goodness_pos;
        self.last.goodness_neg = metrics.goodness_neg;
        self.metrics.append(&metrics)?;
        let Metrics { epoch, loss, goodness_pos, goodness_neg, samples_per_second, .. } = metrics;
        let message = format!(
            "epoch {epoch}/{}  {samples_per_second:.0} samples/s  goodness {goodness_pos:.3} / {goodness_neg:.3}  loss {loss:.4}",
            self.epochs
        );
        if let Some(plain) = &mut self.plain
            && (last || plain.last.elapsed() >= PLAIN_EVERY)
        {
            plain.last = Instant::now();
            let total = self.steps_per_epoch * u64::from(self.epochs);
            eprintln!("{}  step {taken}/{total}  {message}", self.name);
        }
        self.bar.set_message(message);
        Ok(())
    }
}

impl Drop for StageProgress {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}

/// A progress bar on a terminal, nothing elsewhere.
pub fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("a valid template");
    ProgressBar::new(length).with_style(style)
}
