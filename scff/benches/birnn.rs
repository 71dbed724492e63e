//! How long a training step of FSDD's recurrent layer takes and where the time goes, beside this machine's sgemm rate and
//! PyTorch: `cargo bench -p scff --bench birnn`.
//!
//! `-- --quick` for a short run. Answers are checked against the slow twin; a wrong one fails the benchmark, as does a step
//! that is not as many times faster than PyTorch's as it must be. The products of a step are measured on their own, in the
//! shapes in which a step has them. With lengths as spoken digits have them, padding costs what it costs.

use std::hint::black_box;
use std::process::ExitCode;

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::s;
use rayon::ThreadPoolBuilder;
use scff::batch::{Epoch, Step};
use scff::blas;
use scff::goodness::LossParameters;
use scff::layer::{
    BiRnn, LayerMap, LayerSpec, LayerState, MapShape, PairSource, SequencePadding, Summary, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::seed::{NO_LAYER, Purpose, Seed};
use scff::sequence_pair::PairedSequences;
use scff::sequences::Sequences;
use scff::train::{Hyperparameters, Sharing, TrainingLayer};

use crate::measure::{PyTorch, SgemmRate, THREADS, median, random_rows, seconds};
use crate::naive::widen;
use crate::naive_birnn::{Layer, Pairs};

mod measure;
#[path = "../tests/common/naive.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod naive;
#[path = "../tests/common/naive_birnn.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod naive_birnn;

const BATCH: usize = 64;
const FEATURES: usize = 39;
const HIDDEN: usize = 500;
const BLOCK: usize = 250;
/// Pairs that are walked together.
const TOGETHER: usize = 64;

const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 0.0, theta_neg: 1.0, lambda: 0.0075 },
    optimizer: OptimizerParameters { learning_rate: 2e-5, weight_decay: 0.0, gamma: 0.7, period: 37 },
    sharing: Sharing::Channels,
};

/// Batches whose sequences are all of one length.
struct Subject {
    frames: usize,
    pytorch: PyTorch,
    /// How many times faster than PyTorch's official code a step must be, scaled by sgemm.
    least: f64,
}

const SUBJECTS: [Subject; 2] = [
    Subject { frames: 40, pytorch: PyTorch { official: 222.0, fused: None }, least: 3.0 },
    Subject { frames: 60, pytorch: PyTorch { official: 269.0, fused: None }, least: 2.5 },
];

fn main() -> ExitCode {
    blas::use_one_thread_per_call();
    let quick = std::env::args().any(|argument| argument == "--quick");
    let pool = ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    println!("{} {}, {THREADS} threads, batch {BATCH}, medians", blas::version(), blas::kernel());
    let count = if quick { 10 } else { 60 };
    let before = SgemmRate::measure(quick);
    let times: Vec<[f64; 2]> = SUBJECTS
        .iter()
        .map(|subject| {
            let lengths = vec![subject.frames; BATCH];
            pool.install(|| [step(&lengths, SequencePadding::Masked, count), products(subject.frames, count)])
        })
        .collect();
    let rate = before.mean(&SgemmRate::measure(quick));
    println!("sgemm {}: {:.0} GF/s on one thread, {:.0} on two", rate.size, rate.one, rate.two);
    let mut failed = false;
    for (subject, times) in SUBJECTS.iter().zip(&times) {
        failed |= !subject.print(*times, &rate);
    }
    println!("\nlengths of spoken digits");
    for padding in [SequencePadding::Masked, SequencePadding::Counts] {
        let time = pool.install(|| step(&spoken(), padding, count));
        println!("  step, {padding:?}{time:43.2} ms");
    }
    match pool.install(check) {
        Ok(worst) => println!("agrees with the slow twin to {worst:.0e}"),
        Err(wrong) => {
            eprintln!("WRONG: {wrong}");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Subject {
    /// Prints the times of a step and of its products; returns whether it is fast enough.
    fn print(&self, [whole, products]: [f64; 2], rate: &SgemmRate) -> bool {
        let useful = gflop(self.frames) / whole * 1e3;
        println!("\n{} frames, {FEATURES}-{HIDDEN} per direction (blocks of {BLOCK})", self.frames);
        println!("  step{whole:52.2} ms");
        for (name, value) in [("products", products), ("elementwise and all else", whole - products)] {
            println!("    {name:32}{value:20.2}");
        }
        println!("  useful{useful:50.0} GF/s, {:.0} % of the sgemm rate", 100.0 * useful / rate.two);
        let faster = self.pytorch.print_beside(whole, rate);
        if faster < self.least {
            eprintln!("  TOO SLOW: less than {:.1} times as fast as PyTorch", self.least);
        }
        faster >= self.least
    }
}

/// Of a step's products, in billions.
fn gflop(frames: usize) -> f64 {
    let map = LayerMap::BiRnn(shape(frames, HIDDEN, SequencePadding::Masked));
    let forward = BATCH as u64 * map.multiply_adds() + 2 * BATCH as u64 * map.multiply_adds_of_pair();
    4e-9 * forward as f64
}

/// Frames of a batch of spoken digits: between a few and more than a hundred, 35 in the mean.
fn spoken() -> Vec<usize> {
    (0..BATCH).map(|sample| 18 + (sample * 29) % 32 + if sample % 32 == 7 { 50 } else { 0 }).collect()
}

fn shape(frames: usize, hidden: usize, padding: SequencePadding) -> BiRnn {
    let input = MapShape { height: frames, width: 1, channels: FEATURES };
    BiRnn { input, hidden, padding, summary: Summary::Last }
}

fn layer(birnn: BiRnn) -> TrainingLayer {
    let map = LayerMap::BiRnn(birnn);
    let spec = LayerSpec {
        name: "birnn".into(),
        map,
        pairs: PairSource::Makes,
        transmit: Transmit::Standardized,
        pool: None,
        readout_pool: None,
        block: BLOCK,
    };
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let state = LayerState::initial(&map, &mut random);
    TrainingLayer::new(spec, HYPERPARAMETERS, &state).expect("the state fits")
}

fn sequences(lengths: &[usize]) -> Sequences {
    Sequences::new(random_rows(1, lengths.iter().sum(), FEATURES), lengths.iter().copied())
}

/// Milliseconds of a step.
fn step(lengths: &[usize], padding: SequencePadding, count: usize) -> f64 {
    let longest = *lengths.iter().max().expect("a batch");
    let mut layer = layer(shape(longest, HIDDEN, padding));
    let input = PairedSequences::make(sequences(lengths), false, &[7]);
    milliseconds(count, || {
        black_box(layer.step(&input));
    })
}

/// Milliseconds of the products with W_hh and of its gradient, one direction on each thread, on numbers of their own.
fn products(frames: usize, count: usize) -> f64 {
    let mut lanes: Vec<_> = (0..THREADS as u64)
        .map(|lane| {
            let states = random_rows(lane, frames * 2 * BATCH, HIDDEN);
            let weight = random_rows(lane + 9, HIDDEN, HIDDEN);
            (states.clone(), states, weight.clone(), weight)
        })
        .collect();
    milliseconds(count, || {
        lanes.par_iter_mut().for_each(|(states, hidden, weight, gradient)| {
            for start in (0..states.nrows()).step_by(TOGETHER) {
                let rows = s![start..start + TOGETHER, ..];
                let mut out = hidden.slice_mut(rows);
                general_mat_mul(1.0, &states.slice(rows), &weight.t(), 0.0, &mut out);
            }
            for start in (0..states.nrows()).step_by(512) {
                let rows = s![start..(start + 512).min(states.nrows()), ..];
                general_mat_mul(1.0, &hidden.slice(rows).t(), &states.slice(rows), 0.0, gradient);
            }
        });
    })
}

/// One step of a narrow layer on sequences of several lengths against the slow twin: the largest difference, relative to
/// the largest element.
fn check() -> Result<f64, String> {
    const NARROW: usize = 20;
    const LENGTHS: [usize; 5] = [6, 2, 9, 4, 9];
    let mut worst = 0.0_f64;
    for padding in [SequencePadding::Masked, SequencePadding::Counts] {
        let sequences = sequences(&LENGTHS);
        let frames: Vec<_> = (0..LENGTHS.len())
            .map(|index| sequences.sequence(index).outer_iter().map(widen).collect::<Vec<_>>())
            .collect();
        let pairs = Pairs::make(&frames, &frames, &[2], padding);
        let mut layer = layer(shape(9, NARROW, padding));
        let twin = Layer::new(&layer.state().parameters);
        let (loss, gradient) = (HYPERPARAMETERS.loss, twin.gradient(&pairs, &HYPERPARAMETERS.loss));
        let report = layer.step(&PairedSequences::make(sequences, false, &[2]));
        worst = worst.max((report.loss.total() / twin.loss(&twin, &pairs, &loss) - 1.0).abs());
        for tensor in layer.state().first_moments.iter() {
            let expected = gradient.numbers(tensor.name);
            let largest = expected.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
            // m = .1 G after the first step
            for (found, expected) in tensor.values.iter().zip(expected) {
                worst = worst.max((10.0 * f64::from(*found) - expected).abs() / largest);
            }
        }
    }
    if worst < 1e-5 { Ok(worst) } else { Err(format!("off by {worst:e} of the largest element")) }
}

fn milliseconds(count: usize, mut work: impl FnMut()) -> f64 {
    work();
    1e3 * median((0..count).map(|_| seconds(&mut work)))
}
