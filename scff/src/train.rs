//! A layer that learns.
//!
//! A step has two halves, and the exchange between them is all that machines which share a layer need:
//!
//! 1. [`TrainingLayer::forward`]: the linear map of every row, z and relu(z) of every pair, and the partial sums
//!    of squares of each channel block;
//! 2. (total the partial sums: here, or across a group of workers);
//! 3. [`TrainingLayer::backward`]: the loss, its gradient, and the optimiser's update.
//!
//! Each channel block owns its weights, moments and buffers, and is computed by one thread with BLAS calls of a
//! fixed shape, so neither threads nor shards show in the result.

use std::cell::RefCell;
use std::sync::Arc;

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use serde::{Deserialize, Serialize};

use crate::batch::Step;
use crate::frozen::FrozenLayer;
use crate::goodness::{Goodness, Loss, LossParameters, PartialGoodness, loss_and_gradient};
use crate::layer::{ChannelRange, LayerSpec, LayerState, ShapeError, Tensors};
use crate::optimizer::{OptimizerParameters, Update};
use crate::pair::{Pair, PairedRows};

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
pub struct TrainingLayer {
    spec: LayerSpec,
    hyperparameters: Hyperparameters,
    step: Step,
    blocks: Vec<Block>,
}

impl TrainingLayer {
    /// Takes up training at `state`, whose tensors must fit `spec`.
    pub fn new(
        spec: LayerSpec,
        hyperparameters: Hyperparameters,
        state: &LayerState,
    ) -> Result<Self, ShapeError> {
        state.check(&spec.map)?;
        let blocks = spec.blocks().into_iter().map(|channels| Block::new(channels, state)).collect();
        Ok(Self { spec, hyperparameters, step: state.step, blocks })
    }

    /// What is fixed about the layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
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

    /// First half of a step: partial goodness of every pair, (channel blocks, pairs).
    pub fn forward(&mut self, input: &PairedRows) -> PartialGoodness {
        let mut partial = Array2::zeros((self.blocks.len(), input.pairs().len()));
        self.blocks
            .par_iter_mut()
            .zip(partial.axis_iter_mut(Axis(0)).into_par_iter())
            .for_each(|(block, mut partial)| block.forward(input, partial.as_slice_mut().expect("a row")));
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
        self.blocks.par_iter_mut().for_each(|block| block.backward(input, coefficients, &update));
        let report = StepReport { step: self.step, learning_rate: optimizer.learning_rate(self.step), loss };
        self.step = Step(self.step.0 + 1);
        report
    }

    /// A copy of everything that training carries on.
    pub fn state(&self) -> LayerState {
        let gather = |of: fn(&Block) -> &Tensors| {
            let mut whole = Tensors::zeros(&self.spec.map);
            for block in &self.blocks {
                whole.weight.slice_axis_mut(Axis(0), block.channels.slice()).assign(&of(block).weight);
                whole.bias.slice_axis_mut(Axis(0), block.channels.slice()).assign(&of(block).bias);
            }
            whole
        };
        LayerState {
            step: self.step,
            parameters: gather(|block| &block.parameters),
            first_moments: gather(|block| &block.first_moments),
            second_moments: gather(|block| &block.second_moments),
        }
    }

    /// Ends training: from here on the layer only transforms.
    pub fn freeze(self) -> FrozenLayer {
        let parameters = self.state().parameters;
        FrozenLayer::new(self.spec, parameters).expect("the layer's own tensors fit it")
    }
}

/// A layer in training with the frozen layers between its cut point and itself (the pair prefix; empty unless
/// the layer is one of algorithm 1).
pub struct TrainingStage {
    prefix: Vec<Arc<FrozenLayer>>,
    layer: TrainingLayer,
}

impl TrainingStage {
    /// `prefix` starts with the layer that makes the pairs, or is empty when `layer` makes its own.
    pub fn new(prefix: Vec<Arc<FrozenLayer>>, layer: TrainingLayer) -> Self {
        let makes_pairs = prefix.first().map_or(layer.spec(), |first| first.spec()).makes_pairs();
        assert!(makes_pairs, "the layer at the cut point makes the pairs");
        assert_eq!(
            prefix.is_empty(),
            layer.spec().makes_pairs(),
            "only a layer that takes pairs has a prefix"
        );
        Self { prefix, layer }
    }

    /// One step on the activations at the cut point; `rows`, `two_views` and `shifts` as in [`PairedRows::make`].
    pub fn step(&mut self, rows: Array2<f32>, two_views: bool, shifts: &[usize]) -> StepReport {
        let mut input = PairedRows::make(rows, two_views, shifts);
        for layer in &self.prefix {
            input = PairedRows::take(&layer.transform_pairs(&input));
        }
        self.layer.step(&input)
    }

    /// The layer in training.
    pub fn layer(&self) -> &TrainingLayer {
        &self.layer
    }
}

/// The part of a layer that one thread computes at a time.
struct Block {
    channels: ChannelRange,
    parameters: Tensors,
    first_moments: Tensors,
    second_moments: Tensors,
    /// w[c]: the sum of each channel's weights.
    weight_sums: Array1<f32>,
    /// U of every row, then dL/dU: (rows, channels).
    mapped: Array2<f32>,
    /// relu(z) of every pair: (pairs, channels).
    hidden: Array2<f32>,
}

thread_local! {
    /// The weight gradient of the block at hand. Blocks of a layer share it, so that it stays in cache.
    static GRADIENT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Block {
    fn new(channels: ChannelRange, state: &LayerState) -> Self {
        let part = |of: &Tensors| Tensors {
            weight: of.weight.slice_axis(Axis(0), channels.slice()).to_owned(),
            bias: of.bias.slice_axis(Axis(0), channels.slice()).to_owned(),
        };
        let parameters = part(&state.parameters);
        Self {
            channels,
            weight_sums: parameters.weight.sum_axis(Axis(1)),
            parameters,
            first_moments: part(&state.first_moments),
            second_moments: part(&state.second_moments),
            mapped: Array2::zeros((0, 0)),
            hidden: Array2::zeros((0, 0)),
        }
    }

    fn forward(&mut self, input: &PairedRows, partial: &mut [f32]) {
        let (rows, pairs, channels) = (input.rows(), input.pairs(), self.channels.len());
        resize(&mut self.mapped, rows.nrows(), channels);
        resize(&mut self.hidden, pairs.len(), channels);
        general_mat_mul(1.0, &rows, &self.parameters.weight.t(), 0.0, &mut self.mapped);
        let bias = self.parameters.bias.mapv(|b| b * input.bias_factor());
        let constants =
            (self.weight_sums.as_slice().expect("contiguous"), bias.as_slice().expect("contiguous"));
        let mapped = self.mapped.as_slice().expect("contiguous");
        let hidden = self.hidden.as_slice_mut().expect("contiguous");
        for ((pair, hidden), partial) in pairs.iter().zip(hidden.chunks_exact_mut(channels)).zip(partial) {
            let first = &mapped[pair.first * channels..][..channels];
            let second = pair.second.map(|row| &mapped[row * channels..][..channels]);
            *partial = hidden_of_pair(pair, first, second, constants, hidden);
        }
    }

    fn backward(&mut self, input: &PairedRows, coefficients: &[f32], update: &Update) {
        let channels = self.channels.len();
        let mut bias_gradient = vec![0.0_f32; channels];
        let mut sum_gradient = vec![0.0_f32; channels];
        let mapped = self.mapped.as_slice_mut().expect("contiguous");
        let hidden = self.hidden.as_slice().expect("contiguous");
        mapped.fill(0.0);
        for ((pair, hidden), coefficient) in
            input.pairs().iter().zip(hidden.chunks_exact(channels)).zip(coefficients)
        {
            let reach = coefficient * pair.scale;
            for row in [Some(pair.first), pair.second].into_iter().flatten() {
                add_scaled(&mut mapped[row * channels..][..channels], reach, hidden);
            }
            add_scaled(&mut bias_gradient, input.bias_factor() * coefficient, hidden);
            if pair.offset != 0.0 {
                add_scaled(&mut sum_gradient, -coefficient * pair.offset, hidden);
            }
        }
        let weights = self.parameters.weight.dim();
        GRADIENT.with_borrow_mut(|gradient| {
            gradient.resize(gradient.len().max(weights.0 * weights.1), 0.0);
            let mut gradient = ArrayViewMut2::from_shape(weights, &mut gradient[..weights.0 * weights.1])
                .expect("as many elements as weights");
            general_mat_mul(1.0, &self.mapped.t(), &input.rows(), 0.0, &mut gradient);
            self.update(update, gradient.view(), &bias_gradient, &sum_gradient);
        });
    }

    /// `sum_gradient` is dL/dw: it reaches every weight of its channel alike (the rank-one term).
    fn update(
        &mut self,
        update: &Update,
        gradient: ArrayView2<'_, f32>,
        bias_gradient: &[f32],
        sum_gradient: &[f32],
    ) {
        for (channel, (gradient, &shift)) in gradient.outer_iter().zip(sum_gradient).enumerate() {
            self.weight_sums[channel] = update.apply(
                row(&mut self.parameters.weight, channel),
                row(&mut self.first_moments.weight, channel),
                row(&mut self.second_moments.weight, channel),
                gradient.as_slice().expect("contiguous"),
                shift,
            );
        }
        update.apply(
            self.parameters.bias.as_slice_mut().expect("contiguous"),
            self.first_moments.bias.as_slice_mut().expect("contiguous"),
            self.second_moments.bias.as_slice_mut().expect("contiguous"),
            bias_gradient,
            0.0,
        );
    }
}

fn row(array: &mut Array2<f32>, index: usize) -> &mut [f32] {
    array.slice_mut(s![index, ..]).into_slice().expect("rows are contiguous")
}

fn resize(buffer: &mut Array2<f32>, rows: usize, columns: usize) {
    if buffer.dim() != (rows, columns) {
        *buffer = Array2::zeros((rows, columns));
    }
}

/// Writes relu(z) of a pair to `hidden` and returns its sum of squares. `constants`: w and the (doubled) bias.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn hidden_of_pair(
    pair: &Pair,
    first: &[f32],
    second: Option<&[f32]>,
    constants: (&[f32], &[f32]),
    hidden: &mut [f32],
) -> f32 {
    crate::pair::outputs(pair, first, second, constants, hidden);
    let mut lanes = [0.0_f32; 16];
    let mut chunks = hidden.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = value.max(0.0);
            *lane += *value * *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(chunks.into_remainder()) {
        *value = value.max(0.0);
        *lane += *value * *value;
    }
    lanes.iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn add_scaled(to: &mut [f32], factor: f32, from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}
