//! How a readout learns: epochs of batches in an order of their own, with a learning rate that halves now and then.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::classifier::{Blocks, Readout};
use super::contributions::Contributions;
use super::dropout::Dropout;
use super::features::Features;
use crate::batch::{Epoch, Step};
use crate::layer::ChannelRange;
use crate::seed::{NO_LAYER, Purpose, Seed, below, permutation};

/// How the readout is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadoutSpec {
    /// Adam's learning rate in the first epoch; it halves as the epochs pass ([`halvings`]).
    pub learning_rate: f64,
    /// Samples of a batch.
    pub batch: usize,
    /// Epochs.
    pub epochs: u32,
    /// Probability that a feature is dropped in a training step.
    pub dropout: f32,
}

impl ReadoutSpec {
    /// The learning rate in an epoch.
    pub fn rate(&self, epoch: Epoch) -> f64 {
        self.learning_rate / f64::from(1_u32 << halvings(epoch, self.epochs))
    }
}

/// How often the learning rate has halved in `epoch` (counted from 0) of `epochs`: once for each of 20, 35, 50,
/// 60, 70, 80 and 90 % of all epochs that has been reached. Halvings that would come before the first epoch, where there
/// are few, are left out: that one always runs at the full rate.
pub fn halvings(epoch: Epoch, epochs: u32) -> u32 {
    let at = |percent: u64| u64::from(epochs) * percent / 100;
    [20, 35, 50, 60, 70, 80, 90].into_iter().filter(|&p| (1..=u64::from(epoch.0)).contains(&at(p))).count()
        as u32
}

/// A readout that does not learn: its loss or its weights are no numbers any more.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the readout's loss or weights are not finite any more in epoch {}, at a learning rate of {learning_rate:?}",
    epoch.0 + 1
)]
pub struct NotFinite {
    /// The epoch, counted from 0.
    pub epoch: Epoch,
    /// The learning rate in that epoch.
    pub learning_rate: f64,
}

/// What a readout, or some blocks of it, learns from.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// Which blocks are owned.
    pub blocks: &'a Blocks,
    /// Their features, of every view of every sample, (views * samples, owned features), all samples of a view together.
    pub features: &'a Features,
    /// Of each sample.
    pub labels: &'a [u32],
    /// Classes.
    pub classes: usize,
    /// How it is trained.
    pub spec: &'a ReadoutSpec,
    /// What its random numbers follow from.
    pub seed: Seed,
}

/// Trains a readout on its own, on the features of every view of every sample, (views * samples, features), all samples of a view
/// together; `on_epoch` hears of every epoch's mean loss.
///
/// Errors as soon as the loss or a weight is not finite.
pub fn train(
    features: &Features,
    labels: &[u32],
    classes: usize,
    spec: &ReadoutSpec,
    seed: Seed,
    mut on_epoch: impl FnMut(Epoch, f64),
) -> Result<Readout, NotFinite> {
    let blocks = &Blocks::all(features.width());
    let course = Course { blocks, features, labels, classes, spec, seed };
    let told = |epoch, loss| {
        on_epoch(epoch, loss);
        Ok(())
    };
    course.train(|contributions| Ok(contributions.total()), told)
}

impl Course<'_> {
    /// Trains the blocks that are owned, while others train the rest; `add_up` adds up what all of them contribute to the logits of
    /// a batch, and `on_epoch` hears of every epoch's mean loss.
    ///
    /// Each sample is met once an epoch, in a view drawn at random. Errors as soon as the loss or an owned weight is not finite.
    pub fn train<E: From<NotFinite>>(
        &self,
        mut add_up: impl FnMut(&Contributions) -> Result<Vec<f32>, E>,
        mut on_epoch: impl FnMut(Epoch, f64) -> Result<(), E>,
    ) -> Result<Readout, E> {
        let Self { blocks, features, labels, classes, spec, seed } = *self;
        let views = features.samples() / labels.len().max(1);
        assert_eq!(features.samples(), views * labels.len(), "as many views of each labelled sample");
        assert_eq!(features.width(), blocks.columns().len(), "features of the blocks that are owned");
        let mut readout = Readout::shard(classes, blocks, seed);
        for epoch in (0..spec.epochs).map(Epoch) {
            let rate = spec.rate(epoch);
            let not_finite = NotFinite { epoch, learning_rate: rate };
            let mut random = seed.stream(Purpose::ReadoutOrder, NO_LAYER, epoch, Step(0));
            let order = permutation(&mut random, labels.len() as u32);
            let mut total = 0.0;
            for (step, indices) in order.chunks(spec.batch).enumerate() {
                let step = Step(step as u64);
                let rows = self.rows(indices, views, epoch, step);
                let labels: Vec<u32> = indices.iter().map(|&index| labels[index as usize]).collect();
                let dropout = Dropout { seed, epoch, step, probability: spec.dropout };
                let contributions = readout
                    .begin_step(labels.len(), |range, inputs| self.gather(&rows, &dropout, range, inputs));
                let loss = readout.end_step(add_up(&contributions)?, &labels, rate);
                if !loss.is_finite() {
                    return Err(not_finite.into());
                }
                total += loss * indices.len() as f64;
            }
            if !readout.is_finite() {
                return Err(not_finite.into());
            }
            on_epoch(epoch, total / labels.len() as f64)?;
        }
        Ok(readout)
    }

    /// Where the features of a step's samples stand, each in a view drawn at random.
    fn rows(&self, indices: &[u32], views: usize, epoch: Epoch, step: Step) -> Vec<usize> {
        let mut random = self.seed.stream(Purpose::ReadoutViews, NO_LAYER, epoch, step);
        let mut view = || if views > 1 { below(&mut random, views as u32) as usize } else { 0 };
        indices.iter().map(|&index| view() * self.labels.len() + index as usize).collect()
    }

    /// Writes a block's features of a step, dropped out.
    fn gather(&self, rows: &[usize], dropout: &Dropout, range: ChannelRange, inputs: &mut Array2<f32>) {
        for (&row, mut input) in rows.iter().zip(inputs.outer_iter_mut()) {
            self.features.read(row, range, input.as_slice_mut().expect("contiguous"));
        }
        let first = self.blocks.columns().start;
        dropout.apply(ChannelRange { start: first + range.start, end: first + range.end }, inputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_epoch_runs_at_the_full_rate_however_few_there_are() {
        for epochs in 1..=200 {
            assert_eq!(halvings(Epoch(0), epochs), 0, "{epochs} epochs");
        }
        let rates = |epochs| (0..epochs).map(|epoch| 1 << halvings(Epoch(epoch), epochs)).collect::<Vec<_>>();
        assert_eq!(rates(2), [1, 32]);
        assert_eq!(rates(4), [1, 2, 16, 64]);
        assert_eq!(rates(10), [1, 1, 2, 4, 4, 8, 16, 32, 64, 128]);
    }

    #[test]
    fn the_rate_halves_where_it_did_when_the_results_were_recorded() {
        for (epochs, expected) in [
            (30, [6, 10, 15, 18, 21, 24, 27]),
            (50, [10, 17, 25, 30, 35, 40, 45]),
            (100, [20, 35, 50, 60, 70, 80, 90]),
        ] {
            let halves = |&epoch: &u32| halvings(Epoch(epoch), epochs) > halvings(Epoch(epoch - 1), epochs);
            assert_eq!((1..epochs).filter(halves).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_readout_that_runs_away_is_an_error_with_epoch_and_rate() {
        let features = Features::F32(Array2::from_shape_fn((40, 3), |(i, j)| (i * (j + 1) % 7) as f32 - 3.0));
        let labels: Vec<u32> = (0..40).map(|index| index % 2).collect();
        let train = |learning_rate| {
            let spec = ReadoutSpec { learning_rate, batch: 10, epochs: 3, dropout: 0.0 };
            train(&features, &labels, 2, &spec, Seed(1), |_, _| {})
        };
        assert!(train(0.01).unwrap().is_finite());
        let error = train(1e38).err().expect("no readout");
        assert_eq!(error, NotFinite { epoch: Epoch(0), learning_rate: 1e38 });
        assert!(
            error.to_string().contains("not finite any more in epoch 1, at a learning rate of 1e38"),
            "{error}"
        );
    }
}
