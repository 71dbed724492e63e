//! Which samples meet in which step: a pure function of (seed, layer, epoch, step).

use scff::batch::{Batch, Epoch, LayerIndex, SampleKey, Step, Variant};
use scff::seed::{Purpose, Seed, distinct_shifts, permutation};

use crate::plan::{Plan, Stage};
use source::Augmentation;

/// The batches of one stage.
pub struct Order {
    seed: Seed,
    /// Whose order and views.
    samples_of: LayerIndex,
    /// Whose negative pairs.
    pairs_of: LayerIndex,
    samples: u32,
    batch: usize,
    negatives: usize,
    two_views: bool,
    augmentation: Augmentation,
    steps_per_epoch: u64,
    /// The order of the epoch at hand.
    epoch: Option<(Epoch, Vec<u32>)>,
}

impl Order {
    /// The order of a stage's batches.
    pub fn new(plan: &Plan, stage: &Stage) -> Self {
        Self {
            seed: plan.seed,
            samples_of: stage.samples_of,
            pairs_of: stage.pairs_of,
            samples: plan.training_samples,
            batch: plan.batch,
            negatives: stage.negatives,
            two_views: plan.two_views,
            augmentation: plan.augmentation,
            steps_per_epoch: stage.steps_per_epoch,
            epoch: None,
        }
    }

    /// The batch of `step`.
    pub fn batch(&mut self, step: Step) -> Batch {
        let epoch = Epoch((step.0 / self.steps_per_epoch) as u32);
        let batch = self.batch;
        let start = (step.0 % self.steps_per_epoch) as usize * batch;
        let indices = self.epoch(epoch)[start..start + batch].to_vec();
        let mut augmentation = self.seed.stream(Purpose::Augmentation, self.samples_of, epoch, step);
        let mut views = || -> Vec<SampleKey> {
            indices
                .iter()
                .map(|&index| SampleKey { index, variant: self.augmentation.draw(&mut augmentation) })
                .collect()
        };
        let first = views();
        let second = self.two_views.then(views);
        let mut negatives = self.seed.stream(Purpose::NegativePairs, self.pairs_of, epoch, step);
        let shifts = distinct_shifts(&mut negatives, self.batch, self.negatives);
        Batch { step, first, second, shifts }
    }

    fn epoch(&mut self, epoch: Epoch) -> &[u32] {
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let mut random = self.seed.stream(Purpose::Order, self.samples_of, epoch, Step(0));
            self.epoch = Some((epoch, permutation(&mut random, self.samples)));
        }
        &self.epoch.as_ref().expect("just set").1
    }
}

/// The keys of one view of all samples, in order: what the readout reads.
pub fn keys_of(samples: usize, variant: Variant) -> impl Iterator<Item = SampleKey> {
    (0..samples as u32).map(move |index| SampleKey { index, variant })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use source::{Shape, TrainingSamples};

    fn order() -> Order {
        let config = config::parse("iris", include_str!("../../configs/iris.toml"), &[]).unwrap();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let plan = Plan::new(&config, shape, TrainingSamples::labelled(110)).unwrap();
        Order::new(&plan, &plan.stages[0])
    }

    #[test]
    fn a_batch_does_not_depend_on_what_was_asked_before() {
        let mut walked = order();
        let all: Vec<_> = (0..12).map(|step| walked.batch(Step(step))).collect();
        for step in [11, 3, 0] {
            assert_eq!(order().batch(Step(step)), all[step as usize]);
        }
    }

    #[test]
    fn an_epoch_meets_every_sample_at_most_once_in_an_order_of_its_own() {
        let mut order = order();
        let epoch = |order: &mut Order, first: u64| -> Vec<u32> {
            (first..first + 5).flat_map(|step| order.batch(Step(step)).first).map(|key| key.index).collect()
        };
        let (one, two) = (epoch(&mut order, 0), epoch(&mut order, 5));
        assert_ne!(one, two);
        let mut sorted = one;
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 100);
    }
}
