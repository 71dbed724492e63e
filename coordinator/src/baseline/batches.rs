//! Samples in the order in which a baseline meets them: a pure function of the seed, the epoch and the step.

use ndarray::Array2;
use scff::batch::{Epoch, SampleKey, Step, Variant};
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, Seed, permutation};
use scff::sequences::Sequences;
use source::{Augmentation, Examples, Image, Lengths, ReadError};

use crate::order::keys_of;

/// Samples that are measured together.
const MEASURED: usize = 960;

/// The batches of an epoch, each sample once and in a view drawn at random, with the labels that they have.
pub fn batches(
    examples: &Examples,
    augmentation: Augmentation,
    batch: usize,
    seed: Seed,
    epoch: Epoch,
) -> impl Iterator<Item = Result<(Samples, Vec<u32>), ReadError>> {
    let mut random = seed.stream(Purpose::Order, NO_LAYER, epoch, Step(0));
    let order = permutation(&mut random, examples.len() as u32);
    let steps = order.len().div_ceil(batch);
    (0..steps).map(move |step| {
        let mut random = seed.stream(Purpose::Augmentation, NO_LAYER, epoch, Step(step as u64));
        let indices = &order[step * batch..((step + 1) * batch).min(order.len())];
        let view = |&index: &u32| SampleKey { index, variant: augmentation.draw(&mut random) };
        let keys: Vec<SampleKey> = indices.iter().map(view).collect();
        let label = |&index: &u32| examples.labels().get(index as usize).copied();
        let labels = indices.iter().filter_map(label).collect();
        Ok((samples(examples, augmentation, &keys)?, labels))
    })
}

/// All samples as they are, some at a time, with their labels.
pub fn as_they_are(examples: &Examples) -> impl Iterator<Item = Result<(Samples, &[u32]), ReadError>> {
    view(examples, Augmentation::NONE, Variant(0))
}

/// One view of all samples, some at a time, with their labels.
pub fn view(
    examples: &Examples,
    augmentation: Augmentation,
    variant: Variant,
) -> impl Iterator<Item = Result<(Samples, &[u32]), ReadError>> {
    let keys: Vec<SampleKey> = keys_of(examples.len(), variant).collect();
    (0..examples.len()).step_by(MEASURED).map(move |start| {
        let end = (start + MEASURED).min(examples.len());
        let samples = samples(examples, augmentation, &keys[start..end])?;
        Ok((samples, &examples.labels()[start..end]))
    })
}

/// Views of samples: rows, or sequences of their own lengths.
fn samples(
    examples: &Examples,
    augmentation: Augmentation,
    keys: &[SampleKey],
) -> Result<Samples, ReadError> {
    let background = examples.background();
    let mut numbers = Vec::new();
    let mut lengths = Vec::with_capacity(keys.len());
    for &key in keys {
        let shape = examples.shape_of(key.index);
        let mut values = vec![0.0; shape.len()];
        examples.write(key.index, &mut values)?;
        let start = numbers.len();
        numbers.resize(start + values.len(), 0.0);
        let image = Image { shape, values: &values, background: &background };
        augmentation.apply(key, image, &mut numbers[start..]);
        lengths.push(shape.height);
    }
    let columns = |columns: usize| {
        Array2::from_shape_vec((numbers.len() / columns, columns), numbers).expect("whole samples")
    };
    Ok(match examples.layout().lengths {
        Lengths::Alike => columns(examples.shape().len()).into(),
        Lengths::Frames { .. } => Sequences::new(columns(examples.shape().channels), lengths).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_met_once_in_an_epoch_with_its_label() {
        let sequences = (0..10_u8).map(|number| vec![f32::from(number); 2 * (1 + usize::from(number) % 3)]);
        let examples = Examples::from_sequences(3, 2, sequences, (0..10).collect());
        let epoch = |epoch: u32| {
            let batches = batches(&examples, Augmentation::NONE, 4, Seed(1), Epoch(epoch));
            let met = batches.flat_map(|batch| {
                let (samples, labels) = batch.unwrap();
                let Samples::Sequences(sequences) = samples else { panic!("sequences") };
                let first: Vec<u32> = sequences.rows().map(|row| row[0] as u32).collect();
                assert_eq!(first, labels);
                assert!(
                    sequences.lengths().zip(&labels).all(|(length, label)| length == 1 + *label as usize % 3)
                );
                labels
            });
            met.collect::<Vec<u32>>()
        };
        let (first, mut second) = (epoch(0), epoch(1));
        assert_eq!(first, epoch(0));
        assert_ne!(first, second);
        second.sort_unstable();
        assert_eq!(second, (0..10).collect::<Vec<_>>());
    }
}
