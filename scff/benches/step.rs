//! How long a training step takes, beside this machine's sgemm rate and PyTorch: `cargo bench -p scff --bench step`.
//!
//! `-- --quick` for a short run. Answers are checked against the slow twin; a wrong one fails the benchmark.

#![expect(clippy::disallowed_methods, reason = "benches measure")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ndarray::Axis;
use ndarray::parallel::prelude::*;
use rayon::ThreadPoolBuilder;
use scff::batch::{Epoch, Step};
use scff::blas;
use scff::frozen::FrozenLayer;
use scff::goodness::LossParameters;
use scff::layer::{Dense, LayerMap, LayerSpec, LayerState, PairSource, Transmit};
use scff::optimizer::{OptimizerParameters, Update};
use scff::pair::PairedRows;
use scff::readout::{Features, ReadoutSpec, train};
use scff::seed::{NO_LAYER, Purpose, Seed};
use scff::train::{Hyperparameters, Sharing, TrainingLayer};

use crate::measure::{PyTorch, SgemmRate, THREADS, median, random_rows, seconds};
use crate::naive::{Layer, Pairs, Rows, widen};

mod measure;

#[path = "../tests/common/naive.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod naive;

const BATCH: usize = 100;
const INPUTS: usize = 784;
const UNITS: usize = 2000;
const BLOCKS: [usize; 6] = [100, 125, 200, 250, 400, 500];

const LAYER_1: PyTorch = PyTorch { official: 28.0, fused: Some(13.9) };
const LAYER_2: PyTorch = PyTorch { official: 58.0, fused: Some(27.8) };

const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 4.0, theta_neg: 6.0, lambda: 1e-4 },
    optimizer: OptimizerParameters { learning_rate: 0.003, weight_decay: 1e-4, gamma: 0.9, period: 1000 },
    sharing: Sharing::Channels,
};

fn main() -> ExitCode {
    blas::use_one_thread_per_call();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let steps = if quick { 60 } else { 300 };
    let pool = ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    println!(
        "{} {}, {THREADS} threads, batch {BATCH}, medians of {steps} steps",
        blas::version(),
        blas::kernel()
    );

    let before = SgemmRate::measure(quick);
    let layer_1 = pool.install(|| fastest(steps, layer_1));
    let layer_2 = pool.install(|| fastest(steps, layer_2));
    let others = pool.install(|| others(quick));
    let rate = before.mean(&SgemmRate::measure(quick));

    println!("sgemm {}: {:.0} GF/s on one thread, {:.0} on two", rate.size, rate.one, rate.two);
    println!();
    print_blocks(&layer_1, &layer_2);
    print_step("layer 1, 784-2000, two views", best(&layer_1), &rate, LAYER_1);
    print_step("layer 2, 2000-2000, algorithm 1", best(&layer_2), &rate, LAYER_2);
    for (what, value) in others {
        println!("{what:46}{value}");
    }

    match pool.install(check) {
        Ok(worst) => {
            println!("\nSteps agree with the slow twin to {worst:.0e} of the largest element.");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("\nWRONG: {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// Medians in milliseconds.
struct StepTimes {
    block: usize,
    whole: f64,
    forward: f64,
    backward: f64,
    optimizer: f64,
    /// Standardising and pairing the batch, or running the frozen layer on its pairs.
    input: f64,
    gflop: f64,
}

/// Times of a layer for every block size.
fn fastest(steps: usize, times: fn(usize, usize) -> StepTimes) -> Vec<StepTimes> {
    BLOCKS.into_iter().map(|block| times(steps, block)).collect()
}

fn best(times: &[StepTimes]) -> &StepTimes {
    times.iter().min_by(|a, b| a.whole.total_cmp(&b.whole)).expect("some block size")
}

fn layer_1(steps: usize, block: usize) -> StepTimes {
    let rows = random_rows(1, 2 * BATCH, INPUTS);
    let input = || PairedRows::make(rows.clone(), &dense(INPUTS), true, &[7]);
    time_steps(steps, INPUTS, PairSource::Makes, block, 4 * BATCH * INPUTS * UNITS, input)
}

fn layer_2(steps: usize, block: usize) -> StepTimes {
    let rows = random_rows(1, 2 * BATCH, INPUTS);
    let below = frozen(block);
    let input = || {
        let pairs = PairedRows::make(rows.clone(), &dense(INPUTS), true, &[7]);
        PairedRows::take(below.transform_pairs(&pairs), &dense(UNITS))
    };
    let multiply_adds = 2 * BATCH * INPUTS * UNITS + 4 * BATCH * UNITS * UNITS;
    time_steps(steps, UNITS, PairSource::Takes, block, multiply_adds, input)
}

fn time_steps(
    steps: usize,
    inputs: usize,
    source: PairSource,
    block: usize,
    multiply_adds: usize,
    input: impl Fn() -> PairedRows,
) -> StepTimes {
    let mut layer = training(inputs, source, block);
    let mut phases = [const { Vec::new() }; 4];
    for _ in 0..steps + 5 {
        let start = Instant::now();
        let pairs = input();
        let paired = Instant::now();
        let partial = layer.begin_step(&pairs);
        let sums = partial.total();
        let forward = Instant::now();
        black_box(layer.proceed(&pairs, sums));
        let end = Instant::now();
        for (phase, span) in
            phases.iter_mut().zip([end - start, paired - start, forward - paired, end - forward])
        {
            phase.push(1e3 * span.as_secs_f64());
        }
    }
    let [whole, input, forward, backward] = phases.map(median);
    let gflop = 2.0 * multiply_adds as f64 / 1e9;
    StepTimes { block, whole, forward, backward, optimizer: optimizer(steps, inputs, block), input, gflop }
}

/// Updates arrays of a layer's size, block by block, without the products between them.
fn optimizer(steps: usize, inputs: usize, block: usize) -> f64 {
    let zeros = || vec![0.1_f32; block * inputs];
    let mut blocks: Vec<_> = (0..UNITS / block).map(|_| [zeros(), zeros(), zeros()]).collect();
    let gradient = zeros();
    let update = Update::new(0.003, 1e-4, Step(0));
    median((0..steps).map(|_| {
        1e3 * seconds(&mut || {
            blocks.par_iter_mut().for_each(|[values, first, second]| {
                black_box(update.apply(values, first, second, &gradient, 0.0));
            });
        })
    }))
}

/// What else a run spends its time on: name and figure.
fn others(quick: bool) -> Vec<(&'static str, String)> {
    let layer = frozen(200);
    let samples = random_rows(1, 3000, INPUTS);
    let transform =
        median((0..10).map(|_| seconds(&mut || drop(black_box(layer.transform(samples.view()))))));
    let gflop = 2.0 * (samples.nrows() * INPUTS * UNITS) as f64 / 1e9;

    let batch = 64;
    let count = if quick { 6400 } else { 60_000 };
    let features = Features::F32(random_rows(1, count, 2 * UNITS));
    let labels: Vec<u32> = (0..count).map(|sample| (sample * 7 % 10) as u32).collect();
    let readout = |dropout| {
        let spec = ReadoutSpec { learning_rate: 1e-3, batch, epochs: 1, dropout };
        let epoch =
            || seconds(&mut || drop(black_box(train(&features, &labels, 10, &spec, Seed(1), |_, _| {}))));
        let seconds = median((0..3).map(|_| epoch()));
        let steps = count.div_ceil(batch) as f64;
        format!(
            "{:.3} ms, 50 epochs of 60,000 in {:.1} s",
            1e3 * seconds / steps,
            50.0 * 938.0 * seconds / steps
        )
    };
    vec![
        (
            "transform 784-2000",
            format!("{:.0} samples/s, {:.0} GF/s", samples.nrows() as f64 / transform, gflop / transform),
        ),
        ("readout step, 64 x 4000 x 10", readout(0.0)),
        ("readout step with dropout", readout(0.2)),
    ]
}

fn print_blocks(layer_1: &[StepTimes], layer_2: &[StepTimes]) {
    println!("{:46}{}", "milliseconds with blocks of", BLOCKS.map(|block| format!("{block:>7}")).concat());
    for (name, times) in [("layer 1", layer_1), ("layer 2", layer_2)] {
        let row: Vec<_> = times.iter().map(|times| format!("{:7.2}", times.whole)).collect();
        println!("{name:46}{}", row.concat());
    }
    println!();
}

fn print_step(name: &str, times: &StepTimes, rate: &SgemmRate, pytorch: PyTorch) {
    let StepTimes { block, whole, forward, backward, optimizer, input, gflop } = times;
    let useful = gflop / whole * 1e3;
    println!("{name} (blocks of {block})");
    println!("  step{:40}{whole:7.2} ms", "");
    println!("    input: standardise, pair, frozen layers{input:12.2}");
    println!("    forward{forward:44.2}");
    println!("    gradient{:43.2}", backward - optimizer);
    println!("    optimiser{optimizer:42.2}");
    println!("  useful{useful:38.0} GF/s, {:.0} % of the sgemm rate", 100.0 * useful / rate.two);
    pytorch.print_beside(*whole, rate);
    println!();
}

/// One step of each layer against the slow twin: the largest difference, relative to the largest element.
fn check() -> Result<f64, String> {
    let rows = random_rows(1, 2 * BATCH, INPUTS);
    let pairs = PairedRows::make(rows.clone(), &dense(INPUTS), true, &[7]);
    let (first, second) = rows.view().split_at(Axis(0), BATCH);
    let slow = Pairs::make(&widened(first), &widened(second), &[7]);
    let worst_1 = check_step("layer 1", training(INPUTS, PairSource::Makes, 200), &pairs, &slow)?;

    let between = frozen(200).transform_pairs(&pairs);
    let slow = Pairs::take(&widened(between.positive()), &widened(between.negative()));
    let pairs = PairedRows::take(between, &dense(UNITS));
    let worst_2 = check_step("layer 2", training(UNITS, PairSource::Takes, 200), &pairs, &slow)?;
    Ok(worst_1.max(worst_2))
}

fn check_step(name: &str, mut layer: TrainingLayer, pairs: &PairedRows, slow: &Pairs) -> Result<f64, String> {
    let twin = Layer::new(&layer.state().parameters);
    let loss = layer.step(pairs).loss.total();
    let expected = twin.loss(slow, &HYPERPARAMETERS.loss);
    let mut worst = (loss / expected - 1.0).abs();
    // m = .1 G after the first step
    let found = &layer.state().first_moments.weight() * 10.0;
    let expected = twin.gradient(slow, &HYPERPARAMETERS.loss).weight.concat();
    let largest = expected.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        worst = worst.max((f64::from(*found) - expected).abs() / largest);
    }
    if worst < 1e-5 { Ok(worst) } else { Err(format!("{name} is off by {worst:e} of the largest element")) }
}

fn widened(rows: ndarray::ArrayView2<'_, f32>) -> Rows {
    rows.outer_iter().map(widen).collect()
}

fn dense(inputs: usize) -> LayerMap {
    LayerMap::Dense(Dense { inputs, outputs: UNITS })
}

fn spec(inputs: usize, pairs: PairSource, block: usize) -> LayerSpec {
    LayerSpec {
        name: "dense".into(),
        map: dense(inputs),
        pairs,
        transmit: Transmit::Triangle,
        pool: None,
        readout_pool: None,
        block,
    }
}

fn training(inputs: usize, pairs: PairSource, block: usize) -> TrainingLayer {
    let spec = spec(inputs, pairs, block);
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let state = LayerState::initial(&spec.map, &mut random);
    TrainingLayer::new(spec, HYPERPARAMETERS, &state).expect("the state fits")
}

fn frozen(block: usize) -> Arc<FrozenLayer> {
    Arc::new(training(INPUTS, PairSource::Makes, block).freeze())
}
