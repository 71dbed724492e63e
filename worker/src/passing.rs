//! Who passes a layer's outputs on to whom, where the layer above trains at the same time.

use std::ops::Range;

use proto::{WireError, limits, wire};
use scff::batch::LayerIndex;
use scff::pair_order::PairOrder;

/// How outputs come to those who train the layer above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All of them to the first, who hands them on down the chain.
    First,
    /// All of them to everybody.
    All,
    /// To everybody those of its own pairs.
    Own,
}

/// Those who pass on what arrives at a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Feeders {
    /// Who they are.
    pub workers: Vec<wire::Shard>,
    /// Samples of each, in the same order: together they are a batch.
    pub samples: Vec<Range<usize>>,
    /// To whom they pass on.
    pub way: Way,
    /// Rows that all of them pass on in a step.
    pub rows: usize,
    /// With which step they begin.
    pub step: u64,
}

/// Those to whom a layer's outputs are passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Takers {
    /// The layer that they train.
    pub layer: LayerIndex,
    /// Who they are.
    pub workers: Vec<wire::Shard>,
    /// Samples of each, in the same order.
    pub samples: Vec<Range<usize>>,
    /// What each of them gets.
    pub way: Way,
}

impl Feeders {
    /// Checks those of a layer with so many samples in a batch.
    pub fn parse(message: wire::Feeders, batch: usize) -> Result<Self, WireError> {
        let wire::Feeders { workers, way, rows, step } = message;
        let way = Way::parse("feeders.way", way)?;
        let samples = samples("feeders.workers", &workers, batch)?;
        let mut end = 0;
        for own in &samples {
            if own.start != end {
                let expected = format_args!("samples from {end} on, where those before end").to_string();
                return Err(WireError::new("feeders.workers", format_args!("samples {own:?}"), expected));
            }
            end = own.end;
        }
        if end != batch {
            let expected = format_args!("all {batch} of a batch").to_string();
            return Err(WireError::new("feeders.workers", format_args!("{end} samples"), expected));
        }
        let most = limits::BATCH * limits::BATCH;
        match usize::try_from(rows) {
            Ok(rows) if (batch..=most).contains(&rows) => Ok(Self { workers, samples, way, rows, step }),
            _ => Err(WireError::new("feeders.rows", rows, format_args!("{batch} to {most}"))),
        }
    }
}

impl Takers {
    /// Checks those who train a layer above `layer`, with so many samples in a batch.
    pub fn parse(message: wire::Takers, layer: u32, batch: usize) -> Result<Self, WireError> {
        let wire::Takers { layer: above, workers, way } = message;
        if above <= layer {
            return Err(WireError::new("takers.layer", above, format_args!("one above {layer}")));
        }
        let way = Way::parse("takers.way", way)?;
        let samples = samples("takers.workers", &workers, batch)?;
        Ok(Self { layer: LayerIndex(above), workers, samples, way })
    }
}

impl Way {
    fn parse(field: &'static str, number: i32) -> Result<Self, WireError> {
        match wire::Way::try_from(number) {
            Ok(wire::Way::First) => Ok(Self::First),
            Ok(wire::Way::All) => Ok(Self::All),
            Ok(wire::Way::Own) => Ok(Self::Own),
            Ok(wire::Way::Unspecified) | Err(_) => {
                Err(WireError::new(field, number, "FIRST (1), ALL (2) or OWN (3)"))
            }
        }
    }
}

/// The samples of each of some workers, of which there is at least one.
fn samples(
    field: &'static str,
    workers: &[wire::Shard],
    batch: usize,
) -> Result<Vec<Range<usize>>, WireError> {
    if !(1..=batch).contains(&workers.len()) {
        return Err(WireError::new(field, workers.len(), format_args!("1 to {batch} workers")));
    }
    let own = |shard: &wire::Shard| {
        let wire::Shard { first_sample, end_sample, .. } = *shard;
        if first_sample >= end_sample || end_sample > batch as u64 {
            let found = format_args!("samples {first_sample}..{end_sample}").to_string();
            return Err(WireError::new(field, found, format_args!("some of 0..{batch}")));
        }
        Ok(first_sample as usize..end_sample as usize)
    };
    workers.iter().map(own).collect()
}

/// The pairs of a batch whose first half is one of these samples, as they are counted in the batch, in ascending order.
pub fn own_pairs(batch: usize, shifts: &[usize], samples: &Range<usize>) -> Vec<usize> {
    let order = PairOrder::neighbouring(batch, shifts, std::slice::from_ref(samples));
    let mut pairs: Vec<usize> = order.in_batch().collect();
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(bounds: &[u64]) -> Vec<wire::Shard> {
        let shard = |bounds: &[u64]| wire::Shard {
            first_sample: bounds[0],
            end_sample: bounds[1],
            ..wire::Shard::default()
        };
        bounds.windows(2).map(shard).collect()
    }

    #[test]
    fn feeders_have_all_samples_of_a_batch() {
        let feeders = |bounds: &[u64], way: i32, rows| {
            let message = wire::Feeders { workers: shards(bounds), way, rows, step: 0 };
            Feeders::parse(message, 20).map_err(|error| error.to_string())
        };
        let found = feeders(&[0, 8, 20], 3, 40).unwrap();
        assert_eq!((found.samples, found.way, found.rows), (vec![0..8, 8..20], Way::Own, 40));
        for (bounds, way, rows, says) in [
            (&[0, 20][..], 0, 40, "feeders.way: found 0, expected FIRST (1), ALL (2) or OWN (3)"),
            (&[0], 2, 40, "feeders.workers: found 0, expected 1 to 20 workers"),
            (&[0, 21], 2, 40, "feeders.workers: found samples 0..21, expected some of 0..20"),
            (&[0, 8, 8, 20], 2, 40, "feeders.workers: found samples 8..8, expected some of 0..20"),
            (&[1, 20], 2, 40, "feeders.workers: found samples 1..20, expected samples from 0 on"),
            (&[0, 8], 2, 40, "feeders.workers: found 8 samples, expected all 20 of a batch"),
            (&[0, 20], 2, 19, "feeders.rows: found 19, expected 20 to "),
        ] {
            let error = feeders(bounds, way, rows).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn takers_train_a_layer_above() {
        let takers = |layer, bounds: &[u64]| {
            let message = wire::Takers { layer, workers: shards(bounds), way: wire::Way::Own.into() };
            Takers::parse(message, 1, 20).map_err(|error| error.to_string())
        };
        // Columns have the same samples, and whoever hands on has all.
        assert_eq!(takers(2, &[0, 20]).unwrap().samples, std::slice::from_ref(&(0..20)));
        assert_eq!(takers(1, &[0, 20]).unwrap_err(), "takers.layer: found 1, expected one above 1");
        let error = takers(2, &[3, 3]).unwrap_err();
        assert_eq!(error, "takers.workers: found samples 3..3, expected some of 0..20");
    }

    #[test]
    fn own_pairs_of_all_are_all_pairs_once() {
        let mut all = [own_pairs(7, &[2, 3], &(0..3)), own_pairs(7, &[2, 3], &(3..7))].concat();
        all.sort_unstable();
        assert_eq!(all, (0..21).collect::<Vec<_>>());
    }
}
