//! Who takes part in a round of sums: the members of a row, or of a column, of those who share a layer.

use std::ops::Range;

use proto::limits::slices;
use scff::sum_tree::nodes;

/// Those who take part in a round, in the order of their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    members: Vec<Member>,
    own: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its place in the group's list.
    pub place: usize,
    /// The largest nodes of the tree of parts that lie within its own parts.
    pub nodes: Vec<Range<usize>>,
}

impl Circle {
    /// Members with consecutive parts, from the first part on to the last of all. `own`: which of them this worker is.
    pub fn new(members: &[(usize, Range<usize>)], own: usize) -> Self {
        let parts = members.last().map_or(0, |(_, parts)| parts.end);
        let member =
            |(place, own): &(usize, Range<usize>)| Member { place: *place, nodes: nodes(parts, own) };
        Self { members: members.iter().map(member).collect(), own }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is nobody to exchange anything with.
    pub fn is_alone(&self) -> bool {
        self.members.len() == 1
    }

    /// All members, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Which of them this worker is.
    pub fn own(&self) -> usize {
        self.own
    }

    /// Which of them comes so many after this worker, round and round: everybody begins with somebody else.
    pub fn after(&self, turn: usize) -> usize {
        (self.own + turn) % self.members.len()
    }

    /// Places in the group's list of all but this worker.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        self.members
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != self.own)
            .map(|(_, member)| member.place)
    }

    /// How many of them add up a round of `count` numbers: these are the first ones.
    pub fn adders(&self, count: usize) -> usize {
        slices(count, self.members.len())
    }

    /// The slice of `count` numbers that a member adds up; empty where it is not among [`Self::adders`].
    pub fn slice(&self, member: usize, count: usize) -> Range<usize> {
        let adders = self.adders(count);
        let bound = |member: usize| count * member.min(adders) / adders;
        bound(member)..bound(member + 1)
    }

    /// Numbers that they send each other in a round of so many, all together.
    pub fn numbers_sent(&self, count: usize) -> usize {
        let addends = self
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| member.nodes.len() * (count - self.slice(index, count).len()));
        addends.sum::<usize>() + (self.members.len() - 1) * count
    }

    /// Numbers that this worker holds in a round of so many, at most: its own sums, what all add to its slice, totals, and letters of
    /// its sums and of its total.
    pub fn numbers_held(&self, count: u64) -> u64 {
        if self.is_alone() {
            return 0;
        }
        let nodes = |member: &Member| member.nodes.len() as u64;
        let all: u64 = self.members.iter().map(nodes).sum();
        let adders = self.adders(usize::try_from(count).unwrap_or(usize::MAX));
        let slice = count.div_ceil(adders as u64);
        let own = (2 * nodes(&self.members[self.own])).saturating_mul(count);
        let letters = (self.members.len() as u64 - 1).saturating_mul(slice).max(count);
        own.saturating_add(all.saturating_mul(slice)).saturating_add(count).saturating_add(letters)
    }

    /// Losses that they send each other in a round: of all nodes to the first, and the total back.
    pub fn losses_sent(&self) -> usize {
        self.members[1..].iter().map(|member| member.nodes.len() + 1).sum()
    }
}
