//! CIFAR-10's layers, as `configs/cifar10.toml` has them, and samples for them.

#![allow(dead_code, reason = "each benchmark uses some of it")]

use ndarray::Array2;
use scff::batch::{Epoch, Step};
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, Conv, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::seed::{NO_LAYER, Purpose, Seed};
use scff::train::{Hyperparameters, Shard, Sharing, TrainingLayer};

use crate::measure::random_rows;

pub const BATCH: usize = 100;
/// Of the batch's negative pairs.
pub const SHIFTS: [usize; 1] = [7];

pub const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 5.0, theta_neg: 9.0, lambda: 7e-4 },
    optimizer: OptimizerParameters { learning_rate: 1e-3, weight_decay: 1e-4, gamma: 0.9, period: 1000 },
    sharing: Sharing::Channels,
};

/// One layer of the network.
#[derive(Clone, Copy)]
pub struct Subject {
    pub name: &'static str,
    /// Side and channels of its map, channels, kernel.
    pub shape: (usize, usize, usize, usize),
    pub pairs: PairSource,
    pub transmit: Transmit,
    pub block: usize,
    pub algorithm: Algorithm,
    pub sharing: Sharing,
    /// The share of the sgemm rate that its useful operations must reach at best.
    pub least_share: f64,
}

pub const LAYERS: [Subject; 3] = [
    Subject {
        name: "layer 1, 3-96 on 32x32, makes pairs",
        shape: (32, 3, 96, 5),
        pairs: PairSource::Makes,
        transmit: Transmit::Triangle,
        block: 96,
        algorithm: Algorithm::Direct,
        sharing: Sharing::Samples,
        least_share: 0.38,
    },
    Subject {
        name: "layer 2, 96-384 on 16x16, algorithm 1",
        shape: (16, 96, 384, 3),
        pairs: PairSource::Takes,
        transmit: Transmit::Triangle,
        block: 48,
        algorithm: Algorithm::Winograd,
        sharing: Sharing::Grid,
        least_share: 1.10,
    },
    Subject {
        name: "layer 3, 384-1536 on 8x8, algorithm 2",
        shape: (8, 384, 1536, 3),
        pairs: PairSource::Makes,
        transmit: Transmit::Relu,
        block: 96,
        algorithm: Algorithm::Winograd,
        sharing: Sharing::Channels,
        least_share: 1.8,
    },
];

impl Subject {
    pub fn conv(&self) -> Conv {
        let (side, inputs, channels, kernel) = self.shape;
        let input = MapShape { height: side, width: side, channels: inputs };
        Conv { input, channels, kernel, padding: kernel / 2, algorithm: self.algorithm }
    }

    pub fn spec(&self) -> LayerSpec {
        LayerSpec {
            name: "conv".into(),
            map: LayerMap::Conv(self.conv()),
            pairs: self.pairs,
            transmit: self.transmit,
            pool: Some(Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 }),
            readout_pool: None,
            block: self.block,
        }
    }

    pub fn layer(&self) -> TrainingLayer {
        self.shard(None)
    }

    /// Some of its channels or of each batch's samples.
    pub fn shard(&self, shard: Option<Shard>) -> TrainingLayer {
        let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
        let state = LayerState::initial(&LayerMap::Conv(self.conv()), &mut random);
        let hyperparameters = Hyperparameters { sharing: self.sharing, ..HYPERPARAMETERS };
        TrainingLayer::shard(self.spec(), hyperparameters, &state, shard).expect("the state fits")
    }

    /// The layers that run on the pairs before it.
    pub fn below(&self) -> Option<&'static Self> {
        (self.pairs == PairSource::Takes).then_some(&LAYERS[0])
    }

    /// What arrives in a step.
    pub fn samples(&self) -> Array2<f32> {
        random_rows(1, BATCH, self.below().unwrap_or(self).conv().input.len())
    }
}
