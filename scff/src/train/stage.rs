//! A layer in training with the frozen layers below it that run on what arrives.

use std::sync::Arc;

use super::input::PairedSamples;
use super::layer::TrainingLayer;
use super::partial::{Partial, Progress, StepReport, Sums};
use super::sharing::Sharing;
use crate::frozen::FrozenLayer;
use crate::samples::Samples;

/// What a step passes on to a layer above that trains at the same time, by the weights before the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOn {
    /// Nothing: nobody trains upon this layer.
    Nothing,
    /// The outputs of the positive pairs: a layer that makes pairs takes them for samples (algorithm 2).
    Positives,
    /// The outputs of all pairs, positives first (algorithm 1).
    Pairs,
}

/// What the first half of a step makes.
pub struct Half {
    /// The layer's own input.
    pub input: PairedSamples,
    /// What is to be added to that of the others who share the layer.
    pub partial: Partial,
    /// What is passed on, of as many pairs as were asked for.
    pub passed_on: Samples,
}

/// A layer in training with the frozen layers between what arrives and itself.
///
/// In a greedy schedule that is the pair prefix: the layers from the cut point on, where samples arrive; empty unless the
/// layer is one of algorithm 1. Upon a layer that trains at the same time, its outputs arrive.
pub struct TrainingStage {
    prefix: Vec<Arc<FrozenLayer>>,
    layer: TrainingLayer,
}

impl TrainingStage {
    /// `prefix`: frozen layers that fit onto each other and under `layer`, in order.
    pub fn new(prefix: Vec<Arc<FrozenLayer>>, layer: TrainingLayer) -> Self {
        Self { prefix, layer }
    }

    /// Whether samples arrive, of which the first layer makes pairs; otherwise pairs do, positives first.
    pub fn makes_pairs(&self) -> bool {
        self.prefix.first().map_or(self.layer.spec(), |first| first.spec()).makes_pairs()
    }

    /// One step on what arrives; samples in one view or two, and `shifts`, as
    /// [`PairedRows::make`](crate::pair::PairedRows::make) has them.
    ///
    /// `samples`: samples where the first layer makes pairs, otherwise the pairs of as many shifts. A layer further up that
    /// makes pairs makes them of the positives that reach it.
    pub fn step(&mut self, samples: impl Into<Samples>, two_views: bool, shifts: &[usize]) -> StepReport {
        self.step_and_pass_on(samples, two_views, shifts, PassOn::Nothing).0
    }

    /// The same; also returns what is passed on.
    pub fn step_and_pass_on(
        &mut self,
        samples: impl Into<Samples>,
        two_views: bool,
        shifts: &[usize],
        pass_on: PassOn,
    ) -> (StepReport, Samples) {
        let Half { input, mut partial, passed_on } = self.forward(samples.into(), two_views, shifts, pass_on);
        loop {
            match self.proceed(&input, partial.total()) {
                Progress::Exchange(next) => partial = next,
                Progress::Done(report) => return (report, passed_on),
            }
        }
    }

    /// The first half of a step, as far as nothing of others who share the layer is needed.
    pub fn forward(&mut self, samples: Samples, two_views: bool, shifts: &[usize], pass_on: PassOn) -> Half {
        let spec = |index: usize| self.prefix.get(index).map_or(self.layer.spec(), |layer| layer.spec());
        let mut input = if self.makes_pairs() {
            PairedSamples::make(samples, spec(0), two_views, shifts)
        } else {
            let positives = samples.count() / (1 + shifts.len());
            PairedSamples::take(samples, positives, spec(0))
        };
        for (index, layer) in self.prefix.iter().enumerate() {
            let above = spec(index + 1);
            let (passed_on, positives) = (input.through(layer), input.positives());
            input = if above.makes_pairs() {
                PairedSamples::make(passed_on.first(positives), above, false, shifts)
            } else {
                PairedSamples::take(passed_on, positives, above)
            };
        }
        if self.layer.sharing() == Sharing::Samples {
            input = input.neighbouring();
        }
        let pairs = match pass_on {
            PassOn::Nothing => 0,
            PassOn::Positives => input.positives(),
            PassOn::Pairs => input.count(),
        };
        let (partial, passed_on) = self.layer.begin_step_and_pass_on(&input, pairs);
        Half { input, partial, passed_on }
    }

    /// What follows, on the `input` of the first half and the sums over all who share the layer.
    pub fn proceed(&mut self, input: &PairedSamples, sums: Sums) -> Progress {
        self.layer.proceed(input, sums)
    }

    /// The layer in training.
    pub fn layer(&self) -> &TrainingLayer {
        &self.layer
    }
}
