//! What the benchmarks share: clocks, this machine's sgemm rate, PyTorch's recorded times.

#![expect(clippy::disallowed_methods, reason = "benches measure")]
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::time::Instant;

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};
use rayon::ThreadPoolBuilder;
use scff::batch::{Epoch, Step};
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};

pub const THREADS: usize = 2;

/// PyTorch 2.11, on two threads of a machine whose sgemm rate on two threads was this, in GF/s.
const PYTORCH_RATE: f64 = 215.0;

/// Milliseconds of a step on that machine: the paper's code, and a fused rewrite of it, where there is one.
#[derive(Clone, Copy)]
pub struct PyTorch {
    pub official: f64,
    pub fused: Option<f64>,
}

impl PyTorch {
    /// Prints how a step of `milliseconds` compares, both scaled by the machines' sgemm rates; returns how many times faster
    /// it is than the official code's.
    pub fn print_beside(self, milliseconds: f64, rate: &SgemmRate) -> f64 {
        let times = |recorded: f64| recorded * PYTORCH_RATE / rate.two;
        let recorded = [("official", Some(self.official)), ("fused", self.fused)];
        for (name, recorded) in recorded.into_iter().filter_map(|(name, time)| Some((name, time?))) {
            let scaled = times(recorded);
            let label = format!("  PyTorch {name} ({recorded} ms), scaled to this machine");
            println!("{label:56}{scaled:9.2} ms: {:.1} times faster", scaled / milliseconds);
        }
        times(self.official) / milliseconds
    }
}

/// GF/s of products of two square matrices.
pub struct SgemmRate {
    pub size: usize,
    pub one: f64,
    pub two: f64,
}

/// Products of two square matrices.
pub struct Sgemm {
    pub size: usize,
    factors: [Array2<f32>; 2],
    product: Array2<f32>,
}

impl Sgemm {
    pub fn new(quick: bool) -> Self {
        let size = if quick { 2048 } else { 4096 };
        let factors = [1, 2].map(|salt| random_rows(salt, size, size));
        Self { size, factors, product: Array2::zeros((size, size)) }
    }

    /// GF/s of one product on so many threads, those of the pool in which it is called.
    pub fn rate(&mut self, threads: usize) -> f64 {
        let Self { size, factors: [a, b], product } = self;
        let mut work = || {
            product
                .axis_chunks_iter_mut(Axis(0), *size / threads)
                .into_par_iter()
                .zip(a.axis_chunks_iter(Axis(0), *size / threads))
                .for_each(|(mut product, a)| general_mat_mul(1.0, &a, b, 0.0, &mut product));
        };
        2.0 * (*size as f64).powi(3) / seconds(&mut work) / 1e9
    }
}

impl SgemmRate {
    pub fn measure(quick: bool) -> Self {
        let mut sgemm = Sgemm::new(quick);
        let mut best = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| (0..4).map(|_| sgemm.rate(threads)).fold(0.0, f64::max))
        };
        let (one, two) = (best(1), best(2));
        Self { size: sgemm.size, one, two }
    }

    pub fn mean(&self, other: &Self) -> Self {
        Self {
            size: self.size,
            one: f64::midpoint(self.one, other.one),
            two: f64::midpoint(self.two, other.two),
        }
    }
}

pub fn random_rows(salt: u64, count: usize, elements: usize) -> Array2<f32> {
    let mut random = Seed(salt).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
    Array2::from_shape_simple_fn((count, elements), || symmetric(&mut random, 1.0))
}

pub fn seconds(work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The largest.
pub fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max)
}

/// The smallest.
pub fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
