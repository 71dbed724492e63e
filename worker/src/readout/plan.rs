//! What a readout stream is about, checked.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use proto::{WireError, limits, required, wire};
use scff::batch::LayerIndex;
use scff::layer::ELEMENTS;
use scff::readout::{BLOCK, Blocks, ReadoutSpec};
use scff::seed::Seed;

use crate::circle::Circle;
use crate::node::Node;
use crate::party::{Party, Shared};
use crate::refusal::Refusal;
use crate::run::RunName;
use crate::stage::{Budget, between, step_limit};
use crate::transform::Passage;

/// Parts that there may be: to learn from, to validate on, to test.
const PARTS: usize = 8;
/// Views of a sample, at most.
const VIEWS: usize = 1 << 16;
/// Classes that there may be.
const CLASSES: usize = 1 << 20;

/// A readout of which this worker has a share, which fits the hosted layers and the memory.
pub struct ReadoutPlan {
    /// The way of samples to features.
    pub passage: Arc<Passage>,
    /// Features of a sample.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// How it is trained.
    pub spec: ReadoutSpec,
    /// What its random numbers follow from.
    pub seed: Seed,
    /// What is learned from, and then what else is measured.
    pub parts: Vec<Part>,
    /// Who takes part.
    pub party: Party,
    /// Which blocks each of them owns.
    pub shares: Vec<Blocks>,
}

/// Samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many.
    pub samples: usize,
    /// Rows of features: samples times views.
    pub rows: usize,
}

impl ReadoutPlan {
    /// Checks a message against the layers and the memory that are here.
    pub fn parse(begin: wire::ReadoutBegin, node: &Node) -> Result<Self, Refusal> {
        let transform = required("transform", begin.transform)?;
        let run = RunName::parse(transform.run.clone())?;
        let layer = LayerIndex(transform.layers);
        let passage = Passage::parse(transform, &run, node)?;
        let features = passage.features();
        if !(1..=ELEMENTS).contains(&features) {
            let expected = format_args!("1 to {ELEMENTS} features").to_string();
            return Err(
                WireError::new("transform.taps", format_args!("{features} features"), expected).into()
            );
        }
        let spec = ReadoutSpec {
            learning_rate: begin.learning_rate,
            batch: between("batch", begin.batch.into(), 1, limits::BATCH)?,
            epochs: begin.epochs,
            dropout: begin.dropout,
        };
        check_spec(&spec)?;
        let shares = shares(&begin.group, features)?;
        let place = usize::try_from(begin.place).unwrap_or(usize::MAX);
        let own = begin.group.get(place).filter(|own| own.identity == node.identity);
        if own.is_none() {
            let expected = format_args!("this worker's of a group of {}", shares.len()).to_string();
            return Err(WireError::new("place", begin.place, expected).into());
        }
        let patience: Duration = step_limit(begin.silence_seconds)?;
        let peers = (0..shares.len()).filter(|peer| *peer != place).collect();
        let shared = Shared::Readout;
        let party =
            Party { shared, run, layer, attempt: begin.attempt, group: begin.group, place, peers, patience };
        let plan = Self {
            passage: Arc::new(passage),
            features,
            classes: between("classes", begin.classes.into(), 1, CLASSES)?,
            spec,
            seed: Seed(begin.seed),
            parts: parts(&begin.parts)?,
            party,
            shares,
        };
        plan.check_memory(node.budget)?;
        Ok(plan)
    }

    /// The blocks that this worker owns.
    pub fn own(&self) -> &Blocks {
        &self.shares[self.party.place]
    }

    /// Labels of all parts.
    pub fn labels(&self) -> usize {
        self.parts.iter().map(|part| part.samples).sum()
    }

    /// Where the features of the member at a place stand among the bytes of a row.
    pub fn bytes_of(&self, place: usize) -> Range<usize> {
        let (columns, number) = (self.shares[place].columns(), self.passage.precision().bytes());
        columns.start * number..columns.end * number
    }

    /// All who own blocks.
    pub fn circle(&self) -> Option<Circle> {
        let owners = self.shares.iter().enumerate().filter(|(_, share)| !share.own().is_empty());
        let owners: Vec<(usize, Range<usize>)> = owners.map(|(place, share)| (place, share.own())).collect();
        let own = owners.iter().position(|(place, _)| *place == self.party.place)?;
        Some(Circle::new(&owners, own))
    }

    /// What is kept counts as activations do; weights, their moments and gradients as all else.
    fn check_memory(&self, budget: Budget) -> Result<(), Refusal> {
        let width = self.own().columns().len() as u64;
        let rows: u64 = self.parts.iter().map(|part| part.rows as u64).sum();
        let labels = size_of::<u32>() as u64 * self.labels() as u64;
        let bytes = width.saturating_mul(self.passage.precision().bytes() as u64);
        let needed = rows.saturating_mul(bytes).saturating_add(labels);
        if needed > budget.cache_bytes {
            let available = budget.cache_bytes;
            return Err(Refusal::Memory { what: "readout's features", needed, available });
        }
        let needed = (width * self.classes as u64).saturating_mul(4 * size_of::<f32>() as u64);
        if needed > budget.memory_bytes {
            return Err(Refusal::Memory { what: "readout", needed, available: budget.memory_bytes });
        }
        Ok(())
    }
}

fn check_spec(spec: &ReadoutSpec) -> Result<(), WireError> {
    if !(spec.learning_rate > 0.0 && spec.learning_rate.is_finite()) {
        return Err(WireError::new("learning_rate", spec.learning_rate, "a finite number above 0"));
    }
    if !(0.0..1.0).contains(&spec.dropout) {
        return Err(WireError::new("dropout", spec.dropout, "at least 0 and below 1"));
    }
    Ok(())
}

/// Who owns which blocks: whole ones, in order, together all of them.
fn shares(group: &[wire::Shard], features: usize) -> Result<Vec<Blocks>, WireError> {
    let mut end = 0;
    let mut share = |shard: &wire::Shard| {
        let bound = |at: u64| {
            let at = usize::try_from(at).ok().filter(|at| *at <= features)?;
            (at.is_multiple_of(BLOCK) || at == features).then_some(at)
        };
        match bound(shard.start).zip(bound(shard.end)) {
            Some((first, last)) if first == end && first <= last => {
                end = last;
                Ok(Blocks::some(features, first.div_ceil(BLOCK)..last.div_ceil(BLOCK)))
            }
            _ => {
                let expected = format!("blocks of {BLOCK} of 0..{features}, from {end} on");
                Err(WireError::new("group.start", format_args!("{}..{}", shard.start, shard.end), expected))
            }
        }
    };
    let shares = group.iter().map(&mut share).collect::<Result<_, _>>()?;
    if end != features {
        return Err(WireError::new("group.end", end, format_args!("{features}, of all shards")));
    }
    Ok(shares)
}

fn parts(parts: &[wire::ReadoutPart]) -> Result<Vec<Part>, WireError> {
    if !(1..=PARTS).contains(&parts.len()) {
        return Err(WireError::new("parts", parts.len(), format_args!("1 to {PARTS}")));
    }
    let part = |part: &wire::ReadoutPart| {
        let samples = between("parts.samples", part.samples, 1, u32::MAX as usize)?;
        let views = between("parts.views", part.views.into(), 1, VIEWS)?;
        Ok(Part { samples, rows: samples * views })
    };
    parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of shares of so many features each, as (first, end).
    fn owned(bounds: &[(u64, u64)]) -> Result<Vec<(usize, usize)>, String> {
        let shard = |&(start, end): &(u64, u64)| wire::Shard { start, end, ..wire::Shard::default() };
        let group: Vec<_> = bounds.iter().map(shard).collect();
        let shares = shares(&group, 2500).map_err(|error| error.to_string())?;
        Ok(shares.iter().map(Blocks::own).map(|own| (own.start, own.end)).collect())
    }

    #[test]
    fn shares_are_whole_blocks_and_together_all_of_them() {
        assert_eq!(owned(&[(0, 2500)]).unwrap(), [(0, 3)]);
        assert_eq!(owned(&[(0, 1024), (1024, 2500)]).unwrap(), [(0, 1), (1, 3)]);
        assert_eq!(
            owned(&[(0, 1024), (1024, 2048), (2048, 2500), (2500, 2500)]).unwrap(),
            [(0, 1), (1, 2), (2, 3), (3, 3)]
        );
        for (bounds, says) in [
            (
                &[(0, 1000), (1000, 2500)][..],
                "group.start: found 0..1000, expected blocks of 1024 of 0..2500",
            ),
            (&[(0, 1024), (2048, 2500)], "group.start: found 2048..2500, expected blocks of 1024"),
            (&[(0, 2048), (1024, 2500)], "group.start: found 1024..2500, expected blocks of 1024"),
            (&[(0, 4096)], "group.start: found 0..4096, expected blocks of 1024"),
            (&[(0, 1024), (1024, 0)], "group.start: found 1024..0, expected blocks of 1024"),
            (&[(0, 1024)], "group.end: found 1024, expected 2500"),
            (&[], "group.end: found 0, expected 2500"),
        ] {
            let error = owned(bounds).unwrap_err();
            assert!(error.starts_with(says), "{error} starts with {says}");
        }
    }

    #[test]
    fn a_readout_that_cannot_be_learned_is_refused() {
        let spec = ReadoutSpec { learning_rate: 0.001, batch: 50, epochs: 2, dropout: 0.2 };
        assert!(check_spec(&spec).is_ok());
        for wrong in [
            ReadoutSpec { learning_rate: f64::NAN, ..spec },
            ReadoutSpec { learning_rate: 0.0, ..spec },
            ReadoutSpec { dropout: 1.0, ..spec },
            ReadoutSpec { dropout: f32::NAN, ..spec },
        ] {
            assert!(check_spec(&wrong).is_err(), "{wrong:?}");
        }
        let part = wire::ReadoutPart { samples: 10, views: 2 };
        assert_eq!(parts(&[part]).unwrap(), [Part { samples: 10, rows: 20 }]);
        assert!(parts(&[]).is_err() && parts(&[wire::ReadoutPart { samples: 0, views: 1 }]).is_err());
    }
}
