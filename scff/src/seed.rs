//! Randomness without state: every random number is a pure function of (seed, purpose, layer, epoch, step).
//!
//! Nothing random is ever stored or carried along, so a retried, resumed or relocated step draws the same
//! numbers. The generator is ChaCha8 (a counter-based stream cipher); its 256-bit key is the tuple.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::batch::{Epoch, LayerIndex, SampleKey, Step};

/// The number a user gives to a run; all its random choices follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

/// What random numbers are drawn for; each purpose has streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights and biases of a layer.
    Initialization = 1,
    /// The order of samples in an epoch.
    Order = 2,
    /// The augmented views of a step's samples.
    Augmentation = 3,
    /// The shifts of a step's negative pairs.
    NegativePairs = 4,
    /// Which training samples are held out for validation.
    HeldOut = 5,
    /// Initial weights of the readout.
    ReadoutInitialization = 6,
    /// The order of samples in an epoch of the readout.
    ReadoutOrder = 7,
    /// Dropout masks of the readout.
    Dropout = 8,
    /// The crops of a sample, where it has only a few.
    Crops = 9,
    /// Which view of each sample the readout learns from in a step.
    ReadoutViews = 10,
    /// Which training samples are used, where not all are.
    Samples = 11,
    /// Which recordings train, validate and test, where chance decides.
    Partition = 12,
    /// Which training samples others are compared with.
    Reference = 13,
    /// Which samples are looked at where nothing has a label.
    LookedAt = 14,
    /// Which of few labelled samples are held out together, where each part is in turn.
    Folds = 15,
}

/// Numbers that belong to no layer (the readout, the held-out split) are drawn under this index.
pub const NO_LAYER: LayerIndex = LayerIndex(u32::MAX);

impl Seed {
    /// The stream of random numbers of one (purpose, layer, epoch, step).
    pub fn stream(self, purpose: Purpose, layer: LayerIndex, epoch: Epoch, step: Step) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[0..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..12].copy_from_slice(&(purpose as u32).to_le_bytes());
        key[12..16].copy_from_slice(&layer.0.to_le_bytes());
        key[16..20].copy_from_slice(&epoch.0.to_le_bytes());
        key[20..28].copy_from_slice(&step.0.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }

    /// The stream of random numbers of one view of one sample, for a purpose that no layer and no step changes.
    pub fn view_stream(self, purpose: Purpose, view: SampleKey) -> ChaCha8Rng {
        let SampleKey { index, variant } = view;
        self.stream(purpose, NO_LAYER, Epoch(u32::from(variant.0)), Step(u64::from(index)))
    }
}

/// A number drawn uniformly from `0..bound` without bias (Lemire's multiplication with rejection).
pub fn below(random: &mut impl Rng, bound: u32) -> u32 {
    assert!(bound > 0, "no number is below 0");
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u64::from(random.next_u32()) * u64::from(bound);
        if product as u32 >= threshold {
            return (product >> 32) as u32;
        }
    }
}

/// A number drawn uniformly from [-bound, bound), in steps of bound / 2^23.
pub fn symmetric(random: &mut impl Rng, bound: f32) -> f32 {
    let unit = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
    (2.0 * unit - 1.0) * bound
}

/// The numbers `0..length` in a random order (Fisher-Yates).
pub fn permutation(random: &mut impl Rng, length: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..length).collect();
    for last in (1..length).rev() {
        order.swap(last as usize, below(random, last + 1) as usize);
    }
    order
}

/// `count` distinct shifts from `1..batch`, for the negative pairs of a step.
pub fn distinct_shifts(random: &mut impl Rng, batch: usize, count: usize) -> Vec<usize> {
    assert!(count < batch, "a batch of {batch} has no {count} distinct shifts");
    let mut shifts = Vec::with_capacity(count);
    while shifts.len() < count {
        let shift = 1 + below(random, batch as u32 - 1) as usize;
        if !shifts.contains(&shift) {
            shifts.push(shift);
        }
    }
    shifts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_of(purpose: Purpose, layer: u32, epoch: u32, step: u64) -> u64 {
        Seed(7).stream(purpose, LayerIndex(layer), Epoch(epoch), Step(step)).next_u64()
    }

    #[test]
    fn every_part_of_the_key_gives_another_stream() {
        let streams = [
            first_of(Purpose::Order, 0, 0, 0),
            first_of(Purpose::Dropout, 0, 0, 0),
            first_of(Purpose::Order, 1, 0, 0),
            first_of(Purpose::Order, 0, 1, 0),
            first_of(Purpose::Order, 0, 0, 1),
            first_of(Purpose::Order, 0, 0, 1 << 40),
        ];
        for (i, a) in streams.iter().enumerate() {
            assert!(streams[i + 1..].iter().all(|b| a != b), "stream {i} is drawn twice");
        }
        assert_eq!(streams[0], first_of(Purpose::Order, 0, 0, 0));
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut random = Seed(1).stream(Purpose::Order, NO_LAYER, Epoch(0), Step(0));
        let mut order = permutation(&mut random, 1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn shifts_are_distinct_and_never_pair_a_sample_with_itself() {
        for step in 0..200 {
            let mut random = Seed(1).stream(Purpose::NegativePairs, LayerIndex(0), Epoch(0), Step(step));
            let shifts = distinct_shifts(&mut random, 5, 4);
            let mut sorted = shifts.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn numbers_below_a_bound_are_uniform() {
        let mut random = Seed(3).stream(Purpose::Order, NO_LAYER, Epoch(0), Step(0));
        let mut counts = [0_i32; 6];
        for _ in 0..60_000 {
            counts[below(&mut random, 6) as usize] += 1;
        }
        // Five standard deviations of a binomial count: 5 * sqrt(60000 * 1/6 * 5/6) = 456.
        assert!(counts.iter().all(|count| (count - 10_000).abs() < 456), "{counts:?}");
    }
}
