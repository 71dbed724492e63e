//! What a worker adds to the sums of a round.

use proto::wire;
use scff::train::{NodeSums, Partial, Round, Sums};

use crate::exchange::on_the_wire;
use crate::share::Share;
use crate::stage::StagePlan;

/// What a worker adds to a round.
pub enum Contribution {
    /// All of it.
    Whole(Sums),
    /// Its own part.
    Own(NodeSums),
}

impl Contribution {
    /// The sums over the parts that a worker with this share has.
    pub fn new(share: &Share, partial: &Partial) -> Self {
        if share.circle(partial.round).is_alone() {
            return Self::Whole(partial.total());
        }
        Self::Own(partial.node_sums())
    }

    /// How many numbers are added up.
    fn numbers(&self) -> usize {
        match self {
            Self::Whole(sums) => sums.numbers.len(),
            Self::Own(own) => own.numbers.ncols(),
        }
    }
}

/// In which round of a step a worker sends most, and waits longest: the first has these sums.
pub fn longest_round(plan: &StagePlan, first: Round, own: &Contribution) -> wire::Round {
    let StagePlan { share, spec, hyperparameters, .. } = plan;
    let sent = |round: Round, numbers: usize| {
        let members = share.circle(round).len();
        numbers * (members - 1) / members
    };
    // A gradient has as many numbers whatever the batch.
    let gradient = hyperparameters.sharing.exchanged(spec, 0).gradient;
    let gradient = gradient * share.own.channels.len() / spec.map.channels();
    let second_is_longer = sent(Round::Gradient, gradient) > sent(first, own.numbers());
    on_the_wire(if second_is_longer { Round::Gradient } else { first })
}
