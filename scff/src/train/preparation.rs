//! The beginning of a step, as far as it needs no weight of the layer in training: pairs, the frozen layers that run on them, and
//! what the layer reads in the form in which its map takes it. So it can be made while the step before waits for others.

use std::sync::Arc;

use super::conv::transformed;
use super::input::{Paired, PairedSamples};
use super::layer::TrainingLayer;
use super::own_samples::OwnSamples;
use super::sharing::Sharing;
use crate::frozen::FrozenLayer;
use crate::layer::{LayerMap, LayerSpec};
use crate::samples::Samples;
use crate::winograd::Spectra;

/// A stage without its layer's weights: it prepares batches.
#[derive(Clone)]
pub struct Preparation {
    prefix: Vec<Arc<FrozenLayer>>,
    spec: LayerSpec,
    samples: OwnSamples,
}

/// A batch with which a step can begin.
pub struct Prepared {
    pub(super) input: PairedSamples,
    pub(super) transformed: Option<Spectra>,
}

impl Preparation {
    /// `prefix`: frozen layers that fit onto each other and under `layer`, in order.
    pub(super) fn new(prefix: Vec<Arc<FrozenLayer>>, layer: &TrainingLayer) -> Self {
        Self { prefix, spec: layer.spec().clone(), samples: layer.own_samples().clone() }
    }

    /// Whether samples arrive, of which the first layer makes pairs; otherwise pairs do, positives first.
    pub(super) fn makes_pairs(&self) -> bool {
        self.spec_of(0).makes_pairs()
    }

    /// Of the frozen layers, or of that in training above them.
    fn spec_of(&self, index: usize) -> &LayerSpec {
        self.prefix.get(index).map_or(&self.spec, |layer| layer.spec())
    }

    /// Whether the layer's own pairs can go through the prefix without the others: they arrive, or are made at its beginning, and
    /// are made nowhere else, and only convolutions map a pair alike whatever is mapped with it.
    fn own_pairs_go_through(&self) -> bool {
        let makes_pairs = |layer: &Arc<FrozenLayer>| layer.spec().makes_pairs();
        let is_conv = |layer: &Arc<FrozenLayer>| matches!(layer.spec().map, LayerMap::Conv(_));
        self.prefix.iter().filter(|layer| makes_pairs(layer)).count() == usize::from(self.makes_pairs())
            && self.prefix.iter().all(is_conv)
    }

    /// Prepares a batch; `samples`, `two_views` and `shifts` as [`TrainingStage::step`](super::TrainingStage::step) has them.
    pub fn prepare(&self, samples: Samples, two_views: bool, shifts: &[usize]) -> Prepared {
        let batch = match (self.makes_pairs(), two_views) {
            (true, false) => samples.count(),
            (true, true) => samples.count() / 2,
            (false, _) => samples.count() / (1 + shifts.len()),
        };
        let order = self.samples.order(&self.spec, batch, shifts);
        let (early, late) = if self.own_pairs_go_through() { (order, None) } else { (None, order) };
        let mut input = if self.makes_pairs() {
            PairedSamples::make(samples, self.spec_of(0), two_views, shifts, early)
        } else {
            let taken = PairedSamples::take(samples, batch, self.spec_of(0));
            match early {
                Some(order) => taken.in_order(order),
                None => taken,
            }
        };
        for (index, layer) in self.prefix.iter().enumerate() {
            let above = self.spec_of(index + 1);
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
        if self.samples.sharing() == Sharing::Samples {
            input = input.neighbouring();
        }
        let transformed = transformed(&self.spec.map, Paired::from(&input));
        Prepared { input, transformed }
    }
}
