//! Batches on the wire: sample keys, plus which activations follow.

use std::collections::HashSet;

use scff::batch::{Batch, SampleKey, Step};

use crate::{WireError, wire};

/// A batch as a worker gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrivingBatch {
    /// The samples and pairs of the step.
    pub batch: Batch,
    /// The keys whose activations follow, and whether to keep each.
    pub arriving: Vec<(SampleKey, bool)>,
}

impl From<&ArrivingBatch> for wire::Batch {
    fn from(message: &ArrivingBatch) -> Self {
        let bits = |keys: &[SampleKey]| keys.iter().map(|key| key.to_bits()).collect::<Vec<_>>();
        let ArrivingBatch { batch, arriving } = message;
        Self {
            step: batch.step.0,
            first: bits(&batch.first),
            second: batch.second.as_deref().map(bits).unwrap_or_default(),
            shifts: batch.shifts.iter().map(|&shift| shift as u32).collect(),
            arriving: arriving.iter().map(|(key, _)| key.to_bits()).collect(),
            keep: arriving.iter().map(|(_, keep)| *keep).collect(),
            shift_below: 0,
        }
    }
}

impl ArrivingBatch {
    /// Checks a message of a stage with `size` samples a batch.
    pub fn parse(message: &wire::Batch, size: usize, two_views: bool) -> Result<Self, WireError> {
        let keys = |field, bits: &[u64], expected: usize| {
            if bits.len() != expected {
                return Err(WireError::new(field, format_args!("{} keys", bits.len()), expected));
            }
            bits.iter().map(|&bits| key(field, bits)).collect::<Result<Vec<_>, _>>()
        };
        let first = keys("batch.first", &message.first, size)?;
        let second = keys("batch.second", &message.second, if two_views { size } else { 0 })?;
        for &shift in &message.shifts {
            if !(1..size as u64).contains(&u64::from(shift)) {
                return Err(WireError::new("batch.shifts", shift, format_args!("1 to {}", size - 1)));
            }
        }
        let distinct: HashSet<_> = message.shifts.iter().collect();
        if distinct.len() != message.shifts.len() {
            return Err(WireError::new("batch.shifts", "one twice", "distinct shifts"));
        }
        if message.shifts.is_empty() {
            return Err(WireError::new("batch.shifts", "none", "at least one negative pair per sample"));
        }
        if message.arriving.len() > first.len() + second.len() || message.keep.len() != message.arriving.len()
        {
            let found =
                format_args!("{} keys, {} flags", message.arriving.len(), message.keep.len()).to_string();
            return Err(WireError::new(
                "batch.arriving",
                found,
                "at most one key a row, and a flag for each",
            ));
        }
        let arriving = message
            .arriving
            .iter()
            .zip(&message.keep)
            .map(|(&bits, &keep)| Ok((key("batch.arriving", bits)?, keep)))
            .collect::<Result<_, WireError>>()?;
        let shifts = message.shifts.iter().map(|&shift| shift as usize).collect();
        let batch = Batch { step: Step(message.step), first, second: two_views.then_some(second), shifts };
        Ok(Self { batch, arriving })
    }
}

fn key(field: &'static str, bits: u64) -> Result<SampleKey, WireError> {
    SampleKey::from_bits(bits).ok_or_else(|| WireError::new(field, bits, "index * 2^16 + variant"))
}

#[cfg(test)]
mod tests {
    use scff::batch::Variant;

    use super::*;

    fn batch() -> ArrivingBatch {
        let key = |index| SampleKey { index, variant: Variant(3) };
        ArrivingBatch {
            batch: Batch {
                step: Step(7),
                first: vec![key(1), key(2), key(3)],
                second: Some(vec![key(4), key(5), key(6)]),
                shifts: vec![2],
            },
            arriving: vec![(key(5), true), (key(1), false)],
        }
    }

    #[test]
    fn a_batch_survives_the_wire() {
        assert_eq!(ArrivingBatch::parse(&wire::Batch::from(&batch()), 3, true), Ok(batch()));
    }

    #[test]
    fn a_batch_that_does_not_fit_its_stage_is_refused_by_field() {
        let message = wire::Batch::from(&batch());
        let refuse = |message: &wire::Batch, size, views| {
            ArrivingBatch::parse(message, size, views).unwrap_err().field
        };
        assert_eq!(refuse(&message, 4, true), "batch.first");
        assert_eq!(refuse(&message, 3, false), "batch.second");
        assert_eq!(refuse(&wire::Batch { shifts: vec![3], ..message.clone() }, 3, true), "batch.shifts");
        assert_eq!(refuse(&wire::Batch { shifts: vec![], ..message.clone() }, 3, true), "batch.shifts");
        assert_eq!(refuse(&wire::Batch { shifts: vec![2, 2], ..message.clone() }, 3, true), "batch.shifts");
        assert_eq!(refuse(&wire::Batch { keep: vec![], ..message.clone() }, 3, true), "batch.arriving");
        let first = vec![u64::MAX; 3];
        assert_eq!(refuse(&wire::Batch { first, ..message }, 3, true), "batch.first");
    }
}
