//! A layer in training with the frozen layers below it that run on what arrives.

use std::sync::Arc;

use super::input::PairedSamples;
use super::layer::TrainingLayer;
use super::partial::{Partial, Progress, StepReport, Sums};
use super::passed_on::{PassOn, PassedOn};
use super::sharing::Sharing;
use crate::frozen::FrozenLayer;
use crate::layer::LayerMap;
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

    /// Whether the layer's own pairs can go through the prefix without the others: they arrive, or are made at its beginning, and
    /// are made nowhere else, and only convolutions map a pair alike whatever is mapped with it.
    fn own_pairs_go_through(&self) -> bool {
        let makes_pairs = |layer: &Arc<FrozenLayer>| layer.spec().makes_pairs();
        let is_conv = |layer: &Arc<FrozenLayer>| matches!(layer.spec().map, LayerMap::Conv(_));
        self.prefix.iter().filter(|layer| makes_pairs(layer)).count() == usize::from(self.makes_pairs())
            && self.prefix.iter().all(is_conv)
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
        let spec = |index: usize| self.prefix.get(index).map_or(self.layer.spec(), |layer| layer.spec());
        let batch = match (self.makes_pairs(), two_views) {
            (true, false) => samples.count(),
            (true, true) => samples.count() / 2,
            (false, _) => samples.count() / (1 + shifts.len()),
        };
        let order = self.layer.order(batch, shifts);
        let (early, late) = if self.own_pairs_go_through() { (order, None) } else { (None, order) };
        let mut input = if self.makes_pairs() {
            PairedSamples::make(samples, spec(0), two_views, shifts, early)
        } else {
            let taken = PairedSamples::take(samples, batch, spec(0));
            match early {
                Some(order) => taken.in_order(order),
                None => taken,
            }
        };
        for (index, layer) in self.prefix.iter().enumerate() {
            let above = spec(index + 1);
            let passed_on = input.through(layer);
            input = if above.makes_pairs() {
                PairedSamples::make(passed_on.first(input.positives()), above, false, shifts, None)
            } else {
                input.passed_on(passed_on, above)
            };
        }
        if let Some(order) = late {
            input = input.in_order(order);
        }
        if self.layer.sharing() == Sharing::Samples {
            input = input.neighbouring();
        }
        let (partial, passed_on) = self.layer.begin_step_and_pass_on(&input, pass_on);
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
