//! How well a baseline does, on the samples on which a run is measured.

use source::Examples;

use crate::accuracies::Accuracies;
use crate::split::Splits;

/// Measures who says how many samples he classifies as labelled; of the training samples, the first so many.
pub fn measure(
    splits: &Splits,
    trained: usize,
    correct: impl Fn(&Examples) -> anyhow::Result<usize>,
) -> anyhow::Result<Accuracies> {
    let share = |examples: &Examples| anyhow::Ok(correct(examples)? as f64 / examples.len().max(1) as f64);
    let measured = share(&splits.measure)?;
    let train = &splits.train;
    let few: Vec<u32> = (0..train.len().min(trained) as u32).collect();
    Ok(Accuracies {
        train_accuracy: if few.len() < train.len() { share(&train.subset(&few))? } else { share(train)? },
        test_accuracy: (!splits.held_out).then_some(measured),
        validation_accuracy: splits.validation.as_deref().map(share).transpose()?,
        held_out_accuracy: splits.held_out.then_some(measured),
    })
}
