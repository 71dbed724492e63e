//! How fast a machine is.

use scff::layer::Algorithm;

use crate::plan::Plan;

/// Bytes a second of the passes of a usual core, beside its products: of Winograd's algorithm, whose passes go through memory, and, at least, of
/// all else, where more of them stay in caches.
const PASSES_OF_WINOGRAD: f64 = 10e9;
const PASSES: f64 = 15e9;
/// Parameters a second that it updates.
const UPDATES: f64 = 1e9;
/// Floating-point operations a second that it does.
const OPERATIONS: f64 = 100e9;

/// What a worker says that it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Benchmark {
    /// How many threads it computes on.
    pub threads: usize,
    /// Floating-point operations a second of products, on all of them.
    pub operations: f64,
}

impl Benchmark {
    /// Of a worker of whom nothing was measured: a few threads of a processor of our days.
    pub const USUAL: Self = Self { threads: 4, operations: 4.0 * OPERATIONS };
}

/// What a machine does in a second, on all threads of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Threads of a worker.
    pub threads: usize,
    /// How many times as fast it is as the machine on which the constants of this module were measured.
    pub speed: f64,
    /// Of each layer.
    pub layers: Vec<LayerRates>,
}

/// What a machine does in a second for one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerRates {
    /// Floating-point operations of products in the layer's shapes.
    pub operations: f64,
    /// Parameters that AdamW updates.
    pub updates: f64,
    /// Bytes that all else in a step reads and writes: elementwise passes.
    pub bytes: f64,
}

/// The machines that a run is planned for, by what was measured of one.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Of the one that was measured.
    pub measured: &'a Rates,
    /// How many times as fast each is.
    pub speed: f64,
    /// Its BLAS kernel.
    pub kernel: &'a str,
}

impl Rates {
    /// Of a worker of which no more was measured than how fast it multiplies: all else is as fast beside that as it usually is. For choices
    /// that change no bits.
    pub fn by(benchmark: Benchmark, plan: &Plan) -> Self {
        let Benchmark { threads, operations } = benchmark;
        let cores = operations / OPERATIONS;
        let layers = plan.stages.iter().map(|stage| {
            let winograd = stage.spec.map.algorithm() == Some(Algorithm::Winograd);
            let passes = if winograd { PASSES_OF_WINOGRAD } else { PASSES };
            LayerRates { operations, updates: cores * UPDATES, bytes: cores * passes }
        });
        // What is no product gains nothing by wider registers.
        Self { threads, speed: (cores / threads as f64).min(1.0), layers: layers.collect() }
    }

    /// Of a machine so many times as fast.
    #[must_use]
    pub fn times(&self, speed: f64) -> Self {
        let faster = |&LayerRates { operations, updates, bytes }: &LayerRates| LayerRates {
            operations: speed * operations,
            updates: speed * updates,
            bytes: speed * bytes,
        };
        let layers = self.layers.iter().map(faster).collect();
        Self { threads: self.threads, speed: speed * self.speed, layers }
    }

    /// How many cores of the machine of the constants do as much as all threads of this one.
    pub fn cores(&self) -> f64 {
        self.threads as f64 * self.speed
    }
}
