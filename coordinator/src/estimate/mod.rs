//! How long a run will take and what its workers hold: pure functions from a plan and measured [`Rates`].
//!
//! What takes time, and at which rate it goes:
//!
//! - products, of the layer in training, its pair prefix and transforms: measured in each layer's shapes;
//! - AdamW: measured on as many parameters;
//! - passes over activations (standardising, lowering, z of every pair, transmitting): bytes at a rate that follows from
//!   what else a measured step of the layer takes;
//! - the loss, sending, and the readout's steps: seconds of a core, constants of this crate.
//!
//! Workers share a layer part by part, each on all of its threads, in the grid that is fastest ([`GroupStep`]), and all transform
//! for it; what is not divided by channels (standardising, lowering, the loss, a pair prefix) or by samples (updates) each column,
//! or row, does for itself. What of that needs no weights of the layer is done while the sums of the step before travel, and costs only
//! as much time as it takes longer than they do. What the head node sends in a step does not grow with the number of workers, for they
//! hand it on; but it takes its time. Of layers that train at the same time each has workers of its own, or all take part in each; who has
//! most to do sets the pace, or a network card, over which sums and outputs go from worker to worker. While one of a worker's layers waits
//! for sums the others compute.
//! Starting workers, handing layers over and a network slower than the workers are not in it.

mod arrivals;
mod group_step;
mod memory;
mod network;
mod numbers;
mod rates;
mod table;
mod work;

use proto::limits;
use scff::readout::{BLOCK, ReadoutSpec};

use crate::grid::{Cost, Load};
use crate::plan::{Member, Phase, Plan};
use crate::schedule::loads;

pub use arrivals::{activations, arrivals};
use group_step::passed_on_bytes;
pub use group_step::{Exchanged, GroupStep, Limit, exchanged, grids, task, tasks};
pub use memory::working_bytes;
pub use network::{HOP, Network, Workers};
pub use numbers::{LayerNumbers, Numbers};
pub use rates::{Benchmark, LayerRates, Machine, Rates};
pub use table::table;
pub use work::{pass_rate, passed_on};

/// Seconds of a core for sending a byte of activations to another process: writing, both ends, reading.
const SEND: f64 = 2e-9;
/// Seconds of a core for one feature of one sample in a step of the readout: reading it, two products, and dropout.
const READ_OUT: f64 = 1.7e-9;
/// Bytes of a number.
const NUMBER: f64 = 4.0;
/// Classes of the known data sets; a plan does not know those of others.
const CLASSES: f64 = 10.0;
/// Samples whose effective rank is computed, at most, and operations a second of LAPACK on one thread.
const RANKED: f64 = 1000.0;
const RANKING: f64 = 20e9;

/// What a run takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The stages, in order.
    pub stages: Vec<StageEstimate>,
    /// The phases, in order: in a greedy schedule, one for each stage.
    pub phases: Vec<PhaseEstimate>,
    /// Seconds of computing the features that are measured, on all workers.
    pub features: f64,
    /// Seconds of training and measuring the readout on them, which workers share, or of what needs no labels, on the head node.
    pub readout: f64,
}

/// What one stage takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageEstimate {
    /// Seconds of one training step, on a worker that does nothing else.
    pub step: f64,
    /// Seconds of the phases in which it trains.
    pub seconds: f64,
    /// Bytes that the trainer keeps in the end.
    pub kept_bytes: u64,
    /// Bytes that it would keep with room for all.
    pub cache_bytes: u64,
}

/// What one phase takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseEstimate {
    /// Seconds of all training steps, activations sent and taken in.
    pub training: f64,
    /// Seconds that training waits for transforms.
    pub transforms: f64,
    /// Seconds of training that are only waiting for workers' network cards.
    pub cards: f64,
    /// Seconds of training that are only waiting for the head node's network card.
    pub head_node: f64,
    /// Bytes that the head node sends for a step, in the mean.
    pub head_node_bytes: f64,
    /// Bytes that the trainer of the lowest layer keeps in the end.
    kept_bytes: u64,
    /// Bytes that a trainer holds besides, at most.
    pub working_bytes: u64,
}

impl PhaseEstimate {
    /// All of its seconds.
    pub fn seconds(&self) -> f64 {
        self.training + self.transforms
    }

    fn new(plan: &Plan, phase: &Phase, rates: &Rates, workers: Workers) -> Self {
        let lowest = &phase.members[0];
        let stage = plan.stage(lowest);
        let row_bytes = plan.mean_row_bytes(stage);
        let capacity = (workers.cache_bytes as f64 / row_bytes).floor();
        let send = SEND / rates.cores();
        // Samples go to the trainer, or to a transformer and activations from there over the head node to the trainer.
        let sample_bytes = plan.mean_share() * (plan.shape.len() * plan.precision.bytes()) as f64;
        let sent = if lowest.from == 0 { sample_bytes } else { sample_bytes + 2.0 * row_bytes };
        let transform = work::transform_seconds(plan, lowest.from as usize, rates);
        // The one with most to do holds the others up.
        let steps = GroupStep::all(plan, phase, rates, workers);
        let groups: Vec<Vec<usize>> = steps.iter().map(|(_, group)| group.clone()).collect();
        let mut loads = loads(&tasks(plan, phase, rates, workers.network), &groups);
        loads.resize(workers.count, Load::default());
        let mut memory = vec![0; workers.count];
        let mut below = 0.0;
        for (member, (step, group)) in phase.members.iter().zip(&steps) {
            // Each writes what comes of its own samples, and reads what it needs.
            let passed_on = passed_on_bytes(plan, member);
            let needed = if plan.own_pairs_suffice(member) { below / step.grid.rows as f64 } else { below };
            let computed = send * (passed_on / group.len() as f64 + needed);
            let waiting = (limits::STEPS_AHEAD as f64 * needed) as u64;
            for &worker in group {
                loads[worker].add(Cost { computed, ..Cost::default() });
                memory[worker] += working_bytes(plan, plan.stage(member), step.grid) + waiting;
            }
            below = passed_on;
        }
        let idle = loads.iter().filter(|load| **load == Load::default()).count();
        let at_work = loads.iter().copied().map(Load::at_work).fold(0.0, f64::max);
        let step = loads.into_iter().map(Load::seconds).fold(0.0, f64::max);
        let cards = (phase.steps.end - phase.steps.start) as f64 * (step - at_work);
        // Samples, to be transformed, and activations, to the first who hands them on.
        let from_head_node = if lowest.from == 0 { row_bytes } else { sample_bytes + row_bytes };
        let (mut training, mut transforms, mut head_node, mut arrived) = (0.0, 0.0, 0.0, 0.0);
        for arriving in arrivals(plan, stage, plan.epochs(phase), capacity) {
            let busy = stage.steps_per_epoch as f64 * step + arriving * send * sent;
            // On other machines; while workers compute.
            let bytes = arriving * from_head_node;
            let sending = if workers.count > 1 { bytes / workers.network.bytes_per_second } else { 0.0 };
            head_node += (sending - busy).max(0.0);
            let busy = busy.max(sending);
            training += busy;
            transforms += match idle {
                0 => arriving * transform / workers.count as f64,
                idle => (arriving * transform / idle as f64 - busy).max(0.0),
            };
            arrived += arriving;
        }
        let kept_bytes = capacity.min(arrived.floor()).min(activations(plan) as f64) * row_bytes;
        let kept_bytes = kept_bytes as u64;
        let working_bytes = memory.into_iter().max().unwrap_or(0);
        let steps = (phase.steps.end - phase.steps.start) as f64;
        let head_node_bytes = arrived * from_head_node / steps;
        Self { training, transforms, cards, head_node, head_node_bytes, kept_bytes, working_bytes }
    }
}

impl StageEstimate {
    /// Adds a phase in which the layer trains.
    fn add(&mut self, plan: &Plan, phase: &PhaseEstimate, member: &Member, rates: &Rates) {
        let stage = plan.stage(member);
        self.step = self.step.max(work::step_seconds(plan, member, rates).total());
        self.seconds += phase.seconds();
        if !member.live {
            self.kept_bytes = self.kept_bytes.max(phase.kept_bytes);
            self.cache_bytes = (activations(plan) as f64 * plan.mean_row_bytes(stage)) as u64;
        }
    }
}

impl Estimate {
    /// Estimates a run on `workers`; `test_samples` are in the test set.
    pub fn new(plan: &Plan, test_samples: usize, rates: &Rates, workers: Workers) -> Self {
        assert_eq!(plan.stages.len(), rates.layers.len(), "rates of every layer");
        assert!(workers.count > 0, "somebody must do it");
        let mut stages = vec![StageEstimate::default(); plan.stages.len()];
        let mut phases = Vec::new();
        for phase in &plan.phases {
            let estimate = PhaseEstimate::new(plan, phase, rates, workers);
            for member in &phase.members {
                stages[member.layer.0 as usize].add(plan, &estimate, member, rates);
            }
            phases.push(estimate);
        }
        let (features, readout) = match &plan.readout {
            Some(spec) => readout(plan, spec, test_samples, rates, workers),
            None => look(plan, rates, workers),
        };
        Self { stages, phases, features, readout }
    }

    /// All of its seconds.
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(PhaseEstimate::seconds).sum::<f64>() + self.features + self.readout
    }
}

/// Seconds of computing the readout's features, and of training and measuring it.
fn readout(
    plan: &Plan,
    spec: &ReadoutSpec,
    test_samples: usize,
    rates: &Rates,
    workers: Workers,
) -> (f64, f64) {
    let measured = if plan.held_out > 0 { plan.held_out as usize } else { test_samples };
    let learned = plan.labelled_samples as usize;
    let samples = (learned * plan.readout_views() + measured) as f64;
    let width = plan.features() as f64;
    // Who has most blocks of features holds up the others.
    let blocks = plan.features().div_ceil(BLOCK);
    let own_blocks = blocks.div_ceil(workers.count);
    let cores = rates.speed * rates.threads.min(own_blocks) as f64;
    let own_width = (own_blocks * BLOCK).min(plan.features()) as f64;
    // Every epoch, and once more to measure.
    let passes = learned as f64 * (f64::from(spec.epochs) + 1.0) + measured as f64;
    let exchanged =
        exchanged_logits(spec, [learned, measured], workers.count.min(blocks), workers.network, rates);
    let ranked = RANKED.min(learned as f64).min(width);
    // Singular values of a (longer, shorter) matrix: 2 l s^2 + 8/3 s^3 operations.
    let longer = RANKED.min(learned as f64).max(width);
    let rank = (2.0 * longer * ranked.powi(2) + 8.0 / 3.0 * ranked.powi(3)) / (RANKING * rates.speed);
    // Of the features that a worker computes it sends all but its own to others, while it goes on computing.
    let count = workers.count as f64;
    let handed_out = if workers.count == 1 { width } else { width / count * (count - 1.0) / count };
    let computed = samples * feature_seconds(plan, plan.stages.len(), handed_out, rates, workers);
    let bytes = samples * handed_out * plan.precision.bytes() as f64;
    let features =
        if workers.count == 1 { computed } else { computed.max(bytes / workers.network.bytes_per_second) };
    (features, passes * own_width * READ_OUT / cores + exchanged + rank)
}

/// Seconds in which those who share a readout exchange what they contribute to logits: of those samples that they learn from in
/// rounds of a batch each, and once of all, in a few long rounds.
fn exchanged_logits(
    spec: &ReadoutSpec,
    [learned, measured]: [usize; 2],
    sharers: usize,
    network: Network,
    rates: &Rates,
) -> f64 {
    let bytes = |samples: usize| NUMBER * CLASSES * samples as f64;
    let rounds = f64::from(spec.epochs) * learned.div_ceil(spec.batch) as f64;
    let round = |samples: usize| network.round(sharers, bytes(samples), rates);
    rounds * round(spec.batch) + round(learned + measured)
}

/// Seconds of computing the features of each layer for the samples that are looked at without labels, and of their measures.
fn look(plan: &Plan, rates: &Rates, workers: Workers) -> (f64, f64) {
    let samples = RANKED.min(f64::from(plan.training_samples));
    let mut seconds = (0.0, 0.0);
    for (below, stage) in plan.stages.iter().enumerate() {
        let width = stage.spec.features() as f64;
        let ranked = samples.min(width);
        // Products of all with all, twice, and the eigenvalues of a symmetric matrix: 4/3 s^3 operations.
        let operations = 4.0 * samples * samples * width + 4.0 / 3.0 * ranked.powi(3);
        seconds.0 += samples * feature_seconds(plan, below + 1, width, rates, workers);
        seconds.1 += operations / (RANKING * rates.speed);
    }
    seconds
}

/// Seconds of one sample's way through so many layers to features, of which `width` go on from whoever computes them.
fn feature_seconds(plan: &Plan, layers: usize, width: f64, rates: &Rates, workers: Workers) -> f64 {
    let sample = plan.mean_share() * plan.shape.len() as f64;
    let sent = (sample + width) * plan.precision.bytes() as f64;
    let transform = work::transform_seconds(plan, layers, rates);
    transform / workers.count as f64 + SEND * sent / rates.cores()
}

/// Plans of the configurations, for tests.
#[cfg(test)]
mod fixture {
    use crate::config;
    use crate::plan::Plan;
    use source::outline;

    fn plan(text: &str) -> Plan {
        let config = config::parse("a configuration", text, &[]).unwrap();
        let outline = outline(&config.data.name.unwrap().into()).unwrap().unwrap();
        Plan::new(&config, outline.layout, outline.training).unwrap()
    }

    pub fn mnist() -> Plan {
        plan(include_str!("../../../configs/mnist.toml"))
    }

    pub fn fashion_mnist() -> Plan {
        plan(include_str!("../../../configs/fashion-mnist.toml"))
    }

    pub fn cifar_10() -> Plan {
        plan(include_str!("../../../configs/cifar10.toml"))
    }

    /// Of its third layer.
    pub fn cifar_10_in_four_blocks() -> Plan {
        let text = include_str!("../../../configs/cifar10.toml");
        plan(&text.replace("block = 96\n# Algorithm 2", "block = 384\n# Algorithm 2"))
    }

    pub fn cifar_10_joint() -> Plan {
        plan(include_str!("../../../configs/cifar10-joint.toml"))
    }

    /// With padding that counts, and with such that does not.
    pub fn fsdd() -> [Plan; 2] {
        let text = include_str!("../../../configs/fsdd.toml");
        [plan(text), plan(&text.replace("padding = \"counts\"\n", ""))]
    }

    pub fn stl10() -> Plan {
        plan(include_str!("../../../configs/stl10.toml"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    const GIB: u64 = 1 << 30;
    const GIGABIT: Network = Network { bytes_per_second: 125e6, round_trip: 0.2e-3 };

    /// Two cores with AVX-512, on which all that is measured below was measured.
    fn rates(layers: usize) -> Rates {
        let layer = LayerRates { operations: 400e9, updates: 4e9, bytes: 60e9 };
        Rates { threads: 2, speed: 1.0, layers: vec![layer; layers] }
    }

    fn estimate(plan: &Plan, test_samples: usize, count: usize, cache_bytes: u64) -> Estimate {
        let workers = Workers { count, cache_bytes, network: GIGABIT };
        Estimate::new(plan, test_samples, &rates(plan.stages.len()), workers)
    }

    fn check(what: &str, estimated: f64, measured: f64) {
        let ratio = estimated / measured;
        assert!((0.8..1.25).contains(&ratio), "{what}: {estimated}, measured {measured}");
    }

    #[test]
    fn padding_that_counts_costs_what_it_computes() {
        let [counts, masked] = fixture::fsdd().map(|plan| estimate(&plan, 300, 1, 6 * GIB).stages[0].seconds);
        // Frames of pairs are 81 in place of 36; the products of samples with W_ih are no more.
        assert!((1.5..2.3).contains(&(counts / masked)), "{counts} s, {masked} s where it does not count");
    }

    #[test]
    fn mnist_takes_what_it_took() {
        let estimate = estimate(&fixture::mnist(), 10_000, 1, 6 * GIB);
        check("layer 1", estimate.stages[0].seconds, 53.0);
        check("layer 2", estimate.stages[1].seconds, 85.0);
        check("readout", estimate.features + estimate.readout, 14.6);
        check("all", estimate.seconds(), 147.5);
    }

    #[test]
    fn fashion_mnist_takes_what_it_took() {
        let estimate = estimate(&fixture::fashion_mnist(), 10_000, 1, 6 * GIB);
        check("layer 1", estimate.stages[0].seconds, 8.0);
        check("layer 2", estimate.stages[1].seconds, 15.2);
        check("readout", estimate.features + estimate.readout, 8.8);
        check("all", estimate.seconds(), 31.9);
    }

    #[test]
    fn a_step_of_cifar_10_takes_what_it_took() {
        let estimate = estimate(&fixture::cifar_10(), 10_000, 1, 6 * GIB);
        for (stage, milliseconds) in estimate.stages.iter().zip([26.0, 168.0, 322.0]) {
            check("a step", 1e3 * stage.step, milliseconds);
        }
    }

    #[test]
    fn layers_that_train_together_take_the_sum_of_their_steps_which_workers_share() {
        let plan = fixture::cifar_10_joint();
        let [one, three] = [1, 3].map(|count| estimate(&plan, 10_000, count, 6 * GIB));
        let steps: Vec<f64> = one.stages.iter().map(|stage| stage.step).collect();
        let together = one.phases[0].training / 3_000.0;
        assert!((1.0..1.15).contains(&(together / steps.iter().sum::<f64>())), "{together} {steps:?}");
        let shared = 3.0 * three.phases[0].training / 3_000.0;
        assert!((1.0..1.3).contains(&(shared / steps.iter().sum::<f64>())), "{shared} {steps:?}");
        // The first two train in the first phase only, the third in both.
        assert!((one.stages[0].seconds - one.phases[0].seconds()).abs() < 1e-9);
        let both: f64 = one.phases.iter().map(PhaseEstimate::seconds).sum();
        assert!((one.stages[2].seconds - both).abs() < 1e-9);
        // Layer 3 keeps activations once those below it are frozen.
        assert_eq!((one.stages[1].cache_bytes, one.stages[2].cache_bytes), (0, 100_000 * 24_576 * 2));
    }

    #[test]
    fn layers_that_train_together_are_faster_on_many_machines_as_far_as_their_cards_go() {
        let plan = fixture::cifar_10_joint();
        let phase = &plan.phases[0];
        let workers = |count, network| Workers { count, cache_bytes: 6 * GIB, network };
        let sizes = |count| {
            let steps = GroupStep::all(&plan, phase, &rates(3), workers(count, GIGABIT));
            steps.into_iter().map(|(_, group)| group.len()).collect::<Vec<_>>()
        };
        assert_eq!([sizes(2), sizes(4)], [[2; 3], [4; 3]]);
        let [one, four, sixteen] = [1, 4, 16].map(|count| estimate(&plan, 10_000, count, 6 * GIB).seconds());
        assert!(one / four >= 3.0 && one / sixteen >= 5.0, "{one} {four} {sixteen}");
        let slow = Network { bytes_per_second: 0.1 * GIGABIT.bytes_per_second, ..GIGABIT };
        let [fast, slow] =
            [GIGABIT, slow].map(|network| PhaseEstimate::new(&plan, phase, &rates(3), workers(16, network)));
        assert!(fast.head_node == 0.0 && slow.head_node == 0.0);
        assert!(fast.cards < 0.3 * fast.training && slow.cards > 0.5 * slow.training, "{fast:?} {slow:?}");
    }

    #[test]
    fn what_a_cache_does_not_hold_is_transformed_in_every_epoch() {
        let plan = fixture::cifar_10();
        let transforms = |cache_bytes| estimate(&plan, 10_000, 1, cache_bytes).phases[2].transforms;
        let (all, half, none) = (transforms(5 * GIB), transforms(5 * GIB / 2), transforms(0));
        // 21 epochs of one view in two: nearly every view once, or 21 times one of them.
        assert!((none / all - 10.5).abs() < 0.1, "{none} {all}");
        assert!((0.4..0.7).contains(&(half / none)), "{half} {none}");
        let kept = estimate(&plan, 10_000, 1, 5 * GIB / 2).stages[2].kept_bytes;
        assert!((5 * GIB / 2 - kept) < 100_000, "{kept}");
    }

    #[test]
    fn workers_that_share_a_layer_make_it_faster_as_far_as_it_divides() {
        let plan = fixture::cifar_10_in_four_blocks();
        let step = |layer: usize, count| {
            let workers = Workers { count, cache_bytes: 6 * GIB, network: GIGABIT };
            GroupStep::all(&plan, &plan.phases[layer], &rates(3), workers)[0].0
        };
        let [two, four, eight] = [2, 4, 8].map(|count| step(2, count));
        assert_eq!([two, four, eight].map(|step| step.grid.columns), [2, 4, 4]);
        assert!(two.efficiency > 0.9 && four.efficiency > 0.8, "{two:?} {four:?}");
        assert_eq!((eight.limit, eight.seconds), (Limit::Parts, four.seconds));
        // Layer 1 is shared by samples, and exchanges a gradient.
        let gradient = f64::from(4 * 96 * 77);
        assert_eq!(exchanged(&plan, &plan.stages[0]), Exchanged { goodness: 0.0, gradient });
        let [two, four, sixteen] = [2, 4, 16].map(|count| step(0, count));
        assert!(two.efficiency > 0.75 && four.efficiency > 0.5, "{two:?} {four:?}");
        assert_eq!(sixteen.grid, Grid { rows: 16, columns: 1 });
        let slow = Network { bytes_per_second: 1e6, ..GIGABIT };
        let workers = Workers { count: 2, cache_bytes: 0, network: slow };
        let slow = GroupStep::all(&plan, &plan.phases[2], &rates(3), workers)[0].0;
        assert_eq!(slow.limit, Limit::Exchange);
    }

    #[test]
    fn the_papers_networks_divide_finely() {
        let parts = |plan: Plan, layer: usize| plan.parts(&plan.stages[layer]).channels.len();
        assert_eq!([1, 2].map(|layer| parts(fixture::cifar_10(), layer)), [8, 16]);
        assert_eq!(parts(fixture::stl10(), 3), 64);
    }

    #[test]
    fn workers_divide_the_readout_and_exchange_logits() {
        let plan = fixture::cifar_10();
        let readout = |count| estimate(&plan, 10_000, count, 6 * GIB).readout;
        let [one, four, sixteen] = [1, 4, 16].map(readout);
        assert!(four < one && sixteen < one, "{one} {four} {sixteen}");
        // What remains is mostly waiting, in each of 78,200 batches for a round trip, twice for others, and for messages: five add up
        // what sixteen contribute.
        let waiting = 78_200.0 * (0.2e-3 + 2.0 * 120e-6 + 38.0 * 16e-6 / 2.0);
        assert!((waiting..1.6 * waiting).contains(&sixteen), "{sixteen}, of which {waiting} are waiting");
    }

    #[test]
    fn more_workers_take_less_time() {
        let plan = fixture::stl10();
        let [one, four, sixteen] = [1, 4, 16].map(|count| estimate(&plan, 8_000, count, 6 * GIB).seconds());
        assert!(sixteen < four && four < one, "{one} {four} {sixteen}");
    }
}
