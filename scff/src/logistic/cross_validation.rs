//! The strength of the penalty, by stratified cross-validation.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::classifier::Classifier;
use super::objective::{cross_entropy, fit, largest};
use crate::batch::{Epoch, Step};
use crate::seed::{NO_LAYER, Purpose, Seed, permutation};

/// Parts that are held out one after the other, at most.
const FOLDS: usize = 5;
/// Exponents of ten of the strengths that are tried, in half steps from the strongest on: 1 to 1e-6.
const HALF_EXPONENTS: std::ops::RangeInclusive<i32> = 0..=12;

/// How a strength was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossValidation {
    /// The strength of the least cross entropy on what was held out.
    pub strength: f64,
    /// Parts that were held out, one after the other.
    pub folds: usize,
    /// Classes of a single sample, which was learned from in every part and never held out.
    pub alone: usize,
    /// Share of the samples that were classified as labelled when they were held out.
    pub accuracy: f64,
    /// Their mean cross entropy.
    pub cross_entropy: f64,
}

/// Holds out each part of the samples in turn and tries all strengths on it. Every class of two samples or more is spread over
/// parts as evenly as can be, so that it is never held out whole. None where no class has two.
pub fn cross_validate(
    inputs: &Array2<f64>,
    labels: &[u32],
    classes: usize,
    seed: Seed,
) -> Option<CrossValidation> {
    let parts = parts(labels, classes, seed);
    let folds = parts.iter().flatten().max()? + 1;
    let alone = parts.iter().filter(|part| part.is_none()).count();
    let outcomes: Vec<Vec<Outcome>> =
        (0..folds).into_par_iter().map(|fold| hold_out(inputs, labels, classes, &parts, fold)).collect();
    let held_out = (labels.len() - alone) as f64;
    let mut best: Option<CrossValidation> = None;
    // From the strongest on: of two that do as well the stronger one is taken.
    for (index, strength) in strengths().enumerate() {
        let total =
            |of: fn(&Outcome) -> f64| outcomes.iter().map(|fold| of(&fold[index])).sum::<f64>() / held_out;
        let (accuracy, cross_entropy) =
            (total(|outcome| outcome.correct), total(|outcome| outcome.cross_entropy));
        if best.is_none_or(|best| cross_entropy < best.cross_entropy) {
            best = Some(CrossValidation { strength, folds, alone, accuracy, cross_entropy });
        }
    }
    best
}

fn strengths() -> impl Iterator<Item = f64> {
    HALF_EXPONENTS.map(|half| 10.0_f64.powf(-f64::from(half) / 2.0))
}

/// What became of a part that was held out: sums over its samples.
struct Outcome {
    correct: f64,
    cross_entropy: f64,
}

/// The part of each sample; none for one that is alone in its class.
fn parts(labels: &[u32], classes: usize, seed: Seed) -> Vec<Option<usize>> {
    let mut members = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(sample, &label)| members[label as usize].push(sample));
    let folds = members.iter().map(Vec::len).max().unwrap_or(0).min(FOLDS);
    let mut parts = vec![None; labels.len()];
    // Where the last class ended the next goes on, so that parts are of about the same size.
    let mut next = 0;
    for (class, members) in members.iter().enumerate().filter(|(_, members)| members.len() > 1) {
        let mut random = seed.stream(Purpose::Folds, NO_LAYER, Epoch(0), Step(class as u64));
        for index in permutation(&mut random, members.len() as u32) {
            parts[members[index as usize]] = Some(next % folds);
            next += 1;
        }
    }
    parts
}

/// Every strength on one part, learned from the others; each search goes on from the one before.
fn hold_out(
    inputs: &Array2<f64>,
    labels: &[u32],
    classes: usize,
    parts: &[Option<usize>],
    fold: usize,
) -> Vec<Outcome> {
    let (held_out, learned): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|&sample| parts[sample] == Some(fold));
    let of = |samples: &[usize]| {
        let labels: Vec<u32> = samples.iter().map(|&sample| labels[sample]).collect();
        (inputs.select(Axis(0), samples), labels)
    };
    let ((learned, taught), (held_out, expected)) = (of(&learned), of(&held_out));
    let mut classifier = Classifier::zeros(inputs.ncols(), classes);
    strengths()
        .map(|strength| {
            classifier = fit(&learned, &taught, strength, classifier.clone());
            let mut logits = classifier.logits(&held_out);
            let scored = logits.outer_iter().zip(&expected);
            let correct = scored.filter(|(row, label)| largest(*row) == **label as usize).count();
            let mean = cross_entropy(&mut logits, &expected);
            Outcome { correct: correct as f64, cross_entropy: mean * expected.len() as f64 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_spread_over_parts_and_none_is_held_out_whole() {
        // 12, 3, 2 and 1 samples of a class.
        let labels: Vec<u32> = [vec![0; 12], vec![1; 3], vec![2; 2], vec![3]].concat();
        let parts = parts(&labels, 4, Seed(7));
        let of = |class: u32| -> Vec<usize> {
            let own = labels.iter().zip(&parts).filter(|(label, _)| **label == class);
            own.filter_map(|(_, part)| *part).collect()
        };
        for fold in 0..5 {
            let count = of(0).iter().filter(|&&part| part == fold).count();
            assert!((2..=3).contains(&count), "{count} of twelve");
            assert!([1, 2].iter().all(|&class| of(class).iter().filter(|&&part| part == fold).count() <= 1));
        }
        assert_eq!((of(1).len(), of(2).len(), of(3).len()), (3, 2, 0));
        assert_ne!(parts, super::parts(&labels, 4, Seed(8)));
    }

    #[test]
    fn there_are_no_more_parts_than_samples_of_the_largest_class() {
        let largest = |labels: &[u32]| parts(labels, 2, Seed(1)).into_iter().flatten().max();
        assert_eq!(largest(&[0, 0, 1, 1]), Some(1));
        assert_eq!(largest(&[0, 0, 0, 1]), Some(2));
        assert_eq!(largest(&[0, 1]), None);
    }

    #[test]
    fn strengths_fall_from_1_to_a_millionth() {
        let strengths: Vec<f64> = strengths().collect();
        assert!((strengths[0] - 1.0).abs() < 1e-12 && (strengths[12] - 1e-6).abs() < 1e-18);
        assert!(strengths.is_sorted_by(|stronger, weaker| stronger > weaker));
    }
}
