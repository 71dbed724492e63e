//! Reports on a layer in training: its steps, added up.

use proto::wire;
use scff::batch::{LayerIndex, Step};

use crate::clock::Stopwatch;
use crate::plan::{Plan, Stage};
use crate::totals::{Carried, Metrics};

/// Adds up the steps of a stage, and reports on them now and then.
pub struct Reporter {
    layer: LayerIndex,
    steps_per_epoch: u64,
    steps: Step,
    batch: usize,
    report_every: u64,
    carried: Carried,
    taken: Step,
    rate: Rate,
}

impl Reporter {
    /// Takes up a stage after `taken` steps.
    pub fn new(plan: &Plan, stage: &Stage, taken: Step, carried: Carried) -> Self {
        Self {
            layer: stage.layer,
            steps_per_epoch: stage.steps_per_epoch,
            steps: stage.steps(),
            batch: plan.batch,
            report_every: plan.report_every,
            carried,
            taken,
            rate: Rate { step: taken.0, since: Stopwatch::start(), per_second: 0.0 },
        }
    }

    /// Takes a step in; returns a report where one is due.
    pub fn step(&mut self, step: &wire::StepReport) -> Option<Metrics> {
        self.carried.add(step);
        let taken = step.step + 1;
        self.taken = Step(taken);
        if !taken.is_multiple_of(self.report_every) && taken != self.steps.0 {
            return None;
        }
        let steps = self.carried.report();
        Some(Metrics {
            layer: self.layer.0,
            epoch: step.step / self.steps_per_epoch + 1,
            step: taken,
            means: steps.means(),
            learning_rate: step.learning_rate,
            samples_per_second: self.rate.per_second(taken) * self.batch as f64,
            spent: steps.spent,
        })
    }

    /// The steps that have been reported.
    pub fn taken(&self) -> Step {
        self.taken
    }

    /// What the steps so far have come to. Seconds and bytes sent are not known here: they are those of the beginning.
    pub fn carried(&self) -> Carried {
        self.carried
    }
}

/// Steps a second. Reports of short steps come in bursts, so it is taken over half a second at least.
struct Rate {
    step: u64,
    since: Stopwatch,
    per_second: f64,
}

impl Rate {
    fn per_second(&mut self, step: u64) -> f64 {
        let elapsed = self.since.seconds();
        if elapsed >= 0.5 || self.per_second == 0.0 {
            self.per_second = (step - self.step) as f64 / elapsed;
        }
        if elapsed >= 0.5 {
            (self.step, self.since) = (step, Stopwatch::start());
        }
        self.per_second
    }
}
