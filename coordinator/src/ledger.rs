//! What a group of workers keeps: the coordinator decides it, and so knows it without asking.

use std::collections::HashSet;

use scff::batch::{Batch, SampleKey};

/// The activations that a group keeps.
///
/// Every sample is met once an epoch, so what was met last is met again last: the first that fit are kept for
/// good, and none is ever dropped for another.
pub struct Ledger {
    kept: HashSet<SampleKey>,
    /// Bytes that are left.
    room: u64,
}

impl Ledger {
    /// A group that keeps nothing yet and has room for `bytes` of activations.
    pub fn new(bytes: u64) -> Self {
        Self { kept: HashSet::new(), room: bytes }
    }

    /// The keys whose activations a batch must bring along, each once, and whether the group is to keep them.
    /// `bytes` says how long each is.
    pub fn arriving(&mut self, batch: &Batch, bytes: impl Fn(SampleKey) -> u64) -> Vec<(SampleKey, bool)> {
        let mut seen = HashSet::new();
        let mut arriving = Vec::new();
        for key in batch.rows() {
            if self.kept.contains(&key) || !seen.insert(key) {
                continue;
            }
            let left = self.room.checked_sub(bytes(key));
            if let Some(left) = left {
                self.room = left;
                self.kept.insert(key);
            }
            arriving.push((key, left.is_some()));
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

    /// Of activations of ten bytes, but for sample 9, which has 21.
    fn arriving(ledger: &mut Ledger, indices: &[u32]) -> Vec<(u32, bool)> {
        let bytes = |key: SampleKey| if key.index == 9 { 21 } else { 10 };
        ledger.arriving(&batch(indices), bytes).into_iter().map(|(key, keep)| (key.index, keep)).collect()
    }

    #[test]
    fn what_is_kept_is_not_sent_again_and_a_full_group_keeps_what_it_has() {
        let mut ledger = Ledger::new(35);
        assert_eq!(arriving(&mut ledger, &[5, 6, 5]), [(5, true), (6, true)]);
        assert_eq!(arriving(&mut ledger, &[6, 7, 8]), [(7, true), (8, false)]);
        assert_eq!(arriving(&mut ledger, &[5, 6, 7]), []);
        assert_eq!(arriving(&mut ledger, &[8]), [(8, false)]);
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_leaves_its_room_to_others() {
        let mut ledger = Ledger::new(30);
        assert_eq!(arriving(&mut ledger, &[5, 9, 6]), [(5, true), (9, false), (6, true)]);
        assert_eq!(arriving(&mut ledger, &[9, 7, 8]), [(9, false), (7, true), (8, false)]);
    }
}
