//! A layer in training with the frozen layers below it that run on what arrives.

use std::sync::Arc;

use super::input::PairedSamples;
use super::layer::TrainingLayer;
use super::partial::{Partial, Progress, StepReport, Sums};
use super::passed_on::{PassOn, PassedOn};
use super::preparation::{Preparation, Prepared};
use crate::frozen::FrozenLayer;
use crate::samples::Samples;

/// What the first half of a step makes.
pub struct Half {
    /// The layer's own input.
    pub input: PairedSamples,
    /// What is to be added to that of the others who share the layer.
    pub partial: Partial,
    /// What is passed on, of own pairs.
    pub passed_on: PassedOn,
}

/// A layer in training with the frozen layers between what arrives and itself.
///
/// In a greedy schedule that is the pair prefix: the layers from the cut point on, where samples arrive; empty unless the
/// layer is one of algorithm 1. Upon a layer that trains at the same time, its outputs arrive.
pub struct TrainingStage {
    preparation: Preparation,
    layer: TrainingLayer,
}

impl TrainingStage {
    /// `prefix`: frozen layers that fit onto each other and under `layer`, in order.
    pub fn new(prefix: Vec<Arc<FrozenLayer>>, layer: TrainingLayer) -> Self {
        Self { preparation: Preparation::new(prefix, &layer), layer }
    }

    /// Whether samples arrive, of which the first layer makes pairs; otherwise pairs do, positives first.
    pub fn makes_pairs(&self) -> bool {
        self.preparation.makes_pairs()
    }

    /// What prepares batches for it, at any time and on any thread.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
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
                Progress::Done(report) => return (report, passed_on.outputs),
            }
        }
    }

    /// The first half of a step, as far as nothing of others who share the layer is needed.
    pub fn forward(&mut self, samples: Samples, two_views: bool, shifts: &[usize], pass_on: PassOn) -> Half {
        let prepared = self.preparation.prepare(samples, two_views, shifts);
        self.begin(prepared, pass_on)
    }

    /// The same, of a batch that is prepared.
    pub fn begin(&mut self, prepared: Prepared, pass_on: PassOn) -> Half {
        let Prepared { input, transformed } = prepared;
        let (partial, passed_on) = self.layer.begin((&input).into(), transformed, pass_on);
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
