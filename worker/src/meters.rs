//! What a worker counts for whoever watches it.

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use prost::Message as _;
use proto::wire;
use proto::wire::exchange_message::Message;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use scff::batch::LayerIndex;

/// Counters and gauges of a worker.
#[derive(Clone, Debug)]
pub struct Meters {
    steps: IntCounterVec,
    samples: IntCounter,
    /// Samples sent through frozen layers.
    pub transformed: IntCounter,
    waiting: Counter,
    received: IntCounterVec,
    sent: IntCounterVec,
    /// Bytes of kept activations.
    kept: IntGauge,
    /// Training streams.
    pub training: IntGauge,
}

impl Meters {
    /// Registers them. `cache_bytes`: how many bytes of activations may be kept.
    pub fn new(registry: &Registry, cache_bytes: u64) -> Self {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name");
            registry.register(Box::new(counters.clone())).expect("the first of its name");
            counters
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid name");
            registry.register(Box::new(counter.clone())).expect("the first of its name");
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a valid name");
            registry.register(Box::new(gauge.clone())).expect("the first of its name");
            gauge
        };
        let waiting =
            Counter::new("strata_waiting_seconds_total", "Seconds that training waited for batches.");
        let waiting = waiting.expect("a valid name");
        registry.register(Box::new(waiting.clone())).expect("the first of its name");
        gauge("strata_cache_limit_bytes", "Bytes of activations that may be kept.").set(cache_bytes as i64);
        Self {
            steps: counters("strata_steps_total", "Training steps taken.", "layer"),
            samples: counter("strata_samples_total", "Samples trained on."),
            transformed: counter("strata_transformed_samples_total", "Samples sent through frozen layers."),
            waiting,
            received: counters("strata_received_bytes_total", "Bytes received, by kind of message.", "kind"),
            sent: counters("strata_sent_bytes_total", "Bytes sent, by kind of message.", "kind"),
            kept: gauge("strata_kept_bytes", "Bytes of activations that are kept."),
            training: gauge("strata_training_streams", "Training streams that are open."),
        }
    }

    /// Those of a layer in training, with so many samples in a step.
    pub fn of_layer(&self, layer: LayerIndex, batch: usize) -> LayerMeters {
        let steps = self.steps.with_label_values(&[&layer.0.to_string()]);
        LayerMeters { meters: self.clone(), steps, batch: batch as u64 }
    }

    /// Counts a layer, or rows to transform, that have come in.
    pub fn received_bytes(&self, kind: &str, bytes: usize) {
        self.received.with_label_values(&[kind]).inc_by(bytes as u64);
    }

    /// Counts what has come of another who shares a layer or a readout.
    pub fn received_of_peer(&self, message: &wire::ExchangeMessage) {
        self.received_bytes(kind(message), message.encoded_len());
    }

    /// Counts what goes to another who shares a layer or a readout.
    pub fn sent_to_peer(&self, message: &wire::ExchangeMessage) {
        self.sent.with_label_values(&[kind(message)]).inc_by(message.encoded_len() as u64);
    }

    /// Counts what has come of another who trains the layer below.
    pub fn received_of_feeder(&self, message: &wire::FeedRequest) {
        self.received_bytes("passed-on", message.encoded_len());
    }

    /// Counts what goes to another who trains the layer above.
    pub fn sent_to_taker(&self, message: &wire::FeedRequest) {
        self.sent.with_label_values(&["passed-on"]).inc_by(message.encoded_len() as u64);
    }

    /// Counts rows that go out.
    pub fn sent_rows(&self, rows: &wire::Rows) {
        self.sent.with_label_values(&["rows"]).inc_by(rows.encoded_len() as u64);
    }
}

fn kind(message: &wire::ExchangeMessage) -> &'static str {
    match &message.message {
        Some(Message::Columns(_)) => "features",
        Some(Message::Slice(_)) => "sums",
        Some(Message::Introduction(_)) | None => "control",
    }
}

/// Counters of a layer in training.
#[derive(Clone, Debug)]
pub struct LayerMeters {
    meters: Meters,
    steps: IntCounter,
    batch: u64,
}

impl LayerMeters {
    /// Counts a message of a training stream that has come in.
    pub fn received(&self, request: &wire::TrainRequest) {
        let Some(kind) = &request.request else { return };
        let kind = match kind {
            Request::Begin(_) | Request::Checkpoint(_) => "control",
            Request::State(_) => "state",
            Request::Batch(_) => "batch",
            Request::Rows(_) => "rows",
        };
        self.meters.received_bytes(kind, request.encoded_len());
    }

    /// Counts a reply of a training stream that goes out.
    pub fn sent(&self, reply: &Reply) {
        let Meters { samples, waiting, kept, sent, .. } = &self.meters;
        let (kind, bytes) = match reply {
            Reply::Ready(_) => return,
            Reply::Step(report) => {
                self.steps.inc();
                samples.inc_by(self.batch);
                waiting.inc_by(report.waiting_seconds.max(0.0));
                kept.set(report.kept_bytes as i64);
                ("report", report.encoded_len())
            }
            Reply::State(part) => ("state", part.encoded_len()),
        };
        sent.with_label_values(&[kind]).inc_by(bytes as u64);
    }
}
