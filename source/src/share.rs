//! A share of samples, drawn by chance: as many of each class.

use scff::batch::{Epoch, Step};
use scff::seed::{NO_LAYER, Purpose, Seed, permutation};

/// Indices of samples, ascending in each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Those that are left.
    pub rest: Vec<u32>,
    /// The share.
    pub share: Vec<u32>,
}

/// Takes the share of `count` samples that comes next to `share`; where they have labels, of each class on its own. Which ones
/// follows from the seed and the number of samples.
pub fn take(share: f64, labels: &[u32], count: usize, seed: Seed) -> Shared {
    let mut random = seed.stream(Purpose::Partition, NO_LAYER, Epoch(0), Step(0));
    let order = permutation(&mut random, count as u32);
    let class = |index: u32| labels.get(index as usize).map_or(0, |&label| label as usize);
    let classes = labels.iter().max().map_or(1, |&last| last as usize + 1);
    let mut left = vec![0_usize; classes];
    for &index in &order {
        left[class(index)] += 1;
    }
    for left in &mut left {
        *left = (*left as f64 * share).round() as usize;
    }
    let mut parts = Shared::default();
    for index in order {
        let left = &mut left[class(index)];
        if *left > 0 {
            *left -= 1;
            parts.share.push(index);
        } else {
            parts.rest.push(index);
        }
    }
    parts.rest.sort_unstable();
    parts.share.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_share_and_the_seed_says_which() {
        let labels: Vec<u32> = (0..100).map(|index| u32::from(index % 10 == 0)).collect();
        let taken = |seed| take(0.2, &labels, 100, Seed(seed));
        let Shared { rest, share } = taken(1);
        assert_eq!((rest.len(), share.len()), (80, 20));
        assert_eq!(share.iter().filter(|&&index| labels[index as usize] == 1).count(), 2);
        let mut all = [rest, share].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(taken(1), taken(1));
        assert_ne!(taken(1), taken(2));
    }

    #[test]
    fn without_labels_all_samples_are_one_class_and_no_share_is_nobody() {
        assert_eq!(take(0.25, &[], 8, Seed(1)).share.len(), 2);
        assert_eq!(take(0.0, &[], 8, Seed(1)), Shared { rest: (0..8).collect(), share: Vec::new() });
    }
}
