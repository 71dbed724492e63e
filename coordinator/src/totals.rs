//! What steps come to, said once: the numbers that a worker reports of a step add up to a line of metrics, to what a
//! checkpoint carries, and to a layer's summary.

use proto::wire;
use serde::{Deserialize, Serialize};

/// Loss and goodness: added up over steps, or their means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// Loss.
    pub loss: f64,
    /// Goodness of positive pairs.
    pub goodness_pos: f64,
    /// Goodness of negative pairs.
    pub goodness_neg: f64,
}

/// What steps cost besides computing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Seconds that the trainer waited for batches.
    pub waiting_seconds: f64,
    /// Sums of goodness that workers who share the layer sent each other, in bytes.
    pub bytes_exchanged: u64,
    /// Batches that they handed on to each other, in bytes.
    pub bytes_forwarded: u64,
}

/// Steps, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// How many.
    pub steps: u64,
    /// Their loss and goodness, added up.
    pub measures: Measures,
    /// What they cost.
    pub spent: Spent,
}

impl Totals {
    /// Takes a step in.
    pub fn add(&mut self, step: &wire::StepReport) {
        self.steps += 1;
        self.measures.loss += step.loss_positive + step.loss_negative + step.loss_penalty;
        self.measures.goodness_pos += step.goodness_pos;
        self.measures.goodness_neg += step.goodness_neg;
        self.spent.waiting_seconds += step.waiting_seconds;
        self.spent.bytes_exchanged = self.spent.bytes_exchanged.saturating_add(step.exchanged_bytes);
        self.spent.bytes_forwarded = self.spent.bytes_forwarded.saturating_add(step.forwarded_bytes);
    }

    /// The means over the steps; zeros where there are none.
    pub fn means(&self) -> Measures {
        let steps = self.steps.max(1) as f64;
        let Measures { loss, goodness_pos, goodness_neg } = self.measures;
        Measures {
            loss: loss / steps,
            goodness_pos: goodness_pos / steps,
            goodness_neg: goodness_neg / steps,
        }
    }
}

/// What a stage carries besides the layer's state: it survives an interruption with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// Seconds of training so far.
    pub seconds: f64,
    /// Bytes that the coordinator sent to workers so far.
    pub bytes_sent: u64,
    /// All steps so far.
    pub all: Totals,
    /// Those of the last report.
    pub reported: Totals,
    /// Those since.
    pub unreported: Totals,
}

impl Carried {
    /// Takes a step in.
    pub fn add(&mut self, step: &wire::StepReport) {
        self.all.add(step);
        self.unreported.add(step);
    }

    /// Takes the steps since the last report for one.
    pub fn report(&mut self) -> Totals {
        self.reported = std::mem::take(&mut self.unreported);
        self.reported
    }
}

/// A report, which is a line of `metrics.jsonl`: means over the steps since the one before. Field names are stable: scripts read
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The layer's index.
    pub layer: u32,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps taken.
    pub step: u64,
    /// Means over the steps.
    #[serde(flatten)]
    pub means: Measures,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Samples a second, over the last second or so.
    pub samples_per_second: f64,
    /// What the steps cost.
    #[serde(flatten)]
    pub spent: Spent,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(goodness_pos: f64) -> wire::StepReport {
        wire::StepReport {
            loss_positive: 1.0,
            loss_negative: 0.5,
            loss_penalty: 0.25,
            goodness_pos,
            goodness_neg: 3.0,
            waiting_seconds: 0.5,
            exchanged_bytes: 7,
            ..Default::default()
        }
    }

    #[test]
    fn steps_add_up_and_reports_are_means_of_those_since_the_last() {
        let mut carried = Carried::default();
        for goodness in [1.0, 2.0] {
            carried.add(&step(goodness));
        }
        let means = Measures { loss: 1.75, goodness_pos: 1.5, goodness_neg: 3.0 };
        assert_eq!(carried.report().means(), means);
        carried.add(&step(8.0));
        assert_eq!((carried.all.steps, carried.reported.steps, carried.unreported.steps), (3, 2, 1));
        assert_eq!(carried.report().means().goodness_pos.to_bits(), 8f64.to_bits());
        assert_eq!(
            carried.all.spent,
            Spent { waiting_seconds: 1.5, bytes_exchanged: 21, bytes_forwarded: 0 }
        );
    }

    #[test]
    fn what_is_carried_comes_back_to_the_last_bit() {
        let mut carried = Carried { seconds: 0.1, ..Carried::default() };
        for step_number in 0..2_000 {
            carried.add(&step(1.0 / f64::from(3 + step_number)));
            let text = serde_json::to_string(&carried).unwrap();
            assert_eq!(serde_json::from_str::<Carried>(&text).unwrap(), carried, "{text}");
        }
    }

    #[test]
    fn a_line_of_metrics_has_the_names_that_scripts_read() {
        let mut totals = Totals::default();
        totals.add(&step(1.0));
        let line = Metrics {
            layer: 2,
            epoch: 1,
            step: 5,
            means: totals.means(),
            learning_rate: 0.01,
            samples_per_second: 10.0,
            spent: totals.spent,
        };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(
            text,
            "{\"layer\":2,\"epoch\":1,\"step\":5,\"loss\":1.75,\"goodness_pos\":1.0,\"goodness_neg\":3.0,\
             \"learning_rate\":0.01,\"samples_per_second\":10.0,\"waiting_seconds\":0.5,\"bytes_exchanged\":7,\
             \"bytes_forwarded\":0}"
        );
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), line);
    }
}
