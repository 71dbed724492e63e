//! A step of a layer that workers share: how long it takes in each grid, and which they should stand in.

use scff::train::PassOn;

use super::network::{Network, Workers};
use super::rates::Rates;
use super::work::{StepSeconds, step_seconds};
use crate::config::Shards;
use crate::grid::{Grid, Grids};
use crate::plan::{Member, Phase, Plan, Stage};
use crate::schedule::{Task, assign};

/// Seconds for handing sums from one process to the next.
const HOP: f64 = 150e-6;
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
}

/// What keeps workers from being as many times faster as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let task = |member: &Member| {
            let stage = plan.stage(member);
            let shards = stage.shards.unwrap_or(Shards::Auto);
            let grids = grids(plan, member, rates, workers.network, shards);
            Task { layer: stage.layer, operations: plan.operations_of(member), grids }
        };
        let tasks: Vec<Task> = phase.members.iter().map(task).collect();
        let groups = assign(&tasks, &(0..workers.count).collect::<Vec<_>>());
        let step = |((member, task), group): ((&Member, &Task), Vec<usize>)| {
            // Whoever is left over by a layer that trains alone lowers its efficiency; of several layers, others have them.
            let count = if tasks.len() == 1 { workers.count } else { group.len() };
            let grid = task.grids.best(group.len());
            (Self::of(plan, member, rates, Workers { count, ..workers }, grid), group)
        };
        phase.members.iter().zip(&tasks).zip(groups).map(step).collect()
    }

    /// A member's step in a grid of some of `workers`.
    pub fn of(plan: &Plan, member: &Member, rates: &Rates, workers: Workers, grid: Grid) -> Self {
        let step = step_seconds(plan, member, rates);
        let parted = Parted::new(plan, member, step, workers.network, grid);
        let Parted { row, column, partners, exchange } = parted;
        let (count, seconds) = (workers.count as f64, parted.seconds(step));
        let even = 1.0 / count;
        let repeated = (row - even) * step.by_rows + (column - even) * step.by_columns;
        let lost = [
            (Limit::Parts, (row * column - even) * step.both),
            (Limit::Repeated, repeated + (1.0 - even) * step.repeated + partners),
            (Limit::Exchange, exchange),
        ];
        let most = lost.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other)).expect("three");
        Self { grid, seconds, efficiency: step.total() / seconds / count, limit: most.0 }
    }
}

/// What becomes of a step in a grid.
struct Parted {
    /// The share of the samples in the largest row, and of the channels in the largest column.
    row: f64,
    column: f64,
    /// Seconds of mapping samples of others, and of exchanging sums.
    partners: f64,
    exchange: f64,
}

impl Parted {
    fn new(plan: &Plan, member: &Member, step: StepSeconds, network: Network, grid: Grid) -> Self {
        let stage = plan.stage(member);
        let finest = plan.parts(stage).finest();
        let largest = |parts: usize, shares: usize| parts.div_ceil(shares) as f64 / parts as f64;
        let (row, column) = (largest(finest.rows, grid.rows), largest(finest.columns, grid.columns));
        let Exchanged { goodness, gradient } = exchanged(plan, stage);
        // Each sends its sums of all slices but its own, and the totals of its own to all others.
        let round = |members: usize, bytes: f64| match members {
            1 => 0.0,
            _ => {
                let sent = 2.0 * (members - 1) as f64 / members as f64 * bytes;
                2.0 * (network.round_trip / 2.0 + HOP) + sent / network.bytes_per_second
            }
        };
        let rounds = round(grid.columns, row * goodness) + round(grid.rows, column * gradient);
        let exchange = if grid == Grid::ONE { 0.0 } else { WAIT + rounds };
        let partners = if grid.rows > 1 { partners(plan, stage, row) * step.partner } else { 0.0 };
        Self { row, column, partners, exchange }
    }

    /// Seconds of it all.
    fn seconds(&self, step: StepSeconds) -> f64 {
        let Self { row, column, partners, exchange } = self;
        let computed = row * column * step.both + row * step.by_rows + column * step.by_columns;
        computed + step.repeated + partners + exchange
    }
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
    let mut timed: Vec<(Grid, f64)> = all
        .filter(|grid| grid.workers() <= most)
        .map(|grid| (grid, Parted::new(plan, member, step, network, grid).seconds(step)))
        .collect();
    timed.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let all_take_part = finest.rows == 1 || finest.columns == 1 || matches!(shards, Shards::Within(_));
    if all_take_part {
        timed.sort_by_key(|(grid, _)| std::cmp::Reverse(grid.workers()));
    }
    Grids(timed.into_iter().map(|(grid, _)| grid).collect())
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
