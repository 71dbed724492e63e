//! What happens next: a state machine without clocks, sockets or files.
//!
//! [`Schedule::handle`] takes what happened and says what to do; [`crate::run`] does it. Whatever fails is tried
//! again from the last checkpoint with the workers that are left, until several tries in a row came no further.

use std::collections::BTreeSet;

use scff::batch::{LayerIndex, Step};

use crate::grid::{Grids, Load};
use crate::way::{Carried, Way};
use crate::worker_id::WorkerId;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The run starts, with so many phases over already.
    Started {
        /// Phases that an earlier sitting brought to an end.
        over: usize,
    },
    /// These workers are there, at least one.
    Gathered(Vec<WorkerId>),
    /// The phase at hand is over.
    PhaseOver,
    /// The phase at hand has stopped at a checkpoint for a worker that has come, or one that leaves.
    Regrouping,
    /// The readout is trained and measured.
    ReadOut,
    /// The task at hand failed.
    Failed {
        /// How far its checkpoint has come.
        reached: Step,
        /// Whether trying again may help.
        passing: bool,
        /// What happened.
        reason: String,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Find out which workers are there.
    Gather {
        /// How often in a row the task at hand has failed without coming any further.
        failures: u32,
    },
    /// Train the layers of a phase, from their checkpoint if there is one.
    Train {
        /// Which phase.
        phase: usize,
        /// Who trains each of its layers: a group that shares it.
        groups: Vec<Vec<WorkerId>>,
        /// Who transforms activations for them.
        transformers: Vec<WorkerId>,
    },
    /// Compute features on these workers, and train and measure the readout.
    ReadOut {
        /// Who transforms.
        transformers: Vec<WorkerId>,
    },
    /// All is done.
    Finish,
    /// It does not work.
    GiveUp {
        /// Why.
        reason: String,
    },
}

/// Nothing has failed.
const GATHER: Command = Command::Gather { failures: 0 };

/// A layer in training during a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The layer.
    pub layer: LayerIndex,
    /// Operations of one of its steps.
    pub operations: u64,
    /// How workers may share it, and what that comes to.
    pub grids: Grids,
    /// Seconds of a network card for what it passes on in a step.
    pub passing: f64,
    /// Whether workers that share its samples need only what the layer below passes on of their own.
    pub own_pairs: bool,
}

/// The course of a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    phases: Vec<Vec<Task>>,
    /// Tries in a row that may come no further before the run gives up.
    tries: u32,
    over: usize,
    /// How far the task at hand had come when it last failed, and how often it has failed there.
    stuck: (Step, u32),
}

impl Schedule {
    /// A run of these phases, and a readout in the end.
    pub fn new(phases: Vec<Vec<Task>>, tries: u32) -> Self {
        Self { phases, tries, over: 0, stuck: (Step(0), 0) }
    }

    /// From now on its layers come to this, by other workers or over other links.
    pub fn time_anew(&mut self, phases: Vec<Vec<Task>>) {
        self.phases = phases;
    }

    /// What to do after `outcome`.
    pub fn handle(&mut self, outcome: Outcome) -> Command {
        match outcome {
            Outcome::Started { over } => {
                self.over = over;
                GATHER
            }
            Outcome::Gathered(workers) => self.assign(&workers),
            Outcome::PhaseOver => {
                self.over += 1;
                self.stuck = (Step(0), 0);
                GATHER
            }
            Outcome::Regrouping => GATHER,
            Outcome::ReadOut => Command::Finish,
            Outcome::Failed { passing: false, reason, .. } => Command::GiveUp { reason },
            Outcome::Failed { reached, reason, .. } => {
                let failures = if reached > self.stuck.0 { 1 } else { self.stuck.1 + 1 };
                self.stuck = (reached, failures);
                if failures < self.tries {
                    return Command::Gather { failures };
                }
                Command::GiveUp {
                    reason: format!("{failures} tries in a row came no further; the last: {reason}"),
                }
            }
        }
    }

    /// Those who train nothing transform, so that the trainers' cores are left to training; if all train, all transform.
    fn assign(&self, workers: &[WorkerId]) -> Command {
        assert!(!workers.is_empty(), "gathering waits for a first worker");
        let Some(tasks) = self.phases.get(self.over) else {
            return Command::ReadOut { transformers: workers.to_vec() };
        };
        let groups = assign(tasks, workers);
        let others: Vec<WorkerId> = workers
            .iter()
            .copied()
            .filter(|worker| !groups.iter().any(|group| group.contains(worker)))
            .collect();
        let transformers = if others.is_empty() { workers.to_vec() } else { others };
        Command::Train { phase: self.over, groups, transformers }
    }
}

/// Who trains what. A single layer k goes to the k-th worker, round and round, and to those after it if they may share it.
/// Of several layers, each has a group of its own or all workers take part in each: whichever has the shorter step.
pub fn assign<T: Copy>(tasks: &[Task], workers: &[T]) -> Vec<Vec<T>> {
    let groups = if let [task] = tasks {
        let first = task.layer.0 as usize;
        let count = task.grids.best(workers.len()).workers();
        vec![(0..count).map(|place| (first + place) % workers.len()).collect()]
    } else {
        let (apart, together) = (apart(tasks, workers.len()), together(tasks, workers.len()));
        if step_seconds(tasks, &together) < step_seconds(tasks, &apart) { together } else { apart }
    };
    groups.into_iter().map(|group| group.into_iter().map(|worker| workers[worker]).collect()).collect()
}

/// Seconds of a step of layers that train together, whose groups are of these workers: those of whoever has most to do.
pub fn step_seconds(tasks: &[Task], groups: &[Vec<usize>]) -> f64 {
    loads(tasks, groups).into_iter().map(Load::seconds).fold(0.0, f64::max)
}

/// What each worker does in a step, up to the last that does anything.
pub fn loads(tasks: &[Task], groups: &[Vec<usize>]) -> Vec<Load> {
    let count = groups.iter().flatten().max().map_or(0, |last| last + 1);
    let mut loads = vec![Load::default(); count];
    for (task, group) in tasks.iter().zip(groups) {
        let (_, cost) = task.grids.choice(group.len());
        for &worker in group {
            loads[worker].add(cost);
        }
    }
    for (tasks, groups) in tasks.windows(2).zip(groups.windows(2)) {
        let grid = tasks[1].grids.best(groups[1].len());
        let way = Way::choose(groups[0].len(), grid, tasks[1].own_pairs);
        for Carried { worker, sent, received } in way.carried(&groups[0], &groups[1], grid) {
            loads[worker].carry(sent * tasks[0].passing, received * tasks[0].passing);
        }
    }
    loads
}

/// Layers, the one with most operations first.
fn longest_first(tasks: &[Task]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&task| std::cmp::Reverse(tasks[task].operations));
    order
}

/// All workers take part in each layer, or as many as can; where those are not all, those who have least to do.
fn together(tasks: &[Task], workers: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); tasks.len()];
    let mut loads = vec![Load::default(); workers];
    for task in longest_first(tasks) {
        let (grid, cost) = tasks[task].grids.choice(workers);
        let mut least: Vec<usize> = (0..workers).collect();
        least.sort_by(|&one, &other| loads[one].seconds().total_cmp(&loads[other].seconds()));
        least.truncate(grid.workers());
        // In the same order everywhere: whoever has the same samples of several layers needs no others for them.
        least.sort_unstable();
        for &worker in &least {
            loads[worker].add(cost);
        }
        groups[task] = least;
    }
    groups
}

/// The longest layer goes first, to whoever has least to do; where there are more workers than layers, each layer has a group of
/// its own.
fn apart(tasks: &[Task], workers: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); tasks.len()];
    if workers > tasks.len() {
        let sizes = sizes(tasks, workers);
        let mut rest = 0..workers;
        for task in longest_first(tasks) {
            groups[task] = rest.by_ref().take(sizes[task]).collect();
        }
        return groups;
    }
    let mut loads = vec![0; workers];
    for task in longest_first(tasks) {
        let least = (0..workers).min_by_key(|&worker| loads[worker]).expect("a worker");
        loads[least] += tasks[task].operations;
        groups[task] = vec![least];
    }
    groups
}

/// How many of more workers than layers train each. One for a start; then it is always the layer with the most operations for each
/// worker, for which all others wait, that gets as many more as shorten its step. Once it can have no more, those that are left
/// would only have others wait longer.
fn sizes(tasks: &[Task], workers: usize) -> Vec<usize> {
    let mut sizes = vec![1; tasks.len()];
    let mut left = workers - tasks.len();
    loop {
        // Of equals, the lowest.
        let longest = (0..tasks.len()).rev().max_by(|&one, &other| {
            let times = |task: usize, size: usize| u128::from(tasks[task].operations) * size as u128;
            times(one, sizes[other]).cmp(&times(other, sizes[one]))
        });
        let longest = longest.expect("a layer");
        let (grids, size) = (&tasks[longest].grids, sizes[longest]);
        let Some(more) = (size + 1..=size + left).find(|more| grids.best(*more).workers() > size) else {
            return sizes;
        };
        left -= more - size;
        sizes[longest] = more;
    }
}

/// Whether a phase that these workers train should stop at a checkpoint for another one: where the layer could be shared by more
/// than share it, or, of several layers, one would be.
pub fn wants_another<T: Copy + Ord>(tasks: &[Task], groups: &[Vec<T>], transformers: &[T]) -> bool {
    if let ([task], [group]) = (tasks, groups) {
        return task.grids.wants_more(group.len());
    }
    let all: BTreeSet<T> = groups.iter().flatten().chain(transformers).copied().collect();
    let with_another = assign(tasks, &(0..=all.len()).collect::<Vec<_>>());
    with_another.iter().map(Vec::len).ne(groups.iter().map(Vec::len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Cost, Grid};

    const TRIES: u32 = 5;

    fn workers(ids: &[u64]) -> Outcome {
        Outcome::Gathered(ids.iter().map(|&id| WorkerId(id)).collect())
    }

    fn failed(reached: u64) -> Outcome {
        Outcome::Failed { reached: Step(reached), passing: true, reason: "gone".into() }
    }

    fn task(layer: u32, operations: u64) -> Task {
        shared(layer, operations, &[Grid::ONE])
    }

    /// What each does for itself of a layer that is shared.
    const REPEATED: f64 = 8.0;

    /// A layer that is shared in one of these grids.
    fn shared(layer: u32, operations: u64, grids: &[Grid]) -> Task {
        let cost = |grid: Grid| {
            let repeated = if grid == Grid::ONE { 0.0 } else { REPEATED };
            Cost { computed: operations as f64 / grid.workers() as f64 + repeated, ..Cost::default() }
        };
        let grids = Grids(grids.iter().map(|grid| (*grid, cost(*grid))).collect());
        Task { layer: LayerIndex(layer), operations, grids, passing: 0.0, own_pairs: false }
    }

    /// A layer that is shared in a row of as many as there are, and so many at most.
    fn in_a_row(layer: u32, operations: u64, most: usize) -> Task {
        let columns = (1..=most).rev().map(|columns| Grid { rows: 1, columns });
        shared(layer, operations, &columns.collect::<Vec<_>>())
    }

    /// Two layers, one after the other.
    fn greedy() -> Schedule {
        Schedule::new(vec![vec![task(0, 1)], vec![task(1, 1)]], TRIES)
    }

    fn ids(ids: &[u64]) -> Vec<WorkerId> {
        ids.iter().map(|&id| WorkerId(id)).collect()
    }

    #[test]
    fn who_shares_a_layer_follows_from_what_it_comes_to_over_the_links_at_hand() {
        let mut schedule = Schedule::new(vec![vec![in_a_row(0, 80, 4)]], TRIES);
        schedule.handle(Outcome::Started { over: 0 });
        let trainers = |schedule: &mut Schedule| match schedule.handle(workers(&[0, 1, 2, 3])) {
            Command::Train { groups, .. } => groups[0].len(),
            command => panic!("{command:?}"),
        };
        assert_eq!(trainers(&mut schedule), 4);
        schedule.time_anew(vec![vec![task(0, 80)]]);
        assert_eq!(schedule.handle(Outcome::Regrouping), GATHER);
        assert_eq!(trainers(&mut schedule), 1);
    }

    #[test]
    fn layers_go_round_the_workers_and_the_others_transform() {
        let mut schedule = greedy();
        assert_eq!(schedule.handle(Outcome::Started { over: 0 }), GATHER);
        let train = |phase, trainer: u64, transformers: &[u64]| Command::Train {
            phase,
            groups: vec![ids(&[trainer])],
            transformers: ids(transformers),
        };
        assert_eq!(schedule.handle(workers(&[0, 1, 2])), train(0, 0, &[1, 2]));
        assert_eq!(schedule.handle(Outcome::PhaseOver), GATHER);
        assert_eq!(schedule.handle(workers(&[0, 1, 2])), train(1, 1, &[0, 2]));
        // Worker 1 is lost; layer 1 goes to who is left.
        assert_eq!(schedule.handle(failed(0)), Command::Gather { failures: 1 });
        assert_eq!(schedule.handle(workers(&[2])), train(1, 2, &[2]));
        assert_eq!(schedule.handle(Outcome::PhaseOver), GATHER);
        assert_eq!(schedule.handle(workers(&[2])), Command::ReadOut { transformers: vec![WorkerId(2)] });
        assert_eq!(schedule.handle(Outcome::ReadOut), Command::Finish);
    }

    #[test]
    fn a_layer_is_shared_by_as_many_workers_as_may() {
        let shared = |layer, shards, workers: &[u64]| {
            let task = in_a_row(layer, 1, shards);
            match Schedule::new(vec![vec![task]], TRIES).assign(&ids(workers)) {
                Command::Train { groups, transformers, .. } => (groups.concat(), transformers),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(shared(0, 2, &[0, 1, 2]), (ids(&[0, 1]), ids(&[2])));
        assert_eq!(shared(2, 2, &[0, 1, 2]), (ids(&[2, 0]), ids(&[1])));
        assert_eq!(shared(1, 9, &[0, 1, 2]), (ids(&[1, 2, 0]), ids(&[0, 1, 2])));
    }

    #[test]
    fn who_makes_no_good_grid_transforms() {
        let grids = [(2, 3), (3, 2), (2, 2), (1, 2), (1, 1)].map(|(rows, columns)| Grid { rows, columns });
        let task = shared(0, 1, &grids);
        let chosen = [9, 6, 5, 3, 1].map(|workers| task.grids.best(workers));
        assert_eq!(chosen, [grids[0], grids[0], grids[2], grids[3], grids[4]]);
        assert!(task.grids.wants_more(5) && !task.grids.wants_more(6));
        let command = Schedule::new(vec![vec![task]], TRIES).assign(&ids(&[0, 1, 2, 3, 4]));
        let Command::Train { groups, transformers, .. } = command else { panic!("{command:?}") };
        assert_eq!((groups.concat(), transformers), (ids(&[0, 1, 2, 3]), ids(&[4])));
    }

    #[test]
    fn layers_that_train_together_are_shared_out_by_their_operations() {
        let together = Schedule::new(vec![vec![task(0, 3), task(1, 20), task(2, 40)]], TRIES);
        let shared = |workers: &[u64]| match together.assign(&ids(workers)) {
            Command::Train { phase: 0, groups, transformers } => (groups.concat(), transformers),
            other => panic!("{other:?}"),
        };
        assert_eq!(shared(&[7]), (ids(&[7, 7, 7]), ids(&[7])));
        assert_eq!(shared(&[0, 1]), (ids(&[1, 1, 0]), ids(&[0, 1])));
        assert_eq!(shared(&[0, 1, 2, 3]), (ids(&[2, 1, 0]), ids(&[3])));
    }

    #[test]
    fn layers_that_train_together_are_shared_by_workers_in_proportion() {
        let tasks = [in_a_row(0, 3, 2), in_a_row(1, 20, 16), in_a_row(2, 40, 16)];
        let sizes = |count: usize| {
            let groups = assign(&tasks, &(0..count).collect::<Vec<_>>());
            let mut all = groups.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), groups.iter().map(Vec::len).sum::<usize>(), "nobody twice");
            groups.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!([3, 4, 6, 8, 16].map(sizes), [[1, 1, 1], [1, 1, 2], [1, 2, 3], [1, 3, 4], [1, 5, 10]]);
        // The longest can have no more than 16: whoever is left transforms.
        assert_eq!(sizes(100), [2, 9, 16]);
        let groups = assign(&tasks, &[0, 1, 2, 3]);
        assert_eq!(groups, [vec![3], vec![2], vec![0, 1]]);
        assert!(wants_another(&tasks, &groups, &[0, 1, 2, 3]));
        let all: Vec<usize> = (0..100).collect();
        assert!(!wants_another(&tasks, &assign(&tasks, &all), &all));
        let shorter = [task(0, 50), tasks[1].clone(), tasks[2].clone()];
        assert!(!wants_another(&shorter, &assign(&shorter, &all[..4]), &all[..4]));
        assert!(!wants_another(&tasks, &assign(&tasks, &all[..1]), &all[..1]));
    }

    #[test]
    fn whoever_can_be_used_in_pairs_only_is_given_two() {
        let tasks = [shared(0, 9, &[4, 2, 1].map(|rows| Grid { rows, columns: 1 })), task(1, 4)];
        let sizes = |count: usize| {
            assign(&tasks, &(0..count).collect::<Vec<_>>()).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!([2, 3, 4, 5].map(sizes), [[1, 1], [2, 1], [2, 1], [4, 1]]);
    }

    #[test]
    fn all_take_part_in_every_layer_where_that_is_faster() {
        let mut tasks = [in_a_row(0, 30, 2), in_a_row(1, 200, 16), in_a_row(2, 400, 16)];
        let groups = |tasks: &[Task], count: usize| assign(tasks, &(0..count).collect::<Vec<_>>());
        assert_eq!(groups(&tasks, 1), [[0], [0], [0]]);
        assert_eq!(groups(&tasks, 2), [[0, 1], [0, 1], [0, 1]]);
        // Two of four have the first layer too.
        assert_eq!(groups(&tasks, 4), [vec![0, 1], vec![0, 1, 2, 3], vec![0, 1, 2, 3]]);
        assert!(wants_another(&tasks, &groups(&tasks, 4), &[0, 1, 2, 3]));
        // While one layer waits the others compute, but for the longest wait.
        let seconds = |tasks: &[Task]| step_seconds(tasks, &groups(tasks, 4));
        let without = seconds(&tasks);
        for (task, waited) in tasks.iter_mut().zip([5.0, 3.0, 1.0]) {
            task.grids.0.iter_mut().for_each(|(_, cost)| cost.waited = waited);
        }
        assert!((seconds(&tasks) - without - 5.0).abs() < 1e-9);
        // A network card that sends for longer sets the pace: a quarter of the second layer's outputs goes to three others.
        tasks[1].passing = 400.0;
        assert!((seconds(&tasks) - 300.0).abs() < 1e-9);
        tasks[2].grids.0.iter_mut().for_each(|(_, cost)| cost.sending = 1e4);
        assert!((seconds(&tasks) - 1e4).abs() < 1e3);
    }

    #[test]
    fn a_resumed_run_starts_with_the_first_phase_that_is_not_over() {
        let mut schedule = greedy();
        schedule.handle(Outcome::Started { over: 2 });
        assert!(matches!(schedule.handle(workers(&[0])), Command::ReadOut { .. }));
    }

    #[test]
    fn a_worker_that_has_come_takes_part() {
        let task = in_a_row(0, 1, 4);
        let mut schedule = Schedule::new(vec![vec![task]], TRIES);
        schedule.handle(Outcome::Started { over: 0 });
        let groups = |command| match command {
            Command::Train { groups, .. } => groups.concat(),
            other => panic!("{other:?}"),
        };
        assert_eq!(groups(schedule.handle(workers(&[0]))), ids(&[0]));
        assert_eq!(schedule.handle(Outcome::Regrouping), GATHER);
        assert_eq!(groups(schedule.handle(workers(&[0, 1]))), ids(&[0, 1]));
    }

    #[test]
    fn failures_count_only_while_nothing_advances() {
        let mut schedule = Schedule::new(vec![vec![task(0, 1)]], TRIES);
        schedule.handle(Outcome::Started { over: 0 });
        let (reached, failures) =
            ([0, 0, 0, 0, 10, 10, 10, 10, 20, 20, 20, 20], [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
        for (reached, failures) in reached.into_iter().zip(failures) {
            assert_eq!(schedule.handle(failed(reached)), Command::Gather { failures }, "at {reached}");
        }
        let last = schedule.handle(failed(20));
        assert!(
            matches!(&last, Command::GiveUp { reason } if reason.ends_with("the last: gone")),
            "{last:?}"
        );
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        let mut schedule = Schedule::new(vec![vec![task(0, 1)]], TRIES);
        let outcome = Outcome::Failed { reached: Step(0), passing: false, reason: "no".into() };
        assert_eq!(schedule.handle(outcome), Command::GiveUp { reason: "no".into() });
    }
}
