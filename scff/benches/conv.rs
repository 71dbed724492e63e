//! How long a training step of CIFAR-10's layers takes and where the time goes, beside this machine's sgemm rate and
//! PyTorch: `cargo bench -p scff --bench conv`.
//!
//! `-- --quick` for a short run, `-- --pytorch PYTHON` for the same steps in PyTorch between the rounds of ours, `-- 'layer 1'` for
//! the layers of that name only.
//!
//! Steps and sgemm take turns in rounds, and what is asked for is the best step over the best sgemm rate: others may have worked
//! on the machine in the rest. Answers are checked against the slow twin; a wrong one fails the benchmark. The parts of a
//! step are measured on their own, in the shapes in which a step has them: lowering, products, loss and optimiser; what is
//! left of the whole is elementwise work, and the transforms of Winograd's algorithm. *Useful* operations are those of the direct
//! form, whatever is computed. The pair prefix of layer 2 is measured as one.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use ndarray::parallel::prelude::*;
use ndarray::{ArrayView2, s};
use rayon::ThreadPoolBuilder;
use scff::batch::Step;
use scff::blas;
use scff::goodness::{Goodness, loss_and_gradient};
use scff::layer::{Algorithm, Conv, LayerMap, PairSource};
use scff::optimizer::Update;
use scff::pair::PairedRows;
use scff::pair_order::PairOrder;
use scff::train::{ProductTrial, Sharing, TrainingStage};

use crate::cifar10::{BATCH, HYPERPARAMETERS, LAYERS, SHIFTS, Subject};
use crate::measure::{Sgemm, THREADS, least, median, most, random_rows, seconds};
use crate::naive::{Layer, Rows, widen};
use crate::naive_conv::{loss_and_gradient as slow_loss_and_gradient, make_pairs, take_pair};

mod cifar10;
mod measure;
mod pytorch;
#[path = "../tests/common/naive.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod naive;
#[path = "../tests/common/naive_conv.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod naive_conv;

/// Of some rounds.
#[derive(Default)]
struct Rounds {
    /// Milliseconds of steps.
    steps: Vec<f64>,
    /// GF/s.
    sgemm: Vec<f64>,
    /// Milliseconds of pair prefixes.
    prefixes: Vec<f64>,
}

/// Milliseconds: medians.
struct Times {
    lowering: f64,
    products: f64,
    loss: f64,
    optimizer: f64,
}

fn main() -> ExitCode {
    blas::use_one_thread_per_call();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let python = arguments.iter().skip_while(|argument| *argument != "--pytorch").nth(1);
    let mut words =
        arguments.iter().filter(|argument| !argument.starts_with('-') && Some(*argument) != python);
    let word = words.next().map_or("", String::as_str);
    let pool = ThreadPoolBuilder::new().num_threads(THREADS).build().expect("a pool");
    println!("{} {}, {THREADS} threads, batch {BATCH}, medians", blas::version(), blas::kernel());
    let mut sgemm = Sgemm::new(quick);
    let one = sgemm.rate(1);
    println!("sgemm {}: {one:.0} GF/s on one thread", sgemm.size);
    let mut failed = false;
    for (index, subject) in LAYERS.iter().enumerate().filter(|(_, subject)| subject.name.contains(word)) {
        let repetitions = if quick { [20, 7, 5] } else { [100, 30, 20] }[index];
        let mut rounds = Rounds::default();
        pool.install(|| subject.rounds(repetitions, &mut sgemm, &mut rounds));
        let pytorch = python.map(|python| subject.pytorch(python, repetitions));
        pool.install(|| subject.rounds(repetitions, &mut sgemm, &mut rounds));
        let times = pool.install(|| subject.time(repetitions));
        failed |= !subject.print(&rounds, &times);
        match pytorch {
            None => subject.print_recorded(),
            Some(Ok(times)) => times.iter().for_each(|time| time.print_beside(&rounds.steps)),
            Some(Err(error)) => println!("  PyTorch was not run: {error}"),
        }
        match pool.install(|| subject.check()) {
            Ok(worst) => println!("  agrees with the slow twin to {worst:.0e}"),
            Err(wrong) => {
                eprintln!("WRONG: {wrong}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Subject {
    /// Rows that the layer maps in a step.
    fn rows(&self) -> usize {
        if self.pairs == PairSource::Makes { BATCH } else { 2 * BATCH }
    }

    /// Rounds of sgemm, steps and pair prefixes.
    fn rounds(&self, count: usize, sgemm: &mut Sgemm, rounds: &mut Rounds) {
        const ROUNDS: usize = 3;
        let below = self.below().map(|below| Arc::new(below.layer().freeze()));
        let samples = self.samples();
        let mut stage = TrainingStage::new(below.clone().into_iter().collect(), self.layer());
        for _ in 0..ROUNDS {
            rounds.sgemm.push(sgemm.rate(THREADS));
            rounds.steps.extend(milliseconds(count / ROUNDS, || {
                black_box(stage.step(samples.clone(), false, &SHIFTS));
            }));
            let Some(below) = &below else { continue };
            rounds.prefixes.extend(milliseconds(count / ROUNDS, || {
                let pairs = PairedRows::make(samples.clone(), &below.spec().map, false, &SHIFTS);
                black_box(PairedRows::take(below.transform_pairs(&pairs), &self.spec().map));
            }));
        }
    }

    fn time(&self, count: usize) -> Times {
        Times {
            lowering: self.lowering(count),
            products: self.products(count),
            loss: self.loss(count),
            optimizer: self.optimizer(count),
        }
    }

    /// Giga-operations of a step by the direct form, its pair prefix included.
    fn gflop(&self) -> f64 {
        let multiply_adds = |subject: &Self| {
            let direct = Conv { algorithm: Algorithm::Direct, ..subject.conv() };
            LayerMap::Conv(direct).multiply_adds() as f64
        };
        let below = self.below().map_or(0.0, |below| BATCH as f64 * multiply_adds(below));
        2e-9 * (below + 2.0 * self.rows() as f64 * multiply_adds(self))
    }

    /// Lowering every row, once where samples are shared; else twice: forward, and for the gradient. Winograd's algorithm
    /// transforms instead, in between its products.
    fn lowering(&self, count: usize) -> f64 {
        let conv = self.conv();
        if conv.algorithm == Algorithm::Winograd {
            return 0.0;
        }
        let rows = random_rows(1, self.rows(), conv.input.len());
        // Rows whose patches make about 512 rows of a product.
        let together = (512 / conv.output().positions()).max(1);
        let once = milliseconds(count, || {
            rows.axis_chunks_iter(ndarray::Axis(0), together).into_par_iter().for_each(|tile| {
                let mut patches = vec![0.0; conv.output().positions() * conv.fan_in()];
                for row in tile.outer_iter() {
                    conv.patches(row.to_slice().expect("contiguous"), &mut patches);
                }
                black_box(patches);
            });
        });
        if self.sharing == Sharing::Samples { median(once) } else { 2.0 * median(once) }
    }

    /// The products of a step on as many threads, each on numbers of its own, in the shapes of the step.
    fn products(&self, count: usize) -> f64 {
        let mut trials: Vec<_> = (0..THREADS)
            .map(|_| ProductTrial::new(&self.spec(), self.sharing, self.rows(), THREADS))
            .collect();
        // Forward, and for the gradient.
        let operations = 4 * self.rows() as u64 * LayerMap::Conv(self.conv()).multiply_adds();
        let runs = (operations / trials[0].operations()).div_ceil(THREADS as u64);
        median(milliseconds(count, || {
            trials.par_iter_mut().for_each(|trial| (0..runs).for_each(|_| trial.run()));
        }))
    }

    fn loss(&self, count: usize) -> f64 {
        let goodness = Goodness(random_rows(1, 2 * BATCH, self.conv().output().positions()).mapv(f32::abs));
        median(milliseconds(count, || {
            black_box(loss_and_gradient(&goodness, BATCH, &HYPERPARAMETERS.loss));
        }))
    }

    fn optimizer(&self, count: usize) -> f64 {
        let conv = self.conv();
        let mut arrays = [(); 3].map(|()| random_rows(1, conv.channels, conv.fan_in()).mapv(f32::abs));
        let gradient = random_rows(2, conv.channels, conv.fan_in());
        let update = Update::new(1e-3, 1e-4, Step(0));
        let [values, first, second] = &mut arrays;
        median(milliseconds(count, || {
            values
                .outer_iter_mut()
                .into_par_iter()
                .zip(first.outer_iter_mut())
                .zip(second.outer_iter_mut())
                .zip(gradient.outer_iter())
                .for_each(|(((values, first), second), gradient)| {
                    let standard = "rows are contiguous";
                    black_box(update.apply(
                        values.into_slice().expect(standard),
                        first.into_slice().expect(standard),
                        second.into_slice().expect(standard),
                        gradient.to_slice().expect(standard),
                        0.0,
                    ));
                });
        }))
    }

    /// Prints the times; returns whether the share of the sgemm rate is what it must be.
    fn print(&self, rounds: &Rounds, times: &Times) -> bool {
        let Times { lowering, products, loss, optimizer } = *times;
        let prefix = if rounds.prefixes.is_empty() { 0.0 } else { median(rounds.prefixes.clone()) };
        let (whole, rate) = (median(rounds.steps.clone()), median(rounds.sgemm.clone()));
        let (best, best_rate) = (least(&rounds.steps), most(&rounds.sgemm));
        let useful = self.gflop() / whole * 1e3;
        let best_share = self.gflop() / best * 1e3 / best_rate;
        println!("\n{} ({}, blocks of {})", self.name, self.algorithm, self.block);
        println!("  step{whole:52.2} ms ({best:.2} at best)");
        let rest = whole - prefix - lowering - products - loss - optimizer;
        for (name, value) in [
            ("pair prefix", prefix),
            ("lowering", lowering),
            ("products", products),
            ("loss", loss),
            ("optimiser", optimizer),
            ("transforms, elementwise, all else", rest),
        ] {
            println!("    {name:32}{value:20.2}");
        }
        println!("  sgemm{rate:51.0} GF/s ({best_rate:.0} at best)");
        println!("  useful{useful:50.0} GF/s, {:.0} % of the sgemm rate", 100.0 * useful / rate);
        println!("  at best{:49.0} % of it", 100.0 * best_share);
        if best_share < self.least_share {
            eprintln!("  TOO SLOW: less than {:.0} % of the sgemm rate", 100.0 * self.least_share);
        }
        best_share >= self.least_share
    }

    /// One step of a narrow layer on the same maps against the slow twin: the largest difference, relative to the largest
    /// element.
    fn check(&self) -> Result<f64, String> {
        const SAMPLES: usize = 4;
        let narrow = Self { shape: (self.shape.0, self.shape.1, 12, self.shape.3), block: 8, ..*self };
        let map = LayerMap::Conv(narrow.conv());
        let rows = random_rows(1, 2 * SAMPLES, map.inputs());
        let slow_rows = |rows: ArrayView2<'_, f32>| rows.outer_iter().map(widen).collect::<Rows>();
        let (input, slow) = if self.pairs == PairSource::Makes {
            let rows = rows.slice(s![..SAMPLES, ..]);
            let slow = make_pairs(&narrow.conv(), &slow_rows(rows), &slow_rows(rows), &[1]);
            (PairedRows::make(rows.to_owned(), &map, false, &[1]), slow)
        } else {
            let slow = rows.outer_iter().map(|row| take_pair(&narrow.conv(), &widen(row))).collect();
            let activations = scff::pair::PairActivations { rows, positives: SAMPLES };
            let parts = self.sharing.sample_parts(&narrow.spec(), SAMPLES);
            let order = PairOrder::neighbouring(SAMPLES, &[1], &parts);
            (PairedRows::take(activations, &map).in_order(order), slow)
        };
        let mut layer = narrow.layer();
        let twin = Layer::new(&layer.state().parameters);
        let (loss, gradient) = slow_loss_and_gradient(&twin, &slow, SAMPLES, &HYPERPARAMETERS.loss);
        let mut worst = (layer.step(&input).loss.total() / loss - 1.0).abs();
        // m = .1 G after the first step
        let found = &layer.state().first_moments.weight() * 10.0;
        let expected = gradient.weight.concat();
        let largest = expected.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            worst = worst.max((f64::from(*found) - expected).abs() / largest);
        }
        if worst < 1e-5 {
            Ok(worst)
        } else {
            Err(format!("{} is off by {worst:e} of the largest element", self.name))
        }
    }
}

/// Of so many rounds, after one that is not counted.
fn milliseconds(count: usize, mut work: impl FnMut()) -> Vec<f64> {
    work();
    (0..count).map(|_| 1e3 * seconds(&mut work)).collect()
}
