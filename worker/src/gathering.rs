//! What those who train the layer below pass on, as it arrives: put in the order of each batch.
//!
//! They are at times a few steps apart, and ahead of the batches that say whose pairs are whose. So several steps may be arriving; of
//! each no more than all its rows from anybody, and once its batch is there every pair once, from whoever has it: that is all
//! that is ever held.

use std::collections::VecDeque;
use std::ops::Range;

use proto::limits::{STEPS_AHEAD, rows_per_message};
use proto::row_bytes::{RowBytes, RowLength};
use proto::rows::Precision;
use proto::{WireError, required, wire};
use scff::pair_order::PairOrder;

use crate::passing::own_pairs;

/// What arrives.
pub struct Rows {
    /// Of so many pairs something is passed on, the first ones of each batch.
    pub count: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// The samples that each feeder has, as they follow each other.
    pub feeders: Vec<Range<usize>>,
    /// The samples whose pairs come here, where not all do.
    pub own: Option<Range<usize>>,
    /// How long a row is, and how precise.
    pub length: RowLength,
    /// In which precision.
    pub precision: Precision,
}

/// Steps that are arriving.
pub struct Gathering {
    rows: Rows,
    /// The first step that was not taken.
    step: u64,
    /// What there is of it, and of those that follow.
    arriving: VecDeque<Arriving>,
}

/// What there is of a step.
struct Arriving {
    /// Rows that have come from each feeder.
    come: Vec<usize>,
    parts: Vec<Part>,
    /// Once the batch is there.
    expected: Option<Expected>,
}

/// Rows, of which pairs, and from whom.
struct Part {
    feeder: usize,
    pairs: Vec<u32>,
    rows: RowBytes,
}

/// What is to come of a step.
struct Expected {
    /// Of each pair that is missing, who has it.
    owners: Vec<Option<usize>>,
    missing: usize,
    /// Parts that were checked.
    checked: usize,
}

/// A feeder that sends what it should not, and what is wrong.
pub type Wrong = (usize, WireError);

impl Gathering {
    /// From a step on.
    pub fn new(rows: Rows, step: u64) -> Self {
        Self { rows, step, arriving: VecDeque::new() }
    }

    /// The step whose batch is to come, or to become whole.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// How many rows of a batch are passed on.
    pub fn count(&self) -> usize {
        self.rows.count
    }

    /// Takes in a part of what a feeder passes on.
    pub fn take(&mut self, feeder: usize, part: wire::PassedOn) -> Result<(), WireError> {
        let wire::PassedOn { step, pairs, rows } = part;
        let rows = required("passed_on.rows", rows)?;
        let Rows { count, length, precision, .. } = self.rows;
        let rows = RowBytes::parse(rows, length, precision, count)?;
        if pairs.len() != rows.rows() {
            let expected = format_args!("one for each of {} rows", rows.rows()).to_string();
            return Err(WireError::new("passed_on.pairs", format_args!("{} pairs", pairs.len()), expected));
        }
        if let Some(wrong) = pairs.iter().find(|pair| **pair as usize >= count) {
            let expected = format_args!("one of the {count} that are passed on").to_string();
            return Err(WireError::new("passed_on.pairs", format_args!("pair {wrong}"), expected));
        }
        let arriving = self.arriving(step)?;
        let come = arriving.come[feeder] + pairs.len();
        if come > count {
            let expected = format_args!("at most {count} of step {step}").to_string();
            return Err(WireError::new("passed_on.rows", format_args!("{come} rows"), expected));
        }
        arriving.come[feeder] = come;
        arriving.parts.push(Part { feeder, pairs, rows });
        arriving.check(step).map_err(|(_, error)| error)
    }

    /// The batch of the step is there, of these shifts in the layer below: now it is known what is to come, and from whom.
    pub fn expect(&mut self, shifts: &[usize]) -> Result<(), Wrong> {
        let expected = self.rows.expected(shifts);
        if self.arriving.is_empty() {
            self.arriving.push_back(Arriving::new(self.rows.feeders.len()));
        }
        let arriving = &mut self.arriving[0];
        arriving.expected = Some(expected);
        arriving.check(self.step)
    }

    /// What the expected step passes on, in the order of pairs, once it is whole.
    pub fn whole(&mut self) -> Option<Vec<wire::Rows>> {
        let whole = |step: &mut Arriving| step.expected.as_ref().is_some_and(|step| step.missing == 0);
        let Arriving { parts, .. } = self.arriving.pop_front_if(whole)?;
        self.step += 1;
        let pairs = || parts.iter().flat_map(|part| &part.pairs);
        if pairs().is_sorted() {
            return Some(parts.into_iter().map(|part| part.rows.into()).collect());
        }
        let rows = parts.iter().flat_map(|part| part.pairs.iter().zip(part.rows.iter()));
        let mut rows: Vec<(&u32, &[u8])> = rows.collect();
        rows.sort_unstable_by_key(|(pair, _)| **pair);
        let rows: Vec<&[u8]> = rows.into_iter().map(|(_, row)| row).collect();
        let Rows { length, precision, .. } = self.rows;
        let together = rows_per_message(length.longest() * precision.bytes());
        Some(rows.chunks(together).map(|rows| wire::Rows::of(rows, precision)).collect())
    }

    /// The first feeder of whom something of the expected step is missing.
    pub fn awaited(&self) -> Option<usize> {
        let expected = self.arriving.front()?.expected.as_ref()?;
        expected.owners.iter().find_map(|owner| *owner)
    }

    /// A step that is arriving.
    fn arriving(&mut self, step: u64) -> Result<&mut Arriving, WireError> {
        let first = self.step;
        let ahead = step.checked_sub(first).filter(|ahead| *ahead < STEPS_AHEAD);
        let Some(ahead) = ahead else {
            let expected = format_args!("{first} to {}", first + (STEPS_AHEAD - 1)).to_string();
            return Err(WireError::new("passed_on.step", step, expected));
        };
        while self.arriving.len() as u64 <= ahead {
            self.arriving.push_back(Arriving::new(self.rows.feeders.len()));
        }
        Ok(&mut self.arriving[ahead as usize])
    }
}

impl Rows {
    /// What comes of a step, of these shifts in the layer below.
    fn expected(&self, shifts: &[usize]) -> Expected {
        let mut owners = vec![None; self.count];
        let own = self.own.as_ref().map(|own| own_pairs(self.batch, shifts, own));
        let mut note = |pair: usize, feeder: usize| {
            if let Some(owner) = owners.get_mut(pair) {
                *owner = Some(feeder);
            }
        };
        let order = PairOrder::neighbouring(self.batch, shifts, &self.feeders);
        let in_batch: Vec<usize> = order.in_batch().collect();
        for (feeder, places) in order.groups().enumerate() {
            in_batch[places].iter().for_each(|&pair| note(pair, feeder));
        }
        if let Some(own) = own {
            let mut wanted = vec![false; self.count];
            for pair in own {
                wanted[pair] = true;
            }
            let unwanted = owners.iter_mut().zip(wanted).filter(|(_, wanted)| !wanted);
            unwanted.for_each(|(owner, _)| *owner = None);
        }
        let missing = owners.iter().flatten().count();
        Expected { owners, missing, checked: 0 }
    }
}

impl Arriving {
    fn new(feeders: usize) -> Self {
        Self { come: vec![0; feeders], parts: Vec::new(), expected: None }
    }

    /// Checks parts that have come since it was done last, if it is known what is to come.
    fn check(&mut self, step: u64) -> Result<(), Wrong> {
        let Some(Expected { owners, missing, checked }) = &mut self.expected else { return Ok(()) };
        for Part { feeder, pairs, .. } in &self.parts[*checked..] {
            for &pair in pairs {
                match owners[pair as usize].take() {
                    Some(owner) if owner == *feeder => {}
                    _ => {
                        let found = format_args!("pair {pair} of step {step}").to_string();
                        let expected = "each once that comes of its own samples and is needed here";
                        return Err((*feeder, WireError::new("passed_on.pairs", found, expected)));
                    }
                }
            }
            *missing -= pairs.len();
            *checked += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: RowLength = RowLength::Fixed(1);
    const SHIFTS: [usize; 1] = [3];
    const TWO: [Range<usize>; 2] = [0..3, 3..7];

    /// Batches of seven samples with one negative each.
    fn gathering(count: usize, feeders: &[Range<usize>], own: Option<Range<usize>>, step: u64) -> Gathering {
        let (feeders, precision) = (feeders.to_vec(), Precision::F32);
        Gathering::new(Rows { count, batch: 7, feeders, own, length: LENGTH, precision }, step)
    }

    /// The pairs of the feeder with these samples.
    fn own(samples: &Range<usize>) -> Vec<u32> {
        own_pairs(7, &SHIFTS, samples).into_iter().map(|pair| pair as u32).collect()
    }

    fn number(step: u64, pair: u32) -> f32 {
        (100 * step + u64::from(pair)) as f32
    }

    /// Rows that hold the pair's number and the step's.
    fn part(step: u64, pairs: &[u32]) -> wire::PassedOn {
        let payload: Vec<u8> = pairs.iter().flat_map(|pair| number(step, *pair).to_le_bytes()).collect();
        let rows = Some(wire::Rows::alike(pairs.len(), payload));
        wire::PassedOn { step, pairs: pairs.to_vec(), rows }
    }

    fn check_whole(gathering: &mut Gathering, step: u64, pairs: impl IntoIterator<Item = u32>) {
        let messages = gathering.whole().expect("it is whole");
        let payload: Vec<u8> = messages.iter().flat_map(|rows| rows.payload.to_vec()).collect();
        let expected: Vec<u8> = pairs.into_iter().flat_map(|pair| number(step, pair).to_le_bytes()).collect();
        assert_eq!(payload, expected);
    }

    #[test]
    fn rows_of_two_are_put_in_order_step_by_step() {
        let mut gathering = gathering(14, &TWO, None, 5);
        let [first, second] = [own(&TWO[0]), own(&TWO[1])];
        // The second is a step ahead, and both of the batches.
        for step in 5..7 {
            gathering.take(1, part(step, &second)).unwrap();
        }
        gathering.take(0, part(5, &first[..2])).unwrap();
        assert_eq!(gathering.whole(), None);
        gathering.expect(&SHIFTS).unwrap();
        assert_eq!((gathering.whole(), gathering.awaited()), (None, Some(0)));
        gathering.take(0, part(5, &first[2..])).unwrap();
        check_whole(&mut gathering, 5, 0..14);
        gathering.expect(&SHIFTS).unwrap();
        gathering.take(0, part(6, &first)).unwrap();
        check_whole(&mut gathering, 6, 0..14);
        assert_eq!((gathering.whole(), gathering.awaited()), (None, None));
    }

    #[test]
    fn rows_of_one_are_passed_on_as_they_came() {
        let mut alone = gathering(14, std::slice::from_ref(&(0..7)), None, 0);
        let pairs: Vec<u32> = (0..14).collect();
        alone.expect(&SHIFTS).unwrap();
        let messages = [part(0, &pairs[..9]), part(0, &pairs[9..])];
        for message in &messages {
            alone.take(0, message.clone()).unwrap();
        }
        assert_eq!(alone.whole(), Some(messages.map(|message| message.rows.unwrap()).to_vec()));
    }

    #[test]
    fn who_needs_its_own_pairs_only_gets_no_others() {
        let samples = 2..5;
        let wanted = own(&samples);
        let of = |feeder: usize| -> Vec<u32> {
            own(&TWO[feeder]).into_iter().filter(|pair| wanted.contains(pair)).collect()
        };
        let mut gathering = gathering(14, &TWO, Some(samples.clone()), 0);
        gathering.expect(&SHIFTS).unwrap();
        for feeder in [1, 0] {
            gathering.take(feeder, part(0, &of(feeder))).unwrap();
        }
        check_whole(&mut gathering, 0, wanted.iter().copied());
        let other = own(&TWO[0]).into_iter().find(|pair| !wanted.contains(pair)).unwrap();
        gathering.expect(&SHIFTS).unwrap();
        let error = gathering.take(0, part(1, &[other])).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("passed_on.pairs: found pair {other} of step 1, expected each once"))
        );
    }

    #[test]
    fn what_is_not_owed_is_refused() {
        let refusal = |count, parts: &[wire::PassedOn]| {
            let mut gathering = gathering(count, &TWO, None, 0);
            gathering.expect(&SHIFTS).unwrap();
            let mut parts = parts.iter().map(|part| gathering.take(0, part.clone()));
            parts.find_map(Result::err).expect("a refusal").to_string()
        };
        let [first, second] = [own(&TWO[0]), own(&TWO[1])];
        let said = |pair| {
            format!(
                "passed_on.pairs: found pair {pair} of step 0, expected each once that comes of its own samples and is needed here"
            )
        };
        assert_eq!(refusal(14, &[part(0, &first), part(0, &first[..1])]), said(first[0]));
        assert_eq!(refusal(14, &[part(0, &second[..1])]), said(second[0]));
        let outside = "passed_on.pairs: found pair 7, expected one of the 7 that are passed on";
        assert_eq!(refusal(7, &[part(0, &[7])]), outside);
        assert_eq!(refusal(14, &[part(4, &first)]), "passed_on.step: found 4, expected 0 to 3");
        let fewer = wire::PassedOn { pairs: first[1..].to_vec(), ..part(0, &first) };
        let expected = format!("expected one for each of {} rows", first.len());
        assert!(refusal(14, &[fewer]).ends_with(&expected));
        let nothing = wire::PassedOn { rows: None, ..part(0, &first) };
        assert!(refusal(14, &[nothing]).starts_with("passed_on.rows: "));
        // Of a step whose batch has not come, too much is known to be so.
        let all: Vec<u32> = (0..14).collect();
        let error = refusal(14, &[part(1, &all), part(1, &all[..1])]);
        assert_eq!(error, "passed_on.rows: found 15 rows, expected at most 14 of step 1");
    }

    #[test]
    fn whose_pairs_were_taken_by_another_is_not_blamed() {
        let mut gathering = gathering(14, &TWO, None, 0);
        let [first, second] = [own(&TWO[0]), own(&TWO[1])];
        gathering.take(0, part(0, &second[..1])).unwrap();
        gathering.take(1, part(0, &second)).unwrap();
        gathering.take(0, part(0, &first)).unwrap();
        let (feeder, _) = gathering.expect(&SHIFTS).unwrap_err();
        assert_eq!(feeder, 0);
    }
}
