//! What a run shows to whoever watches it, as Prometheus metrics.

use prometheus::{Counter, GaugeVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use proto::observe::Observed;

use crate::clock::nanoseconds_since_1970;
use crate::events::{Event, LayerStarted, Listener};
use crate::run_dir::RunDirError;
use crate::totals::{Measures, Metrics, Spent};

/// Counters and gauges of a run.
pub struct Meters {
    observed: Observed,
    steps: IntGaugeVec,
    planned: IntGaugeVec,
    trainers: IntGaugeVec,
    rate: GaugeVec,
    loss: GaugeVec,
    goodness: GaugeVec,
    learning_rate: GaugeVec,
    waiting: Counter,
    exchanged: IntCounter,
    forwarded: IntCounter,
    frozen: IntGauge,
    checkpoint: IntGauge,
    lost: IntCounter,
    left: IntCounter,
    came: IntCounter,
}

impl Meters {
    /// Registers them with a process that is watched.
    pub fn new(observed: Observed) -> Self {
        let registry = observed.registry().clone();
        let of = |name: &str, help: &str, labels: &[&str]| {
            kept(&registry, GaugeVec::new(Opts::new(name, help), labels))
        };
        let counts =
            |name: &str, help: &str| kept(&registry, IntGaugeVec::new(Opts::new(name, help), &["layer"]));
        let counter = |name: &str, help: &str| kept(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| kept(&registry, IntGauge::new(name, help));
        let waiting =
            Counter::new("strata_waiting_seconds_total", "Seconds that trainers waited for batches.");
        Self {
            steps: counts("strata_layer_steps", "Steps that a layer has taken."),
            planned: counts("strata_layer_planned_steps", "Steps that a layer is to take in all."),
            trainers: counts("strata_trainers", "Workers that train a layer."),
            rate: of(
                "strata_samples_per_second",
                "Samples a second, over the last second or so.",
                &["layer"],
            ),
            loss: of("strata_loss", "Mean loss since the report before.", &["layer"]),
            goodness: of("strata_goodness", "Mean goodness since the report before.", &["layer", "pairs"]),
            learning_rate: of("strata_learning_rate", "Learning rate of the last step.", &["layer"]),
            waiting: kept(&registry, waiting),
            exchanged: counter(
                "strata_exchanged_bytes_total",
                "Sums that workers sent each other, in bytes.",
            ),
            forwarded: counter("strata_forwarded_bytes_total", "Batches that workers handed on, in bytes."),
            frozen: gauge("strata_frozen_layers", "Layers that are trained and frozen."),
            checkpoint: gauge("strata_checkpoint_timestamp_seconds", "When the last checkpoint was written."),
            lost: counter("strata_workers_lost_total", "Workers that failed."),
            left: counter("strata_workers_left_total", "Workers that left and had their work taken over."),
            came: counter("strata_workers_came_total", "Workers that came while a layer trained."),
            observed,
        }
    }

    fn started(&self, LayerStarted { layer, from, steps, trainers, .. }: &LayerStarted) {
        let layer = layer.0.to_string();
        self.steps.with_label_values(&[&layer]).set(from.0 as i64);
        self.planned.with_label_values(&[&layer]).set(steps.0 as i64);
        self.trainers.with_label_values(&[&layer]).set(trainers.len() as i64);
    }

    fn report(&self, metrics: &Metrics) {
        let Metrics { layer, means, learning_rate, samples_per_second, spent, .. } = *metrics;
        let Measures { loss, goodness_pos, goodness_neg } = means;
        let layer = &*layer.to_string();
        self.rate.with_label_values(&[layer]).set(samples_per_second);
        self.loss.with_label_values(&[layer]).set(loss);
        self.goodness.with_label_values(&[layer, "positive"]).set(goodness_pos);
        self.goodness.with_label_values(&[layer, "negative"]).set(goodness_neg);
        self.learning_rate.with_label_values(&[layer]).set(learning_rate);
        let Spent { waiting_seconds, bytes_exchanged, bytes_forwarded } = spent;
        self.waiting.inc_by(waiting_seconds.max(0.0));
        self.exchanged.inc_by(bytes_exchanged);
        self.forwarded.inc_by(bytes_forwarded);
    }
}

fn kept<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let collector = made.expect("a valid name");
    registry.register(Box::new(collector.clone())).expect("the first of its name");
    collector
}

impl Listener for Meters {
    fn hear(&mut self, event: &Event) -> Result<(), RunDirError> {
        match event {
            Event::Waiting(_) => self.observed.set_ready(false),
            Event::Started { frozen, .. } => self.frozen.set(*frozen as i64),
            Event::PhaseStarted { layers } => {
                self.observed.set_ready(true);
                for layer in layers {
                    self.started(layer);
                }
            }
            Event::Step { layer, taken } => {
                self.steps.with_label_values(&[&layer.0.to_string()]).set(taken.0 as i64);
            }
            Event::Report(metrics) => self.report(metrics),
            Event::Checkpoint { .. } => {
                self.checkpoint.set((nanoseconds_since_1970() / 1_000_000_000) as i64);
            }
            Event::LayerFrozen { layer, .. } => {
                self.trainers.with_label_values(&[&layer.0.to_string()]).set(0);
                self.frozen.inc();
            }
            Event::WorkerLost { .. } => self.lost.inc(),
            Event::WorkerLeft { .. } => self.left.inc(),
            Event::WorkerCame { .. } => self.came.inc(),
            Event::FeaturesStarted { .. } => self.observed.set_ready(true),
            Event::OtherBuild { .. }
            | Event::WorkerMeasured { .. }
            | Event::PhaseEnded
            | Event::SlowWorker { .. }
            | Event::Features { .. }
            | Event::FeaturesEnded
            | Event::FeaturesInterrupted { .. }
            | Event::ReadoutStarted { .. }
            | Event::ReadoutEpoch { .. }
            | Event::ReadOut(_)
            | Event::WithoutLabels(_)
            | Event::Stopped { .. }
            | Event::Finished { .. } => {}
        }
        Ok(())
    }
}
