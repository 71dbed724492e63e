//! A round of sums over those who share a layer, or a readout: a state machine from slices to slices, without a socket.
//!
//! The numbers of a round are cut into slices: as many as there are members in its [`Circle`], or, of few numbers, fewer. Each member
//! sends its sums over its nodes of the tree of parts ([`scff::sum_tree`]), slice j of them to member j; member j adds slice j up over
//! all nodes, and sends the total to all others. So there are two hops however many they are, and where all add up each sends and
//! receives about twice the numbers. Losses are added up by the first.
//!
//! What others send is taken in turn, beginning with whoever comes next: nobody is everybody's first. A member that is ahead waits
//! in its own queue, for which the room is bounded ([`crate::peers`]).

use std::ops::Range;

use bytes::Bytes;
use proto::limits::PAYLOAD_BYTES;
use proto::{WireError, wire};
use scff::goodness::Loss;
use scff::sum_tree::{Addend, add_up, total};
use scff::train::{self, NodeSums, Sums};
use wire::Round;

use crate::circle::Circle;

/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();
/// Numbers of a loss.
const LOSS: usize = 5;
/// Bytes of it.
pub const LOSS_BYTES: usize = LOSS * size_of::<f64>();
/// The member that adds up losses.
const FIRST: usize = 0;

/// A slice on its way to a member of the group, by its place in the group's list.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// To whom.
    pub to: usize,
    /// What.
    pub slice: wire::Slice,
}

/// A round that is under way.
pub struct Exchange {
    circle: Circle,
    /// What is arriving.
    head: Head,
    /// Numbers of the round.
    count: usize,
    /// Each member's addends for this worker's slice, (nodes, numbers of the slice), as far as they have come.
    addends: Vec<Vec<f32>>,
    /// Losses of each member's nodes, likewise, where this worker is the first; none in a round of goodness.
    losses: Vec<Vec<Loss>>,
    /// Totals, as far as they have come.
    totals: Vec<f32>,
    /// The total of losses, once it is there.
    loss: Loss,
    /// Whose slice is arriving: how many members after this one. Once it is as many as there are members all have come.
    turn: usize,
    /// How many of its numbers have come, once any message has.
    come: Option<usize>,
}

/// What a slice says of itself.
#[derive(Clone, Copy)]
struct Head {
    step: u64,
    round: Round,
    kind: wire::SliceKind,
}

impl Exchange {
    /// Begins a round with this worker's own sums, of which the letters tell the others.
    pub fn begin(circle: Circle, step: u64, round: Round, own: &NodeSums) -> (Self, Vec<Letter>) {
        let count = own.numbers.ncols();
        let of = |member: usize| {
            let mut addends = Vec::new();
            for sum in own.numbers.outer_iter() {
                addends.extend_from_slice(
                    &sum.to_slice().expect("rows are contiguous")[circle.slice(member, count)],
                );
            }
            addends
        };
        let mut addends: Vec<Vec<f32>> = circle.members().iter().map(|_| Vec::new()).collect();
        let mut losses: Vec<Vec<Loss>> = circle.members().iter().map(|_| Vec::new()).collect();
        addends[circle.own()] = of(circle.own());
        if round == Round::Gradient {
            losses[circle.own()].clone_from(&own.losses);
        }
        let head = Head { step, round, kind: wire::SliceKind::Addends };
        let adders = circle.adders(count);
        let others = (1..circle.len()).map(|turn| circle.after(turn)).filter(|member| *member < adders);
        let letters = others
            .flat_map(|member| {
                let losses = if member == FIRST { &losses[circle.own()][..] } else { &[] };
                head.letters(circle.members()[member].place, &of(member), losses)
            })
            .collect();
        let (totals, loss) = (Vec::new(), Loss::default());
        let mut exchange = Self { circle, head, count, addends, losses, totals, loss, turn: 1, come: None };
        if exchange.circle.own() < adders {
            exchange.make_room();
        } else {
            exchange.await_totals();
        }
        (exchange, letters)
    }

    /// Whose slice it waits for, by the place in the group's list; nobody's once all have come.
    pub fn wants(&self) -> Option<usize> {
        (self.turn < self.circle.len()).then(|| self.circle.members()[self.circle.after(self.turn)].place)
    }

    /// What is added up.
    pub fn round(&self) -> Round {
        self.head.round
    }

    /// Takes in a message of whose slice it waits for; returns what is to be sent because of it.
    pub fn take(&mut self, slice: &wire::Slice) -> Result<Vec<Letter>, WireError> {
        self.head.check(slice, self.come.unwrap_or(0))?;
        let member = self.circle.after(self.turn);
        let losses = self.losses_of(slice, member)?;
        let (come, arriving) = self.arriving(member);
        let (numbers, rest) = slice.payload.as_chunks();
        let missing = &mut arriving[come..];
        if numbers.len() > missing.len() || !rest.is_empty() || (numbers.is_empty() && !missing.is_empty()) {
            let found = format!("{} bytes", slice.payload.len());
            let expected = format!("whole numbers, of the {} bytes that are missing", NUMBER * missing.len());
            return Err(WireError::new("slice.payload", found, expected));
        }
        for (number, bytes) in missing.iter_mut().zip(numbers) {
            *number = f32::from_le_bytes(*bytes);
        }
        let complete = numbers.len() == missing.len();
        match (self.head.kind, &losses[..]) {
            (wire::SliceKind::Total, [loss]) => self.loss = *loss,
            _ => self.losses[member].extend(losses),
        }
        self.come = Some(come + numbers.len());
        if !complete {
            return Ok(Vec::new());
        }
        self.turn += 1;
        self.come = None;
        if self.head.kind == wire::SliceKind::Total {
            self.skip_who_adds_nothing();
            return Ok(Vec::new());
        }
        if self.turn < self.circle.len() {
            self.make_room();
            return Ok(Vec::new());
        }
        Ok(self.add_up())
    }

    /// The sums over all parts, once all have come.
    pub fn sums(self) -> Sums {
        assert!(self.wants().is_none(), "all slices have come");
        Sums { numbers: self.totals, loss: self.loss }
    }

    /// Adds this worker's slice up, and goes on to the totals of the others.
    fn add_up(&mut self) -> Vec<Letter> {
        let own = self.circle.slice(self.circle.own(), self.count);
        let members = self.circle.members().iter().zip(&self.addends);
        let addends: Vec<Addend<'_>> = members
            .flat_map(|(member, numbers)| {
                let of = |index: usize| &numbers[index * own.len()..(index + 1) * own.len()];
                member.nodes.iter().enumerate().map(move |(index, node)| Addend::new(node, of(index)))
            })
            .collect();
        let mut sums = vec![0.0; own.len()];
        add_up(&addends, &mut sums);
        let is_first = self.circle.own() == FIRST && self.head.round == Round::Gradient;
        if is_first {
            self.loss = self.total_loss();
        }
        self.await_totals();
        self.totals[own.clone()].copy_from_slice(&sums);
        let own = &self.totals[own];
        let losses = if is_first { std::slice::from_ref(&self.loss) } else { &[] };
        (1..self.circle.len())
            .flat_map(|turn| {
                let to = self.circle.members()[self.circle.after(turn)].place;
                self.head.letters(to, own, losses)
            })
            .collect()
    }

    /// The loss over all parts, once all members' have come.
    fn total_loss(&self) -> Loss {
        let members = self.circle.members().iter().zip(&self.losses);
        let losses: Vec<(Range<usize>, Loss)> = members
            .flat_map(|(member, losses)| member.nodes.iter().cloned().zip(losses.iter().copied()))
            .collect();
        total(&losses, |one, other| one + other)
    }

    /// Goes on to the totals of the others.
    fn await_totals(&mut self) {
        self.addends = Vec::new();
        (self.totals, self.head.kind, self.turn) = (vec![0.0; self.count], wire::SliceKind::Total, 1);
        self.skip_who_adds_nothing();
    }

    /// Passes over members of whom no total comes.
    fn skip_who_adds_nothing(&mut self) {
        let adders = self.circle.adders(self.count);
        while self.turn < self.circle.len() && self.circle.after(self.turn) >= adders {
            self.turn += 1;
        }
    }

    /// Room for the addends of whose turn it is: only now, for nobody else can send any.
    fn make_room(&mut self) {
        if self.head.kind == wire::SliceKind::Addends {
            let member = self.circle.after(self.turn);
            let slice = self.circle.slice(self.circle.own(), self.count);
            self.addends[member] = vec![0.0; self.circle.members()[member].nodes.len() * slice.len()];
        }
    }

    /// How many numbers of a member's slice have come, and where all of them go.
    fn arriving(&mut self, member: usize) -> (usize, &mut [f32]) {
        let come = self.come.unwrap_or(0);
        let arriving = if self.head.kind == wire::SliceKind::Addends {
            &mut self.addends[member][..]
        } else {
            &mut self.totals[self.circle.slice(member, self.count)]
        };
        (come, arriving)
    }

    /// The losses that came with a message.
    fn losses_of(&self, slice: &wire::Slice, member: usize) -> Result<Vec<Loss>, WireError> {
        let expected = match (self.head.round, self.head.kind, self.come) {
            (Round::Gradient, wire::SliceKind::Addends, None) if self.circle.own() == FIRST => {
                self.circle.members()[member].nodes.len()
            }
            (Round::Gradient, wire::SliceKind::Total, None) if member == FIRST => 1,
            _ => 0,
        };
        let (losses, rest) = slice.losses.as_chunks();
        if losses.len() != expected || !rest.is_empty() {
            let expected = format_args!("{LOSS} numbers for each of {expected} losses").to_string();
            return Err(WireError::new("slice.losses", slice.losses.len(), expected));
        }
        Ok(losses.iter().copied().map(loss).collect())
    }
}

impl Head {
    /// That a message is the next one, after so many numbers.
    fn check(self, slice: &wire::Slice, come: usize) -> Result<(), WireError> {
        let named = |name: &str, number: i32| format!("{name} ({number})");
        let Self { step, round, kind } = self;
        if slice.step != step {
            return Err(WireError::new("slice.step", slice.step, step));
        }
        if slice.round != i32::from(round) {
            let found = named(slice.round().as_str_name(), slice.round);
            return Err(WireError::new("slice.round", found, round.as_str_name()));
        }
        if slice.kind != i32::from(kind) {
            let found = named(slice.kind().as_str_name(), slice.kind);
            return Err(WireError::new("slice.kind", found, kind.as_str_name()));
        }
        if slice.first != come as u64 {
            return Err(WireError::new("slice.first", slice.first, come));
        }
        Ok(())
    }

    /// A slice for the member at a place, as messages, in order; losses go with the first.
    fn letters(self, to: usize, numbers: &[f32], losses: &[Loss]) -> Vec<Letter> {
        let mut bytes = vec![0; NUMBER * numbers.len()];
        for (bytes, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
            *bytes = number.to_le_bytes();
        }
        let bytes = Bytes::from(bytes);
        let message = |start: usize| wire::Slice {
            step: self.step,
            round: self.round.into(),
            kind: self.kind.into(),
            first: (start / NUMBER) as u64,
            payload: bytes.slice(start..bytes.len().min(start + PAYLOAD_BYTES)),
            losses: if start == 0 { losses.iter().flat_map(loss_numbers).collect() } else { Vec::new() },
        };
        let starts = (0..bytes.len().max(1)).step_by(PAYLOAD_BYTES);
        starts.map(|start| Letter { to, slice: message(start) }).collect()
    }
}

// A message holds whole numbers.
const _: () = assert!(PAYLOAD_BYTES.is_multiple_of(NUMBER));

/// A round of a step of a layer.
pub fn on_the_wire(round: train::Round) -> Round {
    match round {
        train::Round::Goodness => Round::Goodness,
        train::Round::Gradient => Round::Gradient,
    }
}

fn loss([positive, negative, penalty, goodness_pos, goodness_neg]: [f64; LOSS]) -> Loss {
    Loss { positive, negative, penalty, goodness_pos, goodness_neg }
}

fn loss_numbers(loss: &Loss) -> [f64; LOSS] {
    let Loss { positive, negative, penalty, goodness_pos, goodness_neg } = *loss;
    [positive, negative, penalty, goodness_pos, goodness_neg]
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::slice;

    use ndarray::Array2;
    use scff::sum_tree::nodes;

    use super::*;

    /// Numbers and losses of each part, which round when they are added up.
    fn parts(count: usize, numbers: usize) -> NodeSums {
        let value = |seed: usize| ((seed * 7919 + 104_729) % 1009) as f64 / 7.0 - 70.0;
        NodeSums {
            nodes: (0..count).map(|part| part..part + 1).collect(),
            numbers: Array2::from_shape_fn((count, numbers), |(part, at)| value(part * 31 + at) as f32),
            losses: (0..count).map(|part| loss([0, 1, 2, 3, 4].map(|at| value(part * 77 + at)))).collect(),
        }
    }

    /// Sums over nodes.
    fn over(nodes: &[Range<usize>], parts: &NodeSums) -> NodeSums {
        let mut numbers = Array2::zeros((nodes.len(), parts.numbers.ncols()));
        for (node, mut sum) in nodes.iter().zip(numbers.outer_iter_mut()) {
            let rows = node.clone().map(|part| parts.numbers.row(part));
            let rows: Vec<Vec<f32>> = rows.map(|row| row.to_vec()).collect();
            let addends: Vec<_> = parts.nodes[node.clone()].iter().zip(&rows).collect();
            let addends: Vec<_> = addends.into_iter().map(|(node, row)| Addend::new(node, row)).collect();
            add_up(&addends, sum.as_slice_mut().unwrap());
        }
        let losses = nodes.iter().map(|node| {
            let losses: Vec<_> = node.clone().map(|part| (part..part + 1, parts.losses[part])).collect();
            total(&losses, |one, other| one + other)
        });
        NodeSums { nodes: nodes.to_vec(), numbers, losses: losses.collect() }
    }

    /// Members that own the parts between these bounds; their places in the group's list are 10, 11, ...
    fn circle(bounds: &[usize], own: usize) -> Circle {
        let members = bounds.windows(2).enumerate().map(|(index, bounds)| (10 + index, bounds[0]..bounds[1]));
        Circle::new(&members.collect::<Vec<_>>(), own)
    }

    /// What all members come to; each is told what the others send once it wants to know, in an order that `seed` decides.
    fn exchanged(bounds: &[usize], round: Round, numbers: usize, seed: usize) -> Vec<Sums> {
        let (count, whole) = (bounds.len() - 1, parts(*bounds.last().unwrap(), numbers));
        let mut mail = vec![vec![VecDeque::new(); count]; count];
        let mut members = Vec::new();
        for own in 0..count {
            let nodes = nodes(whole.nodes.len(), &(bounds[own]..bounds[own + 1]));
            let (exchange, letters) = Exchange::begin(circle(bounds, own), 5, round, &over(&nodes, &whole));
            for letter in letters {
                mail[own][letter.to - 10].push_back(letter.slice);
            }
            members.push(exchange);
        }
        let mut sent: usize = mail.iter().flatten().flatten().map(|slice| slice.payload.len()).sum();
        for turn in seed.. {
            let ready =
                |own: &usize| members[*own].wants().is_some_and(|from| !mail[from - 10][*own].is_empty());
            let all: Vec<usize> = (0..count).filter(ready).collect();
            let Some(&own) = all.get(turn * 7919 % all.len().max(1)) else { break };
            let slice = mail[members[own].wants().unwrap() - 10][own].pop_front().unwrap();
            for Letter { to, slice } in members[own].take(&slice).unwrap() {
                sent += slice.payload.len();
                mail[own][to - 10].push_back(slice);
            }
        }
        assert!(mail.iter().flatten().all(VecDeque::is_empty), "everything sent is wanted");
        assert_eq!(sent, NUMBER * circle(bounds, 0).numbers_sent(numbers));
        members.into_iter().map(Exchange::sums).collect()
    }

    #[test]
    fn all_members_come_to_the_sums_of_one() {
        for round in [Round::Goodness, Round::Gradient] {
            for bounds in [&[0, 1, 2][..], &[0, 3, 7, 11], &[0, 4, 8, 12, 16], &[0, 1, 2, 3, 4, 5, 16]] {
                // For one of them to add up, for some, for all, and more than a message holds.
                for numbers in [1, 5, 300, 1000, if bounds.len() == 3 { PAYLOAD_BYTES } else { 77 }] {
                    let whole = parts(*bounds.last().unwrap(), numbers);
                    let one = over(slice::from_ref(&(0..whole.nodes.len())), &whole);
                    let loss = if round == Round::Gradient { one.losses[0] } else { Loss::default() };
                    let expected = Sums { numbers: one.numbers.into_raw_vec_and_offset().0, loss };
                    for found in exchanged(bounds, round, numbers, numbers) {
                        assert_eq!(found, expected, "{round:?} of {numbers} numbers by {bounds:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn few_numbers_are_added_up_by_few() {
        let bounds = [0, 1, 2, 3, 4];
        let letters = |own: usize, numbers: usize| -> Vec<(usize, usize)> {
            let own_sums = over(slice::from_ref(&(own..own + 1)), &parts(4, numbers));
            let (_, letters) = Exchange::begin(circle(&bounds, own), 5, Round::Gradient, &own_sums);
            letters.iter().map(|Letter { to, slice }| (*to, slice.losses.len())).collect()
        };
        assert_eq!(letters(3, 255), [(10, 5)]);
        assert_eq!(letters(3, 256), [(10, 5), (11, 0)]);
        assert_eq!(letters(0, 256), [(11, 0)]);
        assert_eq!(letters(2, 512), [(13, 0), (10, 5), (11, 0)]);
        assert_eq!(letters(0, 100), []);
    }

    #[test]
    fn messages_are_bounded_and_losses_go_with_the_first() {
        let bounds = [0, 2, 4];
        let own = over(slice::from_ref(&(2..4)), &parts(4, PAYLOAD_BYTES));
        let (_, letters) = Exchange::begin(circle(&bounds, 1), 5, Round::Gradient, &own);
        let slices: Vec<_> = letters.into_iter().map(|letter| letter.slice).collect();
        assert_eq!(slices.len(), 2);
        assert!(slices.iter().all(|slice| slice.payload.len() == PAYLOAD_BYTES));
        assert_eq!(slices.iter().map(|slice| slice.losses.len()).collect::<Vec<_>>(), [5, 0]);
    }

    #[test]
    fn slices_of_another_step_round_kind_or_length_are_refused() {
        let bounds = [0, 1, 2];
        let own = |own: usize| {
            let (whole, nodes) = (parts(2, 256), own..own + 1);
            Exchange::begin(circle(&bounds, own), 5, Round::Gradient, &over(&[nodes], &whole))
        };
        let (_, mut letters) = own(1);
        let slice = letters.remove(0).slice;
        let refusal = |slice: wire::Slice| own(0).0.take(&slice).unwrap_err().to_string();
        let with = |change: fn(&mut wire::Slice)| {
            let mut slice = slice.clone();
            change(&mut slice);
            refusal(slice)
        };
        own(0).0.take(&slice).unwrap();
        assert_eq!(with(|slice| slice.step = 6), "slice.step: found 6, expected 5");
        let found = "slice.round: found ROUND_GOODNESS (1), expected ROUND_GRADIENT";
        assert_eq!(with(|slice| slice.round = wire::Round::Goodness.into()), found);
        let found = "slice.round: found ROUND_UNSPECIFIED (9), expected ROUND_GRADIENT";
        assert_eq!(with(|slice| slice.round = 9), found);
        let found = "slice.kind: found SLICE_KIND_TOTAL (2), expected SLICE_KIND_ADDENDS";
        assert_eq!(with(|slice| slice.kind = wire::SliceKind::Total.into()), found);
        assert_eq!(with(|slice| slice.first = 3), "slice.first: found 3, expected 0");
        let found = "expected whole numbers, of the 512 bytes that are missing";
        assert!(with(|slice| slice.payload = vec![0; 516].into()).ends_with(found));
        assert!(with(|slice| slice.payload = vec![0; 7].into()).ends_with(found));
        assert!(with(|slice| slice.payload = Bytes::new()).ends_with(found));
        let found = "slice.losses: found 4, expected 5 numbers for each of 1 losses";
        assert_eq!(with(|slice| slice.losses.truncate(4)), found);
        assert!(with(|slice| slice.losses.extend([0.0; 5])).starts_with("slice.losses: found 10"));
        // More than was to come.
        let mut exchange = own(0).0;
        exchange.take(&slice).unwrap();
        assert!(
            exchange
                .take(&slice)
                .unwrap_err()
                .to_string()
                .starts_with("slice.kind: found SLICE_KIND_ADDENDS")
        );
    }
}
