//! A step of a layer that workers share: how long it takes in each grid, and which they should stand in.

use scff::train::PassOn;
use serde::Serialize;

use super::network::{Network, Workers};
use super::rates::Rates;
use super::work::{StepSeconds, passed_on, step_seconds};
use crate::config::Shards;
use crate::grid::{Cost, Grid, Grids};
use crate::plan::{Member, Phase, Plan, Stage};
use crate::schedule::{Task, assign};

/// Seconds that those who share a layer wait for each other in a step, for no two take equally long.
const WAIT: f64 = 1e-3;

/// A step of a layer that workers share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupStep {
    /// How those who share it stand.
    pub grid: Grid,
    /// Seconds of a step.
    pub seconds: f64,
    /// How much faster it is than on one, divided by how many there are.
    pub efficiency: f64,
    /// What most of the rest is lost to.
    pub limit: Limit,
    /// What each who takes part does for it.
    pub cost: Cost,
}

/// What keeps workers from being as many times faster as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// There are not as many parts, or they do not divide.
    Parts,
    /// Each does for itself what is not divided, or those of a row or a column do.
    Repeated,
    /// Sums of goodness, or gradients, on their way, and waiting for each other.
    Exchange,
}

impl GroupStep {
    /// The steps of a phase's members, each with the place of every worker of its group among `workers`.
    pub fn all(plan: &Plan, phase: &Phase, rates: &Rates, workers: Workers) -> Vec<(Self, Vec<usize>)> {
        let tasks = tasks(plan, phase, rates, workers.network);
        let groups = assign(&tasks, &(0..workers.count).collect::<Vec<_>>());
        let step = |((member, task), group): ((&Member, &Task), Vec<usize>)| {
            // Whoever is left over by a layer that trains alone lowers its efficiency; of several layers, others have them.
            let count = if tasks.len() == 1 { workers.count } else { group.len() };
            let grid = task.grids.best(group.len());
            (Self::of(plan, member, rates, Workers { count, ..workers }, grid), group)
        };
        phase.members.iter().zip(&tasks).zip(groups).map(step).collect()
    }

    /// The same in all grids of as many of them, this one first.
    pub fn alternatives(&self, plan: &Plan, member: &Member, rates: &Rates, workers: Workers) -> Vec<Self> {
        let all = allowed(plan, member, rates, workers.network).0.into_iter().map(|(grid, _)| grid);
        let as_many = all.filter(|grid| grid.workers() == self.grid.workers());
        as_many.map(|grid| Self::of(plan, member, rates, workers, grid)).collect()
    }

    /// A member's step in a grid of some of `workers`.
    pub fn of(plan: &Plan, member: &Member, rates: &Rates, workers: Workers, grid: Grid) -> Self {
        let step = step_seconds(plan, member, rates);
        let parted = Parted::new(plan, member, (step, rates), workers.network, grid);
        let (count, cost) = (workers.count as f64, parted.cost(step));
        let even = 1.0 / count;
        let Parted { row, column, partners, .. } = parted;
        let repeated = (row - even) * step.by_rows + (column - even) * step.by_columns;
        let preparation = step.preparation.of_row(row);
        let prepared = preparation - even * step.preparation.of_row(1.0);
        let lost = [
            (Limit::Parts, (row * column - even) * step.both),
            (Limit::Repeated, repeated + (1.0 - even) * step.repeated + partners + prepared),
            (Limit::Exchange, cost.waited),
        ];
        let most = lost.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other)).expect("three");
        let seconds = cost.computed + cost.waited;
        Self { grid, seconds, efficiency: step.total() / seconds / count, limit: most.0, cost }
    }
}

/// What becomes of a step in a grid.
struct Parted {
    /// The share of the samples in the largest row, and of the channels in the largest column.
    row: f64,
    column: f64,
    /// Seconds of mapping samples of others.
    partners: f64,
    /// Seconds of exchanging sums: in which nothing else is done, and in which the next batch is prepared.
    alone: f64,
    meanwhile: f64,
    /// Of both, those in which its network card sends.
    sending: f64,
}

impl Parted {
    fn new(
        plan: &Plan,
        member: &Member,
        (step, rates): (StepSeconds, &Rates),
        network: Network,
        grid: Grid,
    ) -> Self {
        let stage = plan.stage(member);
        let finest = plan.parts(stage).finest();
        let largest = |parts: usize, shares: usize| parts.div_ceil(shares) as f64 / parts as f64;
        let (row, column) = (largest(finest.rows, grid.rows), largest(finest.columns, grid.columns));
        let Exchanged { goodness, gradient } = exchanged(plan, stage);
        // They wait for each other in each round. In the one in which a batch is prepared nobody loses by that: who is ahead prepares, and is
        // no longer ahead.
        let waiting = WAIT / rates.speed / if grid.rows > 1 && grid.columns > 1 { 2.0 } else { 1.0 };
        let rounds = [(grid.columns, row * goodness), (grid.rows, column * gradient)];
        let seconds = rounds.map(|(members, bytes)| match members {
            1 => 0.0,
            _ => waiting + network.round(members, bytes, rates),
        });
        let [alone, meanwhile] = if seconds[0] > seconds[1] { [seconds[1], seconds[0]] } else { seconds };
        let sending = rounds.iter().map(|&(members, bytes)| network.sending(members, bytes)).sum();
        let partners = if grid.rows > 1 { partners(plan, stage, row) * step.partner } else { 0.0 };
        Self { row, column, partners, alone, meanwhile, sending }
    }

    /// What each does. It waits where there is nothing to do beside the exchange, and where the preparation is over before that is.
    fn cost(&self, step: StepSeconds) -> Cost {
        let &Self { row, column, partners, alone, meanwhile, sending } = self;
        let preparation = step.preparation.of_row(row);
        let shared = row * column * step.both + row * step.by_rows + column * step.by_columns;
        Cost {
            computed: shared + step.repeated + partners + preparation,
            waited: alone + (meanwhile - preparation).max(0.0),
            sending,
        }
    }
}

/// The layers in training during a phase, as far as the configuration lets them be shared.
pub fn tasks(plan: &Plan, phase: &Phase, rates: &Rates, network: Network) -> Vec<Task> {
    let shards = |member: &Member| plan.stage(member).shards.unwrap_or(Shards::Auto);
    phase.members.iter().map(|member| task(plan, member, rates, network, shards(member))).collect()
}

/// A layer in training as the schedule sees it.
pub fn task(plan: &Plan, member: &Member, rates: &Rates, network: Network, shards: Shards) -> Task {
    Task {
        layer: member.layer,
        operations: plan.operations_of(member),
        grids: grids(plan, member, rates, network, shards),
        passing: passed_on_bytes(plan, member) / network.bytes_per_second,
        own_pairs: plan.own_pairs_suffice(member),
    }
}

/// Bytes of what a member passes on in a step.
pub fn passed_on_bytes(plan: &Plan, member: &Member) -> f64 {
    let outputs = plan.stage(member).spec.outputs() * plan.precision.bytes();
    plan.mean_share() * (passed_on(plan, member) * outputs as u64) as f64
}

/// The grids that the configuration allows.
fn allowed(plan: &Plan, member: &Member, rates: &Rates, network: Network) -> Grids {
    let shards = plan.stage(member).shards.unwrap_or(Shards::Auto);
    grids(plan, member, rates, network, shards)
}

/// The grids in which workers may share a member of a phase: the first one of no more workers than there are is the best.
///
/// In a single row or column all take part that can have a part, for each gets as much as it is fast. In a grid shares are even,
/// and of those that `shards` allows the one with the shortest step is the best; where it is a grid, the largest that fits it.
pub fn grids(plan: &Plan, member: &Member, rates: &Rates, network: Network, shards: Shards) -> Grids {
    let stage = plan.stage(member);
    let finest = match (plan.parts(stage).finest(), member.pass_on) {
        (finest, PassOn::Nothing) => finest,
        // Outputs that are passed on are of all channels.
        (Grid { rows, .. }, PassOn::Positives | PassOn::Pairs) => Grid { rows, columns: 1 },
    };
    let (most, within) = match shards {
        Shards::Auto => (usize::MAX, finest),
        Shards::AtMost(most) => (usize::from(most), finest),
        Shards::Within(grid) => {
            (usize::MAX, Grid { rows: grid.rows.min(finest.rows), columns: grid.columns.min(finest.columns) })
        }
    };
    let all =
        (1..=within.rows).flat_map(|rows| (1..=within.columns).map(move |columns| Grid { rows, columns }));
    let step = step_seconds(plan, member, rates);
    let mut timed: Vec<(Grid, Cost)> = all
        .filter(|grid| grid.workers() <= most)
        .map(|grid| (grid, Parted::new(plan, member, (step, rates), network, grid).cost(step)))
        .collect();
    let seconds = |cost: &Cost| cost.computed + cost.waited;
    timed.sort_by(|(_, one), (_, other)| seconds(one).total_cmp(&seconds(other)));
    let all_take_part = finest.rows == 1 || finest.columns == 1 || matches!(shards, Shards::Within(_));
    if all_take_part {
        timed.sort_by_key(|(grid, _)| std::cmp::Reverse(grid.workers()));
    }
    Grids(timed)
}

/// Bytes of the numbers of each round of a step, in a grid of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchanged {
    /// Sums of squares.
    pub goodness: f64,
    /// A gradient.
    pub gradient: f64,
}

/// What a stage's rounds are about.
pub fn exchanged(plan: &Plan, stage: &Stage) -> Exchanged {
    let pairs = plan.pairs_per_step(stage) as usize;
    let numbers = stage.hyperparameters.sharing.exchanged(&stage.spec, pairs);
    let [goodness, gradient] = [numbers.goodness, numbers.gradient].map(|numbers| 4.0 * numbers as f64);
    Exchanged { goodness, gradient }
}

/// Samples of others that whoever has this share of a batch must map too, for they are partners of its own.
fn partners(plan: &Plan, stage: &Stage, share: f64) -> f64 {
    let own = share * plan.batch as f64;
    let others = plan.batch as f64 - own;
    // One at either end by the first negatives, and those of further negatives anywhere.
    (2.0 + 2.0 * own * (stage.negatives - 1) as f64).min(others)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::rates::{Benchmark, LayerRates};
    use super::*;

    fn rates() -> Rates {
        let layer = LayerRates { operations: 400e9, updates: 4e9, bytes: 60e9 };
        Rates { threads: 2, speed: 1.0, layers: vec![layer; 3] }
    }

    fn workers(count: usize, network: Network) -> Workers {
        Workers { count, cache_bytes: 6 << 30, network }
    }

    /// A step of CIFAR-10's second layer, which takes pairs.
    fn step(count: usize, network: Network) -> GroupStep {
        let plan = fixture::cifar_10();
        GroupStep::all(&plan, &plan.phases[1], &rates(), workers(count, network))[0].0
    }

    #[test]
    fn rows_divide_what_columns_do_not() {
        let [four, sixteen] = [4, 16].map(|count| step(count, Network::USUAL));
        assert!(four.grid.rows > 1 && sixteen.grid.rows > 1, "{four:?} {sixteen:?}");
        assert!(four.efficiency > 0.7 && sixteen.efficiency > 0.4, "{four:?} {sixteen:?}");
        let plan = fixture::cifar_10();
        let member = &plan.phases[1].members[0];
        let all = four.alternatives(&plan, member, &rates(), workers(4, Network::USUAL));
        assert_eq!(all[0], four, "the fastest first");
        assert_eq!(all.len(), 3);
        assert!(all.windows(2).all(|pair| pair[0].seconds <= pair[1].seconds), "{all:?}");
    }

    /// CIFAR-10's third layer is shared by channels, so each prepares all of the batch.
    #[test]
    fn sums_that_travel_while_a_batch_is_prepared_cost_nothing() {
        let plan = fixture::cifar_10();
        let member = &plan.phases[2].members[0];
        let grid = Grid { rows: 1, columns: 16 };
        // So slow in passes that preparing takes longer than sums over a usual network.
        let layer = LayerRates { bytes: 20e9, ..rates().layers[0] };
        let rates = Rates { threads: 2, speed: 1.0, layers: vec![layer; 3] };
        let step = |bytes_per_second| {
            let network = Network { bytes_per_second, round_trip: 0.2e-3 };
            GroupStep::of(&plan, member, &rates, workers(16, network), grid)
        };
        let [fast, usual, slow] = [1e12, Network::USUAL.bytes_per_second, 1e6].map(step);
        assert!((usual.seconds - fast.seconds).abs() < 1e-9, "{usual:?} {fast:?}");
        assert_eq!((usual.limit, slow.limit), (Limit::Repeated, Limit::Exchange));
        // What is prepared then costs nothing.
        let alone = step_seconds(&plan, member, &rates);
        let goodness = 2.0 * 15.0 / 16.0 * exchanged(&plan, &plan.stages[2]).goodness / 1e6;
        let hops = Network::USUAL.round(16, 51_200.0, &rates) - Network::USUAL.sending(16, 51_200.0);
        let computed = (alone.both + alone.by_columns) / 16.0 + alone.by_rows + alone.repeated;
        assert!((slow.seconds - computed - WAIT - goodness - hops).abs() < 1e-9, "{slow:?}");
    }

    #[test]
    fn over_slow_links_fewer_take_part() {
        let slow = Network { bytes_per_second: 1e6, ..Network::USUAL };
        assert_eq!(step(16, slow).grid, Grid::ONE);
    }

    /// To compute less, each sends more: of four columns' gradients all, in place of halves, and no pair goes through the layer below twice.
    #[test]
    fn where_machines_are_slow_beside_their_network_less_is_computed_twice() {
        let plan = fixture::cifar_10();
        let step = |gigaflops: f64| {
            let rates = Rates::by(Benchmark { threads: 1, operations: 1e9 * gigaflops }, &plan);
            let workers = workers(4, Network::USUAL);
            GroupStep::all(&plan, &plan.phases[1], &rates, workers)[0].0.grid.to_string()
        };
        assert_eq!((step(12.5), step(50.0), step(400.0)), ("4x1".into(), "4x1".into(), "2x2".into()));
    }

    #[test]
    fn a_given_grid_is_filled_as_far_as_workers_and_parts_allow() {
        let plan = fixture::cifar_10();
        let grid = |layer: usize, shards: &str, count: usize| {
            let member = &plan.phases[layer].members[0];
            let grids = grids(&plan, member, &rates(), Network::USUAL, shards.parse().unwrap());
            grids.best(count).to_string()
        };
        assert_eq!(grid(1, "2x3", 6), "2x3");
        assert_eq!(grid(1, "2x3", 100), "2x3");
        assert!(["2x2", "1x3"].contains(&grid(1, "2x3", 4).as_str()));
        assert_eq!(grid(1, "99x99", 1000), "16x8");
        // The first layer's samples are shared, and the third's channels.
        assert_eq!((grid(0, "2x3", 6), grid(2, "2x3", 6)), ("2x1".to_owned(), "1x3".to_owned()));
        assert_eq!((grid(0, "5", 9), grid(2, "5", 9)), ("5x1".to_owned(), "1x5".to_owned()));
        assert_eq!(grid(1, "1", 9), "1x1");
    }
}
