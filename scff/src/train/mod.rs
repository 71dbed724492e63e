//! A layer that learns.
//!
//! A step has two halves, and the exchange between them is all that machines which share a layer need:
//!
//! 1. [`TrainingLayer::forward`]: the linear map of every row, z and relu(z) of every pair, and the partial sums
//!    of squares of each channel block;
//! 2. (total the partial sums: here, or across a group of workers);
//! 3. [`TrainingLayer::backward`]: the loss, its gradient, and the optimiser's update.
//!
//! Each channel block owns its weights and moments. Products are single-threaded BLAS calls of a fixed shape, cut by
//! channel blocks and, in convolutions, by tiles of samples, so neither threads nor shards show in the result.

mod block;
mod conv;
mod dense;
mod live;
mod stage;
mod tiles;
mod trial;

use ndarray::{Array1, Array2, Axis, s};
use serde::{Deserialize, Serialize};

use crate::batch::Step;
use crate::frozen::FrozenLayer;
use crate::goodness::{Goodness, Loss, LossParameters, PartialGoodness, loss_and_gradient};
use crate::layer::{ChannelRange, LayerSpec, LayerState, LinearMap, ShapeError, Tensors};
use crate::optimizer::OptimizerParameters;
use crate::pair::PairedRows;

use conv::ConvLayer;
use dense::DenseLayer;

pub use stage::{Half, PassOn, TrainingStage};
pub use trial::ProductTrial;

pub(crate) use conv::lower;
pub(crate) use tiles::Tiles;

/// How a layer learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Thresholds and penalty.
    pub loss: LossParameters,
    /// Learning rate, its schedule, weight decay.
    pub optimizer: OptimizerParameters,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Which step it was.
    pub step: Step,
    /// The learning rate it used.
    pub learning_rate: f64,
    /// The loss before the update.
    pub loss: Loss,
}

/// A layer in training, with its optimiser's state.
///
/// It may be a shard, which owns some of the channels: then its goodness is added to that of the others between
/// [`Self::forward`] and [`Self::backward`].
pub struct TrainingLayer {
    spec: LayerSpec,
    channels: ChannelRange,
    hyperparameters: Hyperparameters,
    step: Step,
    kind: Kind,
}

/// The channel blocks of the layer's map.
enum Kind {
    Dense(DenseLayer),
    Conv(Box<ConvLayer>),
}

impl TrainingLayer {
    /// Takes up training at `state`, whose tensors must fit `spec`.
    pub fn new(
        spec: LayerSpec,
        hyperparameters: Hyperparameters,
        state: &LayerState,
    ) -> Result<Self, ShapeError> {
        let channels = spec.channels();
        Self::shard(spec, hyperparameters, state, channels)
    }

    /// The same for the shard that owns `channels`, a range of whole blocks; `state` is that of the whole layer.
    pub fn shard(
        spec: LayerSpec,
        hyperparameters: Hyperparameters,
        state: &LayerState,
        channels: ChannelRange,
    ) -> Result<Self, ShapeError> {
        state.check(&spec.map)?;
        let blocks: Vec<_> = spec.blocks().into_iter().filter(|block| channels.contains(*block)).collect();
        let owned: usize = blocks.iter().map(|block| block.len()).sum();
        assert_eq!(owned, channels.len(), "a shard owns whole blocks");
        let kind = match spec.map {
            LinearMap::Dense(_) => Kind::Dense(DenseLayer::new(&blocks, state)),
            LinearMap::Conv(conv) => Kind::Conv(Box::new(ConvLayer::new(conv, &blocks, state))),
        };
        Ok(Self { spec, channels, hyperparameters, step: state.step, kind })
    }

    /// What is fixed about the layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// The channels that it owns: all, unless it is a shard.
    pub fn channels(&self) -> ChannelRange {
        self.channels
    }

    /// Steps taken so far.
    pub fn step_count(&self) -> Step {
        self.step
    }

    /// One training step on the pairs of a batch.
    pub fn step(&mut self, input: &PairedRows) -> StepReport {
        let partial = self.forward(input);
        let goodness = partial.total(self.spec.map.channels(), input.pairs().len());
        self.backward(input, &goodness)
    }

    /// First half of a step: partial goodness of every pair, (own channel blocks, pairs * positions).
    pub fn forward(&mut self, input: &PairedRows) -> PartialGoodness {
        let positions = self.spec.map.output().positions();
        let blocks = match &self.kind {
            Kind::Dense(layer) => layer.blocks(),
            Kind::Conv(layer) => layer.blocks(),
        };
        let mut partial = Array2::zeros((blocks, input.pairs().len() * positions));
        match &mut self.kind {
            Kind::Dense(layer) => layer.forward(input, &mut partial),
            Kind::Conv(layer) => layer.forward(input, &mut partial),
        }
        PartialGoodness(partial)
    }

    /// Second half of a step, on the same `input` as [`Self::forward`]: loss, gradients and update.
    pub fn backward(&mut self, input: &PairedRows, goodness: &Goodness) -> StepReport {
        let Hyperparameters { loss, optimizer } = &self.hyperparameters;
        let (loss, gradient) = loss_and_gradient(goodness, input.positives(), loss);
        // dL/dz_c = (2 / C) relu(z_c) dL/dg
        let coefficients = gradient * (2.0 / self.spec.map.channels() as f32);
        let coefficients = coefficients.as_slice().expect("a fresh array is contiguous");
        let update = optimizer.update(self.step);
        match &mut self.kind {
            Kind::Dense(layer) => layer.backward(input, coefficients, &update),
            Kind::Conv(layer) => layer.backward(input, coefficients, &update),
        }
        let report = StepReport { step: self.step, learning_rate: optimizer.learning_rate(self.step), loss };
        self.step = Step(self.step.0 + 1);
        report
    }

    /// A copy of everything that training carries on, of the channels that it owns.
    pub fn state(&self) -> LayerState {
        let shape = (self.channels.len(), self.spec.map.fan_in());
        let [mut parameters, mut first_moments, mut second_moments] =
            [(); 3].map(|()| Tensors { weight: Array2::zeros(shape), bias: Array1::zeros(shape.0) });
        let first = self.channels.start;
        let mut gather = |channels: ChannelRange, block: [&Tensors; 3]| {
            for (whole, part) in
                [&mut parameters, &mut first_moments, &mut second_moments].into_iter().zip(block)
            {
                let place = ChannelRange { start: channels.start - first, end: channels.end - first }.slice();
                whole.weight.slice_axis_mut(Axis(0), place).assign(&part.weight);
                whole.bias.slice_axis_mut(Axis(0), place).assign(&part.bias);
            }
        };
        match &self.kind {
            Kind::Dense(layer) => layer.tensors().for_each(|(channels, block)| gather(channels, block)),
            Kind::Conv(layer) => layer.tensors().for_each(|(channels, block)| gather(channels, block)),
        }
        LayerState { step: self.step, parameters, first_moments, second_moments }
    }

    /// Ends training: from here on the layer only transforms.
    pub fn freeze(self) -> FrozenLayer {
        let parameters = self.state().parameters;
        FrozenLayer::new(self.spec, parameters).expect("the layer's own tensors fit it")
    }
}

fn row(array: &mut Array2<f32>, index: usize) -> &mut [f32] {
    array.slice_mut(s![index, ..]).into_slice().expect("rows are contiguous")
}
