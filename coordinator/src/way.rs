//! How what a layer passes on comes to those who train the layer above at the same time.
//!
//! Directly, each of K workers that train the layer below sends its own part of it to everybody who needs that. Where a grid above divides
//! samples, and only pairs of a row's samples are needed there, that are its C columns; otherwise all C of a group. So a
//! card sends C / K of what the whole layer passes on. Or all of it goes to the first above, who hands it on down the chain with the
//! batch: then no card sends more than all of it once. So outputs go directly where C is no more than K. Who is at work on both
//! layers needs no network for what it has itself.

use proto::wire;

use crate::grid::Grid;

/// To whom outputs are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All of them to the first, who hands them on down the chain.
    First,
    /// All of them to everybody.
    All,
    /// To everybody those of its own pairs.
    Own,
}

/// What a worker's card carries, as a share of what the layer passes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Carried {
    /// Whose.
    pub worker: usize,
    /// Sent.
    pub sent: f64,
    /// Received.
    pub received: f64,
}

impl Way {
    /// From so many workers to those in a grid. `own_pairs`: whether each of the latter needs pairs of its own samples only.
    pub fn choose(feeders: usize, takers: Grid, own_pairs: bool) -> Self {
        let own = own_pairs && takers.rows > 1;
        let copies = if own { takers.columns } else { takers.workers() };
        match (copies <= feeders, own) {
            (true, true) => Self::Own,
            (true, false) => Self::All,
            (false, _) => Self::First,
        }
    }

    /// What cards carry, a few times for the same worker.
    pub fn carried(self, feeders: &[usize], takers: &[usize], grid: Grid) -> Vec<Carried> {
        let mut carried = Vec::new();
        let mut carry = |from: usize, to: usize, share: f64| {
            if from != to && share > 0.0 {
                carried.push(Carried { worker: from, sent: share, received: 0.0 });
                carried.push(Carried { worker: to, sent: 0.0, received: share });
            }
        };
        let part = |place: usize, of: usize| [place as f64, (place + 1) as f64].map(|end| end / of as f64);
        for (place, &feeder) in feeders.iter().enumerate() {
            let has = part(place, feeders.len());
            match self {
                Self::First => carry(feeder, takers[0], has[1] - has[0]),
                Self::All => takers.iter().for_each(|&taker| carry(feeder, taker, has[1] - has[0])),
                Self::Own => {
                    for (place, &taker) in takers.iter().enumerate() {
                        let needs = part(place / grid.columns, grid.rows);
                        carry(feeder, taker, has[1].min(needs[1]) - has[0].max(needs[0]));
                    }
                }
            }
        }
        if self == Self::First {
            takers.windows(2).for_each(|pair| carry(pair[0], pair[1], 1.0));
        }
        carried
    }
}

impl From<Way> for wire::Way {
    fn from(way: Way) -> Self {
        match way {
            Way::First => Self::First,
            Way::All => Self::All,
            Way::Own => Self::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that a card sends, and the most that one receives.
    fn most(feeders: &[usize], takers: &[usize], grid: Grid, own_pairs: bool) -> (Way, f64, f64) {
        let way = Way::choose(feeders.len(), grid, own_pairs);
        let (mut sent, mut received) = ([0.0; 32], [0.0; 32]);
        for carried in way.carried(feeders, takers, grid) {
            sent[carried.worker] += carried.sent;
            received[carried.worker] += carried.received;
        }
        let most = |all: [f64; 32]| (all.into_iter().fold(0.0, f64::max) * 1e6).round() / 1e6;
        (way, most(sent), most(received))
    }

    fn grid(rows: usize, columns: usize) -> Grid {
        Grid { rows, columns }
    }

    #[test]
    fn whoever_has_the_same_samples_of_both_layers_needs_no_network() {
        let all: Vec<usize> = (0..4).collect();
        assert_eq!(most(&all, &all, grid(4, 1), true), (Way::Own, 0.0, 0.0));
        // Half of a row's pairs come from its other column.
        assert_eq!(most(&all, &all, grid(2, 2), true), (Way::Own, 0.25, 0.25));
        assert_eq!(most(&all, &all, grid(1, 4), true), (Way::All, 0.75, 0.75));
        assert_eq!(most(&[3], &[3], Grid::ONE, true), (Way::All, 0.0, 0.0));
    }

    #[test]
    fn many_who_need_all_of_few_get_it_down_the_chain() {
        assert_eq!(most(&[0], &[1, 2, 3], grid(1, 3), false), (Way::First, 1.0, 1.0));
        assert_eq!(most(&[0], &[1, 2, 3], grid(3, 1), true), (Way::Own, 1.0, 0.333_333));
        assert_eq!(most(&[0, 1], &[2, 3], grid(1, 2), false), (Way::All, 1.0, 1.0));
        assert_eq!(most(&[0, 1], &[2, 3, 4, 5], grid(4, 1), false), (Way::First, 1.0, 1.0));
    }
}
