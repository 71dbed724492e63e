//! How fast a machine is.

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
    /// Of a worker of whom nothing was measured: a few threads of a processor of our days. For choices that change no bits.
    pub fn usual(layers: usize) -> Self {
        let layer = LayerRates { operations: 400e9, updates: 4e9, bytes: 60e9 };
        Self { threads: 4, speed: 1.0, layers: vec![layer; layers] }
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
