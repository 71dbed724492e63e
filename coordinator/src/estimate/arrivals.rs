//! How many activations come over the wire, epoch by epoch.

use crate::plan::{Plan, Stage};

/// Activations that must be made and sent to the trainer in each of so many epochs of a stage, of which the trainer keeps at most
/// `capacity`.
///
/// Which of them depends on the views drawn; these are expected numbers for views that are all as likely. The ledger
/// keeps what comes first, so a view drawn is there already with the share of all that is kept so far.
pub fn arrivals(plan: &Plan, stage: &Stage, epochs: u32, capacity: f64) -> Vec<f64> {
    let all = activations(plan) as f64;
    let drawn = (stage.steps_per_epoch * plan.rows_per_step()) as f64;
    let mut kept = 0.0_f64;
    let epoch = |_| {
        // The second views of an epoch find the first ones kept.
        let views = if plan.two_views { 2.0 } else { 1.0 };
        let mut arriving = 0.0;
        for _ in 0..views as usize {
            let new = drawn / views * (1.0 - kept / all);
            kept = (kept + new).min(capacity.min(all));
            arriving += new;
        }
        arriving
    };
    (0..epochs).map(epoch).collect()
}

/// How many different activations a stage can meet: every view of every sample.
pub fn activations(plan: &Plan) -> u64 {
    u64::from(plan.training_samples) * u64::from(plan.augmentation.variants())
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn check(plan: &Plan, capacity: f64, expected: &[f64]) {
        let epochs = plan.stages[0].epochs;
        let found = arrivals(plan, &plan.stages[0], epochs, capacity);
        assert_eq!(found.len(), epochs as usize);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.5, "{found}, not {expected}");
        }
    }

    #[test]
    fn what_is_kept_comes_once_and_the_rest_in_every_epoch() {
        let plan = fixture::fashion_mnist();
        check(&plan, f64::MAX, &[60_000.0, 0.0, 0.0]);
        check(&plan, 15_000.0, &[60_000.0, 45_000.0, 45_000.0]);
        check(&plan, 0.0, &[60_000.0; 6]);
    }

    #[test]
    fn views_come_as_they_are_drawn() {
        // Two views each: half of the second epoch's are new, and a quarter of the third's.
        check(&fixture::cifar_10(), f64::MAX, &[50_000.0, 25_000.0, 12_500.0]);
    }
}
