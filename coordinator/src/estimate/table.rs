//! A plan and its estimates for people, at most 120 columns wide.

use std::fmt::Write as _;

use bytesize::ByteSize;
use scff::layer::{Algorithm, LayerMap, MapShape};
use scff::readout::ReadoutSpec;
use source::{Lengths, Shape};

use super::work::passed_on;
use super::{Estimate, GroupStep, LayerRates, Limit, Machine, PhaseEstimate, Rates, StageEstimate, Workers};
use crate::config::TrainingSchedule;
use crate::plan::{Member, Phase, Plan, Stage};
use scff::train::{PassOn, Sharing};

/// The plan layer by layer as the first of `estimates` expects it, the readout, the total, and all estimates side by side.
pub fn table(plan: &Plan, machine: Machine<'_>, estimates: &[(Workers, Estimate)]) -> String {
    let mut text = String::new();
    let rates = &machine.measured.times(machine.speed);
    let (_, first) = estimates.first().expect("an estimate");
    layers(&mut text, plan, first);
    readout(&mut text, plan, first);
    writeln!(text, "total: {}\n", duration(first.seconds())).expect("text");
    workers(&mut text, estimates);
    if estimates.len() > 1 {
        sharing(&mut text, plan);
        steps(&mut text, plan, rates, estimates);
        alternatives(&mut text, plan, rates, estimates);
        together(&mut text, plan, rates, estimates);
        cards(&mut text, plan, estimates);
    }
    limits(&mut text, plan, machine);
    text
}

fn layers(text: &mut String, plan: &Plan, estimate: &Estimate) {
    let Plan { data, shape, training_samples, batch, .. } = plan;
    let samples = match plan.lengths {
        Lengths::Alike => format!("samples of {shape}"),
        Lengths::Frames { mean } => {
            let Shape { height: longest, channels, .. } = shape;
            format!("sequences of up to {longest} frames of {channels}, {mean:.1} frames on average")
        }
    };
    writeln!(text, "{data}: {training_samples} training {samples}, batches of {batch}").expect("text");
    let mut row = |cells: [String; 11]| {
        let [name, reads, passes, parameters, epochs, steps, work, bytes, cache, step, seconds] = cells;
        writeln!(
            text,
            "{name:<10} {reads:>11} {passes:>11} {parameters:>10} {epochs:>6} {steps:>7} {work:>10} {bytes:>12} \
             {cache:>12} {step:>8} {seconds:>9}"
        )
        .expect("text");
    };
    row([
        "layer",
        "in",
        "out",
        "parameters",
        "epochs",
        "steps",
        "GFLOP/step",
        "bytes/sample",
        "cache needed",
        "ms/step",
        "expected",
    ]
    .map(str::to_owned));
    for (stage, expected) in plan.stages.iter().zip(&estimate.stages) {
        row([
            stage.spec.name.clone(),
            reads(stage),
            map(stage.spec.output()),
            stage.spec.map.parameters().to_string(),
            stage.epochs.to_string(),
            stage.steps().0.to_string(),
            format!("{:.2}", plan.operations(stage) as f64 * 1e-9),
            bytes_per_sample(plan, stage).to_string(),
            ByteSize(expected.cache_bytes).to_string(),
            format!("{:.1}", 1e3 * expected.step),
            duration(expected.seconds),
        ]);
    }
    let winograd = |stage: &&Stage| stage.spec.map.algorithm() == Some(Algorithm::Winograd);
    let names: Vec<&str> =
        plan.stages.iter().filter(winograd).map(|stage| stage.spec.name.as_str()).collect();
    if !names.is_empty() {
        writeln!(text, "computed by Winograd's algorithm: {}", names.join(", ")).expect("text");
    }
}

/// Bytes that come over the wire to a stage for a sample: its activation, or what the layer below passes on while it trains.
fn bytes_per_sample(plan: &Plan, stage: &Stage) -> u64 {
    let members = plan.phases.iter().find_map(|phase| {
        let place = phase.members.iter().position(|member| member.layer == stage.layer)?;
        Some((&phase.members[place], place.checked_sub(1).map(|below| &phase.members[below])))
    });
    match members {
        Some((member, Some(below))) if member.live => {
            let outputs = plan.stage(below).spec.outputs() * plan.precision.bytes();
            (plan.mean_share() * (passed_on(plan, below) * outputs as u64) as f64) as u64 / plan.batch as u64
        }
        _ => plan.mean_row_bytes(stage) as u64,
    }
}

fn readout(text: &mut String, plan: &Plan, estimate: &Estimate) {
    let expected = duration(estimate.features + estimate.readout);
    let Some(ReadoutSpec { epochs, .. }) = plan.readout else {
        return writeln!(text, "no readout: layers are measured without labels: {expected}").expect("text");
    };
    let measured_on = match plan.held_out {
        0 => "the test set".to_owned(),
        held_out => format!("{held_out} held-out training samples"),
    };
    writeln!(
        text,
        "readout: {} features of {} samples, {epochs} epochs, measured on {measured_on}: {expected}",
        plan.features(),
        plan.labelled_samples
    )
    .expect("text");
}

fn workers(text: &mut String, estimates: &[(Workers, Estimate)]) {
    let mut row = |cells: [String; 8]| {
        let [count, expected, training, transforms, features, readout, working, cache] = cells;
        writeln!(
            text,
            "{count:<8} {expected:>9} {training:>9} {transforms:>11} {features:>9} {readout:>9} {working:>17} \
             {cache:>24}"
        )
        .expect("text");
    };
    row([
        "workers",
        "expected",
        "training",
        "transforms",
        "features",
        "readout",
        "layers, batches",
        "kept of all there are",
    ]
    .map(str::to_owned));
    for (Workers { count, .. }, estimate) in estimates {
        let total = |part: fn(&PhaseEstimate) -> f64| duration(estimate.phases.iter().map(part).sum());
        let most = |part: fn(&StageEstimate) -> u64| estimate.stages.iter().map(part).max().unwrap_or(0);
        let kept = ByteSize(most(|stage| stage.kept_bytes));
        let needed = ByteSize(most(|stage| stage.cache_bytes));
        row([
            count.to_string(),
            duration(estimate.seconds()),
            total(|stage| stage.training),
            total(|stage| stage.transforms),
            duration(estimate.features),
            duration(estimate.readout),
            ByteSize(estimate.phases.iter().map(|phase| phase.working_bytes).max().unwrap_or(0)).to_string(),
            format!("{kept} of {needed}"),
        ]);
    }
}

/// Below this, what limits the workers is named.
const WORTH_NAMING: f64 = 0.8;
/// Grids that are shown for a layer.
const ALTERNATIVES: usize = 5;

/// What workers that share each layer divide, and what they exchange.
fn sharing(text: &mut String, plan: &Plan) {
    let mut row = |cells: [&str; 6]| {
        let [layer, shared, samples, channels, goodness, gradient] = cells;
        writeln!(text, "{layer:<10} {shared:>9} {samples:>12} {channels:>13} {goodness:>21} {gradient:>21}")
            .expect("text");
    };
    row([
        "\nlayer     ",
        "shared by",
        "sample parts",
        "channel parts",
        "goodness, bytes/step",
        "gradient, bytes/step",
    ]);
    for stage in &plan.stages {
        let sharing = stage.hyperparameters.sharing;
        let finest = plan.parts(stage).finest();
        // Of both rounds, whether there are both or not.
        let numbers = Sharing::Grid.exchanged(&stage.spec, plan.pairs_per_step(stage) as usize);
        let bytes =
            |numbers: usize, exchanged: bool| format!("{}{}", 4 * numbers, if exchanged { " *" } else { "" });
        row([
            &stage.spec.name,
            &sharing.to_string(),
            &finest.rows.to_string(),
            &finest.columns.to_string(),
            &bytes(numbers.goodness, sharing != Sharing::Samples),
            &bytes(numbers.gradient, sharing != Sharing::Channels),
        ]);
    }
    text.push_str(
        "* is what they exchange: in a grid of R rows and C columns each worker sends 2 (C - 1) / C of its row's goodness, and\n\
         2 (R - 1) / R of its column's gradient.\n",
    );
}

/// Steps a second of each layer for each number of workers, and what limits them.
fn steps(text: &mut String, plan: &Plan, rates: &Rates, estimates: &[(Workers, Estimate)]) {
    writeln!(
        text,
        "\n{:<10} {:>8} {:>7} {:>9} {:>11}  limited by",
        "layer", "workers", "grid", "steps/s", "efficiency"
    )
    .expect("text");
    for phase in &plan.phases {
        for (place, member) in phase.members.iter().enumerate() {
            for (workers, _) in estimates {
                let all = GroupStep::all(plan, phase, rates, *workers);
                let GroupStep { grid, seconds, efficiency, limit, .. } = all[place].0;
                let limit = if efficiency >= WORTH_NAMING { "" } else { words(limit, plan, member) };
                let (name, grid) = (&plan.stage(member).spec.name, grid.to_string());
                writeln!(
                    text,
                    "{name:<10} {:>8} {grid:>7} {:>9.2} {:>10.0}%  {limit}",
                    workers.count,
                    seconds.recip(),
                    100.0 * efficiency
                )
                .expect("text");
            }
        }
    }
    text.push('\n');
}

/// Other grids of as many workers, for the largest number of them.
fn alternatives(text: &mut String, plan: &Plan, rates: &Rates, estimates: &[(Workers, Estimate)]) {
    let most = estimates.iter().map(|(workers, _)| *workers).max_by_key(|workers| workers.count);
    let workers = most.expect("an estimate");
    let steps = |phase| GroupStep::all(plan, phase, rates, workers).into_iter().map(|(step, _)| step);
    for (member, step) in plan.phases.iter().flat_map(|phase| phase.members.iter().zip(steps(phase))) {
        let all = step.alternatives(plan, member, rates, workers);
        if all.len() < 2 {
            continue;
        }
        let said = |step: &GroupStep| format!("{} {:.2}", step.grid, step.seconds.recip());
        let said: Vec<String> = all.iter().take(ALTERNATIVES).map(said).collect();
        let name = &plan.stage(member).spec.name;
        writeln!(
            text,
            "Grids of {} for {name}, rows x columns, in steps/s: {}.",
            step.grid.workers(),
            said.join(", ")
        )
        .expect("text");
    }
}

/// The names of the layers that train in a phase.
fn names(plan: &Plan, phase: &Phase) -> String {
    phase.members.iter().map(|member| plan.stage(member).spec.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// How layers that train at the same time are shared out, and how fast that is.
fn together(text: &mut String, plan: &Plan, rates: &Rates, estimates: &[(Workers, Estimate)]) {
    for phase in plan.phases.iter().filter(|phase| phase.members.len() > 1) {
        for (workers, expected) in estimates.iter().filter(|(workers, _)| workers.count > 1) {
            let steps = GroupStep::all(plan, phase, rates, *workers);
            let sizes: Vec<String> = steps.iter().map(|(_, group)| group.len().to_string()).collect();
            let of = |which: &PhaseEstimate| which.training / (phase.steps.end - phase.steps.start) as f64;
            let place = plan.phases.iter().position(|other| other == phase).expect("one of them");
            let rate = of(&expected.phases[place]).recip();
            let (names, count, sizes) = (names(plan, phase), workers.count, sizes.join(", "));
            writeln!(text, "Together {names} take {rate:.2} steps/s on {count} workers: {sizes} train each.")
                .expect("text");
        }
    }
}

/// What network cards hold up.
fn cards(text: &mut String, plan: &Plan, estimates: &[(Workers, Estimate)]) {
    for (workers, estimate) in estimates {
        for (phase, expected) in plan.phases.iter().zip(&estimate.phases) {
            let worth_naming = |seconds: f64| seconds >= (1.0 - WORTH_NAMING) * expected.training;
            let (names, count) = (names(plan, phase), workers.count);
            if worth_naming(expected.cards) {
                writeln!(
                    text,
                    "With {count} workers their network cards are the limit of {names}: sums and outputs go from one \
                     to the other.\n`wire = \"f16\"` or faster cards help."
                )
                .expect("text");
            }
            if worth_naming(expected.head_node) {
                let bytes = ByteSize(expected.head_node_bytes as u64);
                writeln!(
                    text,
                    "With {count} workers the head node's network card is the limit of {names}: it sends {bytes} a \
                     step, however many\nthey are. More --cache-memory, `wire = \"f16\"` or a faster card help."
                )
                .expect("text");
            }
        }
    }
    text.push('\n');
}

/// What limits the workers that share a layer, in words.
fn words(limit: Limit, plan: &Plan, member: &Member) -> &'static str {
    let stage = &plan.stage(member).hyperparameters;
    match limit {
        Limit::Parts if member.pass_on != PassOn::Nothing && stage.sharing == Sharing::Channels => {
            "it passes its outputs on, which take all channels on one worker"
        }
        Limit::Parts => "its parts: not as many, or they do not divide",
        Limit::Repeated => match stage.sharing {
            Sharing::Grid => "what rows (updates) or columns (lowering, loss, pair prefix) repeat",
            Sharing::Channels => "what each does for itself: lowering, standardising, loss, pair prefix",
            Sharing::Samples => "what each does for itself: standardising, partners, updates",
        },
        Limit::Exchange => "sums on their way, and waiting for each other",
    }
}

/// What bounds the estimates, and what they rest on.
fn limits(text: &mut String, plan: &Plan, Machine { measured, speed, kernel }: Machine<'_>) {
    let who = match plan.schedule {
        TrainingSchedule::Greedy => {
            "Workers share each layer; each keeps all of its activations, and all transform for it."
        }
        TrainingSchedule::Joint => {
            "Layers train at the same time, shared out among the workers: ms/step are of a layer alone, expected is all \
             the\ntime in which it trains."
        }
    };
    let of_layers = |rate: fn(&LayerRates) -> f64| {
        let rates: Vec<_> =
            measured.layers.iter().map(|layer| format!("{:.0}", rate(layer) * 1e-9)).collect();
        rates.join(" / ")
    };
    // Nothing else was asked for.
    let like = if speed.to_bits() == 1.0_f64.to_bits() {
        "like".to_owned()
    } else {
        format!("{speed} times as fast as")
    };
    write!(
        text,
        "{who}\nEach is a machine {like} this one, and memory that of the worker that needs most.\n\
         Measured now: products {} GF/s, passes {} GB/s, {} threads, {kernel}.",
        of_layers(|layer| layer.operations),
        of_layers(|layer| layer.bytes),
        measured.threads
    )
    .expect("text");
}

fn reads(stage: &Stage) -> String {
    match stage.spec.map {
        LayerMap::Dense(dense) => dense.inputs.to_string(),
        LayerMap::Conv(conv) => map(conv.input),
        LayerMap::BiRnn(birnn) => map(birnn.input),
    }
}

/// `16x16x96`, or only how many there are where there is one position.
fn map(shape: MapShape) -> String {
    if shape.positions() == 1 { shape.channels.to_string() } else { shape.to_string() }
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..600.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Network, fixture};
    use super::*;

    fn text(plan: &Plan, counts: &[usize], speed: f64) -> String {
        let layer = LayerRates { operations: 400e9, updates: 4e9, bytes: 60e9 };
        let measured = &Rates { threads: 2, speed: 1.0, layers: vec![layer; plan.stages.len()] };
        let of = |&count| {
            let network = Network { bytes_per_second: 125e6, round_trip: 0.2e-3 };
            let workers = Workers { count, cache_bytes: 6 << 30, network };
            (workers, Estimate::new(plan, 10_000, &measured.times(speed), workers))
        };
        let estimates: Vec<_> = counts.iter().map(of).collect();
        table(plan, Machine { measured, speed, kernel: "SkylakeX" }, &estimates)
    }

    #[test]
    fn the_table_fits_120_columns_and_has_a_line_for_every_layer_and_number_of_workers() {
        for plan in [fixture::mnist(), fixture::cifar_10(), fixture::cifar_10_joint(), fixture::stl10()] {
            let text = text(&plan, &[1, 4, 16], 1.0);
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
            let starts =
                |word: &str| text.lines().filter(|line| line.split(' ').next() == Some(word)).count();
            // Once with what it is, once with how it is shared, and for each number of workers in every phase.
            let phases = |stage: &Stage| {
                let trains = |phase: &&Phase| phase.members.iter().any(|member| member.layer == stage.layer);
                plan.phases.iter().filter(trains).count()
            };
            let lines = |stage: &Stage| starts(&stage.spec.name) == 2 + 3 * phases(stage);
            assert!(plan.stages.iter().all(lines), "{text}");
            assert!(["readout:", "total:", "1", "4", "16"].iter().all(|word| starts(word) == 1), "{text}");
        }
    }

    #[test]
    fn slower_machines_take_longer_and_are_named() {
        let plan = fixture::cifar_10();
        let [text, slower] = [1.0, 0.25].map(|speed| text(&plan, &[1], speed));
        assert!(text.contains("Each is a machine like this one,"), "{text}");
        assert!(slower.contains("Each is a machine 0.25 times as fast as this one,"), "{slower}");
        let measured = |text: &str| text.lines().last().map(str::to_owned);
        assert_eq!(measured(&slower), measured(&text));
        let total = |text: &str| text.lines().find(|line| line.starts_with("total:")).map(str::to_owned);
        assert_ne!(total(&slower), total(&text));
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        let read = [0.04, 53.2, 1_800.0, 86_400.0].map(duration);
        assert_eq!(read, ["0.0 s", "53 s", "30 min", "24.0 h"]);
    }
}
