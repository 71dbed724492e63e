//! What a group of workers keeps: the coordinator decides it, and so knows it without asking.

use std::collections::HashSet;

use scff::batch::{Batch, SampleKey};

/// The activations that a group keeps.
///
/// Every sample is met once an epoch, so what was met last is met again last: the first that fit are kept for
/// good, and none is ever dropped for another.
pub struct Ledger {
    kept: HashSet<SampleKey>,
    capacity: usize,
}

impl Ledger {
    /// A group that keeps nothing yet and has room for `capacity` activations.
    pub fn new(capacity: usize) -> Self {
        Self { kept: HashSet::new(), capacity }
    }

    /// The keys whose activations a batch must bring along, each once, and whether the group is to keep them.
    pub fn arriving(&mut self, batch: &Batch) -> Vec<(SampleKey, bool)> {
        let mut seen = HashSet::new();
        let mut arriving = Vec::new();
        for key in batch.rows() {
            if self.kept.contains(&key) || !seen.insert(key) {
                continue;
            }
            let keep = self.kept.len() < self.capacity;
            if keep {
                self.kept.insert(key);
            }
            arriving.push((key, keep));
        }
        arriving
    }
}

#[cfg(test)]
mod tests {
    use scff::batch::{Step, Variant};

    use super::*;

    fn batch(indices: &[u32]) -> Batch {
        let first = indices.iter().map(|&index| SampleKey { index, variant: Variant(0) }).collect();
        Batch { step: Step(0), first, second: None, shifts: vec![1] }
    }

    fn arriving(ledger: &mut Ledger, indices: &[u32]) -> Vec<(u32, bool)> {
        ledger.arriving(&batch(indices)).into_iter().map(|(key, keep)| (key.index, keep)).collect()
    }

    #[test]
    fn what_is_kept_is_not_sent_again_and_a_full_group_keeps_what_it_has() {
        let mut ledger = Ledger::new(3);
        assert_eq!(arriving(&mut ledger, &[5, 6, 5]), [(5, true), (6, true)]);
        assert_eq!(arriving(&mut ledger, &[6, 7, 8]), [(7, true), (8, false)]);
        assert_eq!(arriving(&mut ledger, &[5, 6, 7]), []);
        assert_eq!(arriving(&mut ledger, &[8]), [(8, false)]);
    }
}
