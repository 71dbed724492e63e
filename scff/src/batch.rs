//! Which sample variants meet in a step.

use serde::{Deserialize, Serialize};

/// A layer's place in the network, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerIndex(pub u32);

/// An epoch of one stage, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u32);

/// A training step of one stage, counted from 0 over all its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step(pub u64);

/// One augmented view of a sample; 0 is the sample as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Variant(pub u16);

/// One view of one sample of a split: what an activation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SampleKey {
    /// The sample's index in its split.
    pub index: u32,
    /// Which view of it.
    pub variant: Variant,
}

impl SampleKey {
    /// The key as one number: `index * 2^16 + variant`.
    pub fn to_bits(self) -> u64 {
        u64::from(self.index) << 16 | u64::from(self.variant.0)
    }

    /// The key of [`SampleKey::to_bits`], or `None` where the number is none.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let index = u32::try_from(bits >> 16).ok()?;
        Some(Self { index, variant: Variant(bits as u16) })
    }
}

impl std::fmt::Display for SampleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sample {} variant {}", self.index, self.variant.0)
    }
}

/// The samples and pairs of one training step.
///
/// Pair halves: positive pair i is (`first[i]`, `second[i]`); negative pair i of shift k is
/// (`first[i]`, `second[(i + k) mod B]`). Where the two halves are the same views, `second` is `None`
/// and one linear map per sample serves both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which step this is.
    pub step: Step,
    /// First halves of the pairs, B of them.
    pub first: Vec<SampleKey>,
    /// Second halves where they are other views than the first, B of them.
    pub second: Option<Vec<SampleKey>>,
    /// The shifts of the negative pairs, each in 1..B and distinct: one for every negative per sample.
    pub shifts: Vec<usize>,
}

impl Batch {
    /// The keys of the rows of this batch, in order: all first halves, then all second halves if they differ.
    pub fn rows(&self) -> impl Iterator<Item = SampleKey> + '_ {
        self.first.iter().chain(self.second.iter().flatten()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_trip_through_its_bits() {
        for (index, variant) in [(0, 0), (1, 24), (u32::MAX, u16::MAX)] {
            let key = SampleKey { index, variant: Variant(variant) };
            assert_eq!(SampleKey::from_bits(key.to_bits()), Some(key));
        }
        assert_eq!(SampleKey::from_bits(1 << 48), None);
    }
}
