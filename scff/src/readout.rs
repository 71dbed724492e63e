//! The readout: dropout, a linear classifier, cross entropy and Adam, on features computed once.
//!
//! Features are cut into blocks of fixed width, each computed by one thread; the blocks' contributions to the
//! logits are added in order, so the number of threads does not show in the result.

use half::f16;
use half::slice::HalfFloatSliceExt;
use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::batch::{Epoch, LayerIndex, Step};
use crate::finite::all_finite;
use crate::layer::{ChannelRange, Tensors};
use crate::optimizer::Update;
use crate::seed::{NO_LAYER, Purpose, Seed, below, permutation, symmetric};

/// Features of one block.
const BLOCK: usize = 1024;
/// Samples of one BLAS call when the readout is evaluated.
const ROWS_PER_CALL: usize = 96;

/// How the readout is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadoutSpec {
    /// Adam's learning rate in the first epoch; it halves as the epochs pass ([`halvings`]).
    pub learning_rate: f64,
    /// Samples of a batch.
    pub batch: usize,
    /// Epochs.
    pub epochs: u32,
    /// Probability that a feature is dropped in a training step.
    pub dropout: f32,
}

/// Features of many samples, (samples, features), in the precision in which they came over the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Features {
    /// Single precision.
    F32(Array2<f32>),
    /// Half precision.
    F16(Array2<f16>),
}

impl Features {
    /// Samples.
    pub fn samples(&self) -> usize {
        match self {
            Self::F32(array) => array.nrows(),
            Self::F16(array) => array.nrows(),
        }
    }

    /// Features of each sample.
    pub fn width(&self) -> usize {
        match self {
            Self::F32(array) => array.ncols(),
            Self::F16(array) => array.ncols(),
        }
    }

    /// All of them in single precision.
    #[must_use]
    pub fn into_single(self) -> Array2<f32> {
        match self {
            Self::F32(array) => array,
            Self::F16(array) => array.mapv(f16::to_f32),
        }
    }

    /// Writes a range of one sample's features to `out`.
    pub fn read(&self, sample: usize, range: ChannelRange, out: &mut [f32]) {
        let range = s![sample, range.start..range.end];
        match self {
            Self::F32(array) => out.copy_from_slice(array.slice(range).to_slice().expect("contiguous")),
            Self::F16(array) => {
                array.slice(range).to_slice().expect("contiguous").convert_to_f32_slice(out);
            }
        }
    }
}

/// How often the learning rate has halved in `epoch` (counted from 0) of `epochs`: once for each of 20, 35, 50,
/// 60, 70, 80 and 90 % of all epochs that has been reached. Halvings that would come before the first epoch, where there
/// are few, are left out: that one always runs at the full rate.
pub fn halvings(epoch: Epoch, epochs: u32) -> u32 {
    let at = |percent: u64| u64::from(epochs) * percent / 100;
    [20, 35, 50, 60, 70, 80, 90].into_iter().filter(|&p| (1..=u64::from(epoch.0)).contains(&at(p))).count()
        as u32
}

/// A readout that does not learn: its loss or its weights are no numbers any more.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the readout's loss or weights are not finite any more in epoch {}, at a learning rate of {learning_rate:?}",
    epoch.0 + 1
)]
pub struct NotFinite {
    /// The epoch, counted from 0.
    pub epoch: Epoch,
    /// The learning rate in that epoch.
    pub learning_rate: f64,
}

/// A linear classifier with its optimiser's state: logits = x W^T + b, W of shape (classes, features).
pub struct Readout {
    classes: usize,
    features: usize,
    step: Step,
    blocks: Vec<Block>,
    bias: Array1<f32>,
    bias_moments: (Array1<f32>, Array1<f32>),
}

struct Block {
    range: ChannelRange,
    weight: Array2<f32>,
    moments: (Array2<f32>, Array2<f32>),
    inputs: Array2<f32>,
}

impl Readout {
    /// A readout before its first step, uniform in +-1/sqrt(features).
    pub fn new(classes: usize, features: usize, seed: Seed) -> Self {
        let mut random = seed.stream(Purpose::ReadoutInitialization, NO_LAYER, Epoch(0), Step(0));
        let bound = 1.0 / (features as f32).sqrt();
        let weight = Array2::from_shape_simple_fn((classes, features), || symmetric(&mut random, bound));
        let bias = Array1::from_shape_simple_fn(classes, || symmetric(&mut random, bound));
        Self::from_parameters(&Tensors::linear(weight, bias))
    }

    /// A readout of these parameters, with moments of zero.
    pub fn from_parameters(parameters: &Tensors) -> Self {
        let weight = parameters.weight();
        let (classes, features) = weight.dim();
        let blocks = (0..features)
            .step_by(BLOCK)
            .map(|start| ChannelRange { start, end: (start + BLOCK).min(features) })
            .map(|range| {
                let weight = weight.slice_axis(Axis(1), range.slice()).as_standard_layout().into_owned();
                let zeros = Array2::zeros(weight.dim());
                Block { range, moments: (zeros.clone(), zeros), weight, inputs: Array2::zeros((0, 0)) }
            })
            .collect();
        let zeros = Array1::zeros(classes);
        let bias_moments = (zeros.clone(), zeros);
        Self { classes, features, step: Step(0), blocks, bias: parameters.bias().to_owned(), bias_moments }
    }

    /// Weight (classes, features) and bias (classes).
    pub fn parameters(&self) -> Tensors {
        let weights: Vec<_> = self.blocks.iter().map(|block| block.weight.view()).collect();
        let weight = ndarray::concatenate(Axis(1), &weights).expect("every block has a row for each class");
        Tensors::linear(weight, self.bias.clone())
    }

    /// Whether all parameters are finite.
    pub fn is_finite(&self) -> bool {
        self.blocks.iter().all(|block| all_finite(&block.weight)) && all_finite(&self.bias)
    }

    /// One step of Adam on the mean cross entropy of a batch; returns that loss.
    ///
    /// `gather` writes a range of the batch's (dropped-out) features to an array of (batch, range).
    pub fn step(
        &mut self,
        labels: &[u32],
        learning_rate: f64,
        gather: impl Fn(ChannelRange, &mut Array2<f32>) + Sync,
    ) -> f64 {
        let batch = labels.len();
        let parts: Vec<Array2<f32>> = self
            .blocks
            .par_iter_mut()
            .map(|block| {
                if block.inputs.nrows() != batch {
                    block.inputs = Array2::zeros((batch, block.range.len()));
                }
                gather(block.range, &mut block.inputs);
                product(block.inputs.view(), block.weight.view())
            })
            .collect();
        let (loss, gradient) = cross_entropy(self.add_up(&parts), labels);
        let update = Update::new(learning_rate, 0.0, self.step);
        self.blocks.par_iter_mut().for_each(|block| block.update(&gradient, &update));
        let bias_gradient = gradient.sum_axis(Axis(0));
        let slices = (&mut self.bias, &mut self.bias_moments.0, &mut self.bias_moments.1);
        update.apply(
            slice(slices.0),
            slice(slices.1),
            slice(slices.2),
            bias_gradient.as_slice().expect("fresh"),
            0.0,
        );
        self.step = Step(self.step.0 + 1);
        loss
    }

    /// How many of the samples are classified as labelled, in their first view.
    pub fn correct(&self, features: &Features, labels: &[u32]) -> usize {
        assert!(features.samples() >= labels.len(), "features of each labelled sample");
        (0..labels.len())
            .into_par_iter()
            .step_by(ROWS_PER_CALL)
            .map(|start| {
                let rows = ROWS_PER_CALL.min(labels.len() - start);
                let parts: Vec<_> = self
                    .blocks
                    .iter()
                    .map(|block| {
                        let mut inputs = Array2::zeros((ROWS_PER_CALL, block.range.len()));
                        for (row, mut out) in inputs.outer_iter_mut().take(rows).enumerate() {
                            features.read(start + row, block.range, out.as_slice_mut().expect("contiguous"));
                        }
                        product(inputs.view(), block.weight.view())
                    })
                    .collect();
                let logits = self.add_up(&parts);
                let labels = &labels[start..start + rows];
                logits
                    .outer_iter()
                    .zip(labels)
                    .filter(|(logits, label)| largest(*logits) == **label as usize)
                    .count()
            })
            .sum()
    }

    /// The logits of samples, (samples, features) to (samples, classes).
    pub fn logits(&self, inputs: ArrayView2<'_, f32>) -> Array2<f32> {
        assert_eq!(inputs.ncols(), self.features, "as many features as the readout has weights");
        let parts: Vec<_> = self
            .blocks
            .iter()
            .map(|block| product(inputs.slice_axis(Axis(1), block.range.slice()), block.weight.view()))
            .collect();
        self.add_up(&parts)
    }

    fn add_up(&self, parts: &[Array2<f32>]) -> Array2<f32> {
        let rows = parts.first().map_or(0, Array2::nrows);
        let mut logits = self.bias.broadcast((rows, self.classes)).expect("a bias for each class").to_owned();
        for part in parts {
            logits += part;
        }
        logits
    }
}

impl Block {
    /// `gradient`: dL/dlogits, (batch, classes).
    fn update(&mut self, gradient: &Array2<f32>, update: &Update) {
        let gradient = gradient.t().dot(&self.inputs);
        let values = (&mut self.weight, &mut self.moments.0, &mut self.moments.1);
        update.apply(
            values.0.as_slice_mut().expect("contiguous"),
            values.1.as_slice_mut().expect("contiguous"),
            values.2.as_slice_mut().expect("contiguous"),
            gradient.as_standard_layout().as_slice().expect("standard layout"),
            0.0,
        );
    }
}

/// Trains a readout on the features of every view of every sample, (views * samples, features), all samples of a view
/// together; `on_epoch` hears of every epoch's mean loss.
///
/// Each sample is met once an epoch, in a view drawn at random. Errors as soon as the loss or a weight is not finite.
pub fn train(
    features: &Features,
    labels: &[u32],
    classes: usize,
    spec: &ReadoutSpec,
    seed: Seed,
    mut on_epoch: impl FnMut(Epoch, f64),
) -> Result<Readout, NotFinite> {
    let views = features.samples() / labels.len().max(1);
    assert_eq!(features.samples(), views * labels.len(), "as many views of each labelled sample");
    let mut readout = Readout::new(classes, features.width(), seed);
    for epoch in (0..spec.epochs).map(Epoch) {
        let rate = spec.learning_rate / f64::from(1_u32 << halvings(epoch, spec.epochs));
        let not_finite = NotFinite { epoch, learning_rate: rate };
        let mut random = seed.stream(Purpose::ReadoutOrder, NO_LAYER, epoch, Step(0));
        let order = permutation(&mut random, labels.len() as u32);
        let mut total = 0.0;
        for (step, indices) in order.chunks(spec.batch).enumerate() {
            let step = Step(step as u64);
            let mut random = seed.stream(Purpose::ReadoutViews, NO_LAYER, epoch, step);
            let mut view = || if views > 1 { below(&mut random, views as u32) as usize } else { 0 };
            let rows: Vec<usize> =
                indices.iter().map(|&index| view() * labels.len() + index as usize).collect();
            let labels: Vec<u32> = indices.iter().map(|&index| labels[index as usize]).collect();
            let dropout = Dropout { seed, epoch, step, probability: spec.dropout };
            let loss = readout.step(&labels, rate, |range, inputs| {
                for (&row, mut input) in rows.iter().zip(inputs.outer_iter_mut()) {
                    features.read(row, range, input.as_slice_mut().expect("contiguous"));
                }
                dropout.apply(range, inputs);
            });
            if !loss.is_finite() {
                return Err(not_finite);
            }
            total += loss * indices.len() as f64;
        }
        if !readout.is_finite() {
            return Err(not_finite);
        }
        on_epoch(epoch, total / labels.len() as f64);
    }
    Ok(readout)
}

/// The dropout mask of one step.
struct Dropout {
    seed: Seed,
    epoch: Epoch,
    step: Step,
    probability: f32,
}

impl Dropout {
    /// Drops each feature with the given probability (to 1/65536) and scales the others by 1 / (1 - p).
    fn apply(&self, range: ChannelRange, inputs: &mut Array2<f32>) {
        if self.probability == 0.0 {
            return;
        }
        let stream = LayerIndex(range.start as u32);
        let mut random = self.seed.stream(Purpose::Dropout, stream, self.epoch, self.step);
        let threshold = (self.probability * 65536.0).round() as u16;
        let scale = 1.0 / (1.0 - self.probability);
        let mut bytes = vec![0_u8; 2 * inputs.ncols()];
        for mut row in inputs.outer_iter_mut() {
            random.fill_bytes(&mut bytes);
            drop_below(threshold, scale, bytes.as_chunks().0, row.as_slice_mut().expect("contiguous"));
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2+fma"))]
fn drop_below(threshold: u16, scale: f32, draws: &[[u8; 2]], values: &mut [f32]) {
    for (value, draw) in values.iter_mut().zip(draws) {
        *value *= if u16::from_le_bytes(*draw) >= threshold { scale } else { 0.0 };
    }
}

/// Mean cross entropy of a batch and dL/dlogits, (batch, classes).
fn cross_entropy(mut logits: Array2<f32>, labels: &[u32]) -> (f64, Array2<f32>) {
    let batch = labels.len() as f64;
    let mut loss = 0.0;
    for (mut row, &label) in logits.outer_iter_mut().zip(labels) {
        let largest = f64::from(row[largest(row.view())]);
        let total: f64 = row.iter().map(|&logit| libm::exp(f64::from(logit) - largest)).sum();
        loss += (libm::log(total) + largest - f64::from(row[label as usize])) / batch;
        for (class, logit) in row.iter_mut().enumerate() {
            let target = if class == label as usize { 1.0 } else { 0.0 };
            *logit = ((libm::exp(f64::from(*logit) - largest) / total - target) / batch) as f32;
        }
    }
    (loss, logits)
}

/// The probabilities of classes that logits (samples, classes) say: softmax, row by row.
#[must_use]
pub fn probabilities(mut logits: Array2<f32>) -> Array2<f32> {
    for mut row in logits.outer_iter_mut() {
        let largest = f64::from(row[largest(row.view())]);
        let total: f64 = row.iter().map(|&logit| libm::exp(f64::from(logit) - largest)).sum();
        row.mapv_inplace(|logit| (libm::exp(f64::from(logit) - largest) / total) as f32);
    }
    logits
}

/// The place of the largest value; of several, the first.
pub fn largest(values: ArrayView1<'_, f32>) -> usize {
    values.iter().enumerate().fold(0, |best, (index, value)| if *value > values[best] { index } else { best })
}

/// `inputs` (rows, features) times `weight` (classes, features) transposed.
fn product(inputs: ArrayView2<'_, f32>, weight: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut result = Array2::zeros((inputs.nrows(), weight.nrows()));
    general_mat_mul(1.0, &inputs, &weight.t(), 0.0, &mut result);
    result
}

fn slice(array: &mut Array1<f32>) -> &mut [f32] {
    array.as_slice_mut().expect("contiguous")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn the_gradients_match_pytorch() {
        let fixture = Fixture::open("readout");
        let labels: Vec<u32> = fixture.values("in.labels").into_iter().map(|label| label as u32).collect();
        let inputs = fixture.matrix("in.x");
        let dropped =
            &inputs * fixture.matrix("in.keep_mask") / (1.0 - fixture.number("hp.dropout_p") as f32);
        for (prefix, inputs) in [("", &inputs), ("drop.", &dropped)] {
            let parameters = Tensors::linear(fixture.matrix("in.W"), fixture.vector("in.b"));
            let mut readout = Readout::from_parameters(&parameters);
            readout.step(&labels, 0.001, |range, out| {
                out.assign(&inputs.slice_axis(Axis(1), range.slice()));
            });
            // m = .1 G after the first step
            fixture.check(&format!("{prefix}grad.W"), &(&readout.blocks[0].moments.0 * 10.0));
            fixture.check(&format!("{prefix}grad.b"), &(&readout.bias_moments.0 * 10.0));
        }
        fixture.assert_complete(|name| name.contains("grad."));
    }

    #[test]
    fn probabilities_are_those_of_the_cross_entropy() {
        let logits = ndarray::array![[1.0, -2.0, 0.5], [1000.0, 999.0, -1000.0]];
        let found = probabilities(logits.clone());
        for (logits, found) in logits.outer_iter().zip(found.outer_iter()) {
            assert!((found.sum() - 1.0).abs() < 1e-6);
            for label in 0..3 {
                let (loss, _) = cross_entropy(logits.to_owned().insert_axis(Axis(0)), &[label as u32]);
                assert!((f64::from(found[label]) - (-loss).exp()).abs() < 1e-6, "{found}");
            }
        }
    }

    #[test]
    fn the_first_epoch_runs_at_the_full_rate_however_few_there_are() {
        for epochs in 1..=200 {
            assert_eq!(halvings(Epoch(0), epochs), 0, "{epochs} epochs");
        }
        let rates = |epochs| (0..epochs).map(|epoch| 1 << halvings(Epoch(epoch), epochs)).collect::<Vec<_>>();
        assert_eq!(rates(2), [1, 32]);
        assert_eq!(rates(4), [1, 2, 16, 64]);
        assert_eq!(rates(10), [1, 1, 2, 4, 4, 8, 16, 32, 64, 128]);
    }

    #[test]
    fn the_rate_halves_where_it_did_when_the_results_were_recorded() {
        for (epochs, expected) in [
            (30, [6, 10, 15, 18, 21, 24, 27]),
            (50, [10, 17, 25, 30, 35, 40, 45]),
            (100, [20, 35, 50, 60, 70, 80, 90]),
        ] {
            let halves = |&epoch: &u32| halvings(Epoch(epoch), epochs) > halvings(Epoch(epoch - 1), epochs);
            assert_eq!((1..epochs).filter(halves).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_readout_that_runs_away_is_an_error_with_epoch_and_rate() {
        let features = Features::F32(Array2::from_shape_fn((40, 3), |(i, j)| (i * (j + 1) % 7) as f32 - 3.0));
        let labels: Vec<u32> = (0..40).map(|index| index % 2).collect();
        let train = |learning_rate| {
            let spec = ReadoutSpec { learning_rate, batch: 10, epochs: 3, dropout: 0.0 };
            train(&features, &labels, 2, &spec, Seed(1), |_, _| {})
        };
        assert!(train(0.01).unwrap().is_finite());
        let error = train(1e38).err().expect("no readout");
        assert_eq!(error, NotFinite { epoch: Epoch(0), learning_rate: 1e38 });
        assert!(
            error.to_string().contains("not finite any more in epoch 1, at a learning rate of 1e38"),
            "{error}"
        );
    }

    #[test]
    fn dropout_drops_the_given_share_and_keeps_the_mean() {
        let dropout = Dropout { seed: Seed(1), epoch: Epoch(2), step: Step(3), probability: 0.2 };
        let mut inputs = Array2::from_elem((64, 1024), 1.0);
        dropout.apply(ChannelRange { start: 0, end: 1024 }, &mut inputs);
        let dropped = inputs.iter().filter(|&&value| value == 0.0).count() as f64 / 65536.0;
        // Five standard deviations: 5 * sqrt(0.2 * 0.8 / 65536) = 0.008.
        assert!((dropped - 0.2).abs() < 0.008, "{dropped}");
        assert!(inputs.iter().all(|&value| value == 0.0 || (value - 1.25).abs() < 1e-6));
    }

    #[test]
    fn half_precision_features_read_as_the_numbers_they_hold() {
        let array = Array2::from_shape_fn((3, 40), |(sample, feature)| sample as f32 - feature as f32 / 8.0);
        let features = Features::F16(array.mapv(f16::from_f32));
        let mut out = vec![0.0; 30];
        features.read(2, ChannelRange { start: 5, end: 35 }, &mut out);
        assert_eq!(out, array.slice(s![2, 5..35]).to_vec());
    }
}
