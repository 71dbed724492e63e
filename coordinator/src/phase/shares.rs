//! Who of a group gets how many of a layer's blocks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::worker_id::WorkerId;

/// Seconds that each worker computes for a part of a layer, by the last it said: who is slower gets fewer of the next one's.
pub type WorkerRates = Arc<Mutex<HashMap<WorkerId, f64>>>;

/// Shares `count` things out in proportion to `weights`, at least one to each: the largest remainders are rounded up.
pub fn share_out(count: usize, weights: &[f64]) -> Vec<usize> {
    assert!(count >= weights.len(), "something for everybody");
    let total: f64 = weights.iter().sum();
    let exact = |place: usize| count as f64 * weights[place] / total;
    let mut shares: Vec<usize> = (0..weights.len()).map(|place| (exact(place) as usize).max(1)).collect();
    while shares.iter().sum::<usize>() != count {
        // How far each is below its exact share; of equals, the first gets more and the last gives.
        let lack = |place: &usize| exact(*place) - shares[*place] as f64;
        let by_lack = |one: &usize, other: &usize| lack(one).total_cmp(&lack(other));
        if shares.iter().sum::<usize>() < count {
            let most = (0..shares.len()).rev().max_by(by_lack).expect("a share");
            shares[most] += 1;
        } else {
            let least = (0..shares.len()).rev().filter(|place| shares[*place] > 1).min_by(by_lack);
            shares[least.expect("one has more than one")] -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_shared_out_by_rates_and_nobody_goes_without() {
        assert_eq!(share_out(4, &[1.0, 1.0]), [2, 2]);
        assert_eq!(share_out(4, &[1.0, 0.9]), [2, 2]);
        assert_eq!(share_out(10, &[2.0, 2.0, 2.0]), [4, 3, 3]);
        assert_eq!(share_out(6, &[2.0, 1.0]), [4, 2]);
        assert_eq!(share_out(3, &[16.0, 1.0, 1.0]), [1, 1, 1]);
        assert_eq!(share_out(7, &[1.0]), [7]);
        assert_eq!(share_out(24, &[1.0, 2.0, 3.0, 4.0]), [2, 5, 7, 10]);
    }
}
