//! How well a baseline does, on the samples on which a run is measured.

use source::Examples;

use crate::accuracies::Accuracies;
use crate::split::Splits;

/// Measures who says how many samples he classifies as labelled.
pub fn measure(
    splits: &Splits,
    correct: impl Fn(&Examples) -> anyhow::Result<usize>,
) -> anyhow::Result<Accuracies> {
    let share = |examples: &Examples| anyhow::Ok(correct(examples)? as f64 / examples.len().max(1) as f64);
    let measured = share(&splits.measure)?;
    Ok(Accuracies {
        train_accuracy: share(&splits.train)?,
        test_accuracy: (!splits.held_out).then_some(measured),
        validation_accuracy: splits.validation.as_deref().map(share).transpose()?,
        held_out_accuracy: splits.held_out.then_some(measured),
    })
}
