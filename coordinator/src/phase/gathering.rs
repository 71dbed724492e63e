//! What the steps of a member pass on, as it arrives from all who share its layer: put in the order of each batch.
//!
//! Those who share a layer are at times a few steps apart, by what is buffered on their ways. So several steps may be arriving; none
//! whose batch was not sent, and every pair of a step once, from whoever has it: that is all that is ever held.

use std::collections::VecDeque;
use std::ops::Range;

use proto::limits::rows_per_message;
use proto::row_bytes::{RowBytes, RowLength};
use proto::rows::Precision;
use proto::{required, wire};
use scff::batch::Step;
use scff::pair_order::PairOrder;

use super::sending::PassedOn;
use crate::order::Order;

/// The pairs of each step, and who has which.
pub struct Pairs {
    /// Those of which something is passed on, the first ones of each batch.
    pub count: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// The samples that each of those who share the layer has, as they follow each other.
    pub samples: Vec<Range<usize>>,
    /// Which batches there are.
    pub order: Order,
}

/// Steps that are arriving.
pub struct Gathering {
    pairs: Pairs,
    /// How long a row is, and how precise.
    length: RowLength,
    precision: Precision,
    /// The first step of which something is missing.
    step: u64,
    /// What there is of it, and of those that follow.
    arriving: VecDeque<Arriving>,
}

/// What there is of a step.
struct Arriving {
    reported: bool,
    /// Of each pair that is missing, the first sample of whoever has it.
    owners: Vec<Option<u64>>,
    missing: usize,
    parts: Vec<(Vec<u32>, RowBytes)>,
}

impl Pairs {
    /// Of each pair of a step, the first sample of whoever has it.
    fn owners(&mut self, step: u64) -> Vec<Option<u64>> {
        let mut owners = vec![Some(0); self.count];
        if self.samples.len() > 1 {
            let shifts = self.order.batch(Step(step)).shifts;
            let order = PairOrder::neighbouring(self.batch, &shifts, &self.samples);
            let in_batch: Vec<usize> = order.in_batch().collect();
            for (samples, places) in self.samples.iter().zip(order.groups()) {
                for &pair in &in_batch[places] {
                    if let Some(owner) = owners.get_mut(pair) {
                        *owner = Some(samples.start as u64);
                    }
                }
            }
        }
        owners
    }
}

impl Gathering {
    /// From a step on, rows of this length and precision.
    pub fn new(pairs: Pairs, (length, precision): (RowLength, Precision), from: Step) -> Self {
        Self { pairs, length, precision, step: from.0, arriving: VecDeque::new() }
    }

    /// Steps that are whole, in all.
    pub fn over(&self) -> u64 {
        self.step
    }

    /// The report on a step has come, of as many as `sent` batches.
    pub fn report(&mut self, step: u64, sent: u64) -> Result<(), String> {
        // What passes nothing on is over with its report: nothing is held.
        let sent = if self.pairs.count == 0 { u64::MAX } else { sent };
        self.arriving(step, sent)?.reported = true;
        Ok(())
    }

    /// Takes in a part of what one of `sent` steps passes on.
    pub fn take(&mut self, part: wire::PassedOn, sent: u64) -> Result<(), String> {
        let wire::PassedOn { step, first_sample, pairs, rows } = part;
        let rows = required("passed_on.rows", rows).map_err(|error| error.to_string())?;
        let count = self.pairs.count;
        if count == 0 {
            return Err(format!("{} rows of step {step}, which passes nothing on", rows.rows));
        }
        let (length, precision) = (self.length, self.precision);
        let rows = RowBytes::parse(rows, length, precision, count).map_err(|error| error.to_string())?;
        if pairs.len() != rows.rows() {
            return Err(format!("{} rows of {} pairs", rows.rows(), pairs.len()));
        }
        let arriving = self.arriving(step, sent)?;
        for &pair in &pairs {
            let Some(owner) = arriving.owners.get_mut(pair as usize) else {
                return Err(format!("a row of pair {pair} of step {step}, of {count} that are passed on"));
            };
            match owner.take() {
                Some(owner) if owner == first_sample => {}
                Some(owner) => {
                    return Err(format!(
                        "a row of pair {pair} of step {step} from the shard at sample {first_sample}, where the one at {owner} has it"
                    ));
                }
                None => return Err(format!("a row of pair {pair} of step {step} twice")),
            }
        }
        arriving.missing -= pairs.len();
        arriving.parts.push((pairs, rows));
        Ok(())
    }

    /// What the next step passes on, once it is whole and its report is there.
    pub fn next(&mut self) -> Option<PassedOn> {
        let whole = |step: &mut Arriving| step.reported && step.missing == 0;
        let Arriving { parts, .. } = self.arriving.pop_front_if(whole)?;
        self.step += 1;
        let in_order = parts.iter().flat_map(|(pairs, _)| pairs).copied().eq(0..self.pairs.count as u32);
        if in_order {
            return Some(parts.into_iter().map(|(_, rows)| rows.into()).collect());
        }
        let rows = parts.iter().flat_map(|(pairs, rows)| pairs.iter().zip(rows.iter()));
        let mut rows: Vec<(&u32, &[u8])> = rows.collect();
        rows.sort_unstable_by_key(|(pair, _)| **pair);
        let rows: Vec<&[u8]> = rows.into_iter().map(|(_, row)| row).collect();
        let together = rows_per_message(self.length.longest() * self.precision.bytes());
        Some(rows.chunks(together).map(|rows| wire::Rows::of(rows, self.precision)).collect())
    }

    /// A step that something is missing of.
    fn arriving(&mut self, step: u64, sent: u64) -> Result<&mut Arriving, String> {
        if step >= sent {
            return Err(format!("step {step}, whose batch was not sent"));
        }
        let Some(ahead) = step.checked_sub(self.step) else {
            return Err(format!("more of step {step}, which was whole"));
        };
        for next in self.step + self.arriving.len() as u64..=step {
            let owners = self.pairs.owners(next);
            let missing = owners.len();
            self.arriving.push_back(Arriving { reported: false, owners, missing, parts: Vec::new() });
        }
        Ok(&mut self.arriving[ahead as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use source::{Shape, TrainingSamples};

    const LENGTH: RowLength = RowLength::Fixed(1);
    const SENT: u64 = 3;

    /// Batches of seven samples with one negative each, of which one has three, the other four.
    fn gathering(count: usize, samples: &[Range<usize>]) -> Gathering {
        let changes = ["training.batch=7".to_owned(), "layers.0.negatives=1".to_owned()];
        let config = config::parse("iris", include_str!("../../../configs/iris.toml"), &changes).unwrap();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let plan = Plan::new(&config, shape, TrainingSamples::labelled(110)).unwrap();
        let order = Order::new(&plan, &plan.stages[0]);
        let pairs = Pairs { count, batch: 7, samples: samples.to_vec(), order };
        Gathering::new(pairs, (LENGTH, Precision::F32), Step(0))
    }

    const TWO: [Range<usize>; 2] = [0..3, 3..7];

    /// The pairs that the owner of these samples has.
    fn own(step: u64, samples: &Range<usize>) -> Vec<u32> {
        let shifts = gathering(14, &TWO).pairs.order.batch(Step(step)).shifts;
        let order = PairOrder::neighbouring(7, &shifts, std::slice::from_ref(samples));
        let mut pairs: Vec<u32> = order.in_batch().map(|pair| pair as u32).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Rows that hold the pair's number and the step's.
    fn part(step: u64, first_sample: u64, pairs: &[u32]) -> wire::PassedOn {
        let payload: Vec<u8> = pairs.iter().flat_map(|pair| number(step, *pair).to_le_bytes()).collect();
        let rows = Some(wire::Rows::alike(pairs.len(), payload));
        wire::PassedOn { step, first_sample, pairs: pairs.to_vec(), rows }
    }

    fn number(step: u64, pair: u32) -> f32 {
        (100 * step + u64::from(pair)) as f32
    }

    fn check_whole(gathering: &mut Gathering, step: u64) {
        let messages = gathering.next().expect("it is whole");
        let payload: Vec<u8> = messages.iter().flat_map(|rows| rows.payload.to_vec()).collect();
        let expected: Vec<u8> = (0..14).flat_map(|pair| number(step, pair).to_le_bytes()).collect();
        assert_eq!(payload, expected);
        assert_eq!(gathering.over(), step + 1);
    }

    #[test]
    fn rows_of_two_are_put_in_order_step_by_step() {
        let mut gathering = gathering(14, &TWO);
        let [first, second] = &TWO;
        // The second is a step ahead.
        for step in 0..2 {
            gathering.take(part(step, 3, &own(step, second)), SENT).unwrap();
        }
        gathering.report(0, SENT).unwrap();
        let (some, others) = (&own(0, first)[..2], &own(0, first)[2..]);
        gathering.take(part(0, 0, some), SENT).unwrap();
        assert_eq!(gathering.next(), None);
        gathering.take(part(0, 0, others), SENT).unwrap();
        check_whole(&mut gathering, 0);
        gathering.take(part(1, 0, &own(1, first)), SENT).unwrap();
        assert_eq!(gathering.next(), None, "its report is missing");
        gathering.report(1, SENT).unwrap();
        check_whole(&mut gathering, 1);
    }

    #[test]
    fn rows_of_one_are_passed_on_as_they_came() {
        let mut alone = gathering(14, &[]);
        let pairs: Vec<u32> = (0..14).collect();
        alone.report(0, SENT).unwrap();
        let messages = [part(0, 0, &pairs[..9]), part(0, 0, &pairs[9..])];
        for message in &messages {
            alone.take(message.clone(), SENT).unwrap();
        }
        assert_eq!(alone.next(), Some(messages.map(|message| message.rows.unwrap()).to_vec()));
        let mut nothing = gathering(0, &[]);
        nothing.report(0, 0).unwrap();
        assert_eq!((nothing.next(), nothing.over()), (Some(Vec::new()), 1));
    }

    #[test]
    fn what_is_not_owed_is_refused() {
        let refusal = |count, parts: &[wire::PassedOn]| {
            let mut gathering = gathering(count, &TWO);
            let mut parts = parts.iter().map(|part| gathering.take(part.clone(), SENT));
            parts.find_map(Result::err).expect("a refusal")
        };
        let [first, second] = [own(0, &TWO[0]), own(0, &TWO[1])];
        let pair = first[0];
        assert_eq!(refusal(0, &[part(0, 0, &[0])]), "1 rows of step 0, which passes nothing on");
        let twice = [part(0, 0, &first), part(0, 0, &[pair])];
        assert_eq!(refusal(14, &twice), format!("a row of pair {pair} of step 0 twice"));
        let of_the_other = part(0, 0, &second[..1]);
        assert!(
            refusal(14, &[of_the_other]).ends_with("from the shard at sample 0, where the one at 3 has it")
        );
        assert_eq!(refusal(7, &[part(0, 0, &[7])]), "a row of pair 7 of step 0, of 7 that are passed on");
        assert_eq!(refusal(14, &[part(SENT, 0, &first)]), "step 3, whose batch was not sent");
        let fewer = wire::PassedOn { pairs: first[1..].to_vec(), ..part(0, 0, &first) };
        assert_eq!(refusal(14, &[fewer]), format!("{} rows of {} pairs", first.len(), first.len() - 1));
        let nothing = wire::PassedOn { rows: None, ..part(0, 0, &first) };
        assert!(refusal(14, &[nothing]).starts_with("passed_on.rows: "));
        let mut gathering = gathering(0, &TWO);
        gathering.report(0, SENT).unwrap();
        gathering.next();
        assert_eq!(gathering.report(0, SENT), Err("more of step 0, which was whole".to_owned()));
    }
}
