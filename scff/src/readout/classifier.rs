//! A linear classifier, as a whole or some blocks of it.

use std::convert::Infallible;
use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};

use super::contributions::Contributions;
use super::features::Features;
use crate::batch::{Epoch, Step};
use crate::finite::all_finite;
use crate::layer::{ChannelRange, Tensors};
use crate::optimizer::Update;
use crate::seed::{NO_LAYER, Purpose, Seed, symmetric};

/// Features of one block.
pub const BLOCK: usize = 1024;
/// Samples of one BLAS call when the readout is evaluated.
const ROWS_PER_CALL: usize = 96;
/// Samples whose logits are added up together when it is evaluated: whole calls.
const ROWS_PER_SUM: usize = 32 * ROWS_PER_CALL;

/// Which of the blocks of so many features somebody owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    features: usize,
    own: Range<usize>,
}

impl Blocks {
    /// How many blocks so many features have.
    pub fn count(features: usize) -> usize {
        features.div_ceil(BLOCK)
    }

    /// All of them.
    pub fn all(features: usize) -> Self {
        Self { features, own: 0..Self::count(features) }
    }

    /// Some of them, which may be none.
    ///
    /// # Panics
    ///
    /// Where there are not as many.
    pub fn some(features: usize, own: Range<usize>) -> Self {
        assert!(own.start <= own.end && own.end <= Self::count(features), "blocks of {features} features");
        Self { features, own }
    }

    /// Which ones, counted from the first of all.
    pub fn own(&self) -> Range<usize> {
        self.own.clone()
    }

    /// The features that are theirs.
    pub fn columns(&self) -> ChannelRange {
        let bound = |block: usize| (block * BLOCK).min(self.features);
        ChannelRange { start: bound(self.own.start), end: bound(self.own.end) }
    }

    /// The features of each, counted from the first that is theirs.
    fn ranges(&self) -> impl Iterator<Item = ChannelRange> {
        let width = self.columns().len();
        let starts = (0..width).step_by(BLOCK);
        starts.map(move |start| ChannelRange { start, end: (start + BLOCK).min(width) })
    }
}

/// A linear classifier with its optimiser's state, or some blocks of it: logits = x W^T + b, W of shape (classes, features).
pub struct Readout {
    classes: usize,
    owned: Blocks,
    step: Step,
    blocks: Vec<Block>,
    bias: Array1<f32>,
    bias_moments: (Array1<f32>, Array1<f32>),
}

struct Block {
    /// Of the features that are owned.
    range: ChannelRange,
    weight: Array2<f32>,
    moments: (Array2<f32>, Array2<f32>),
    inputs: Array2<f32>,
}

impl Readout {
    /// A readout before its first step, uniform in +-1/sqrt(features).
    pub fn new(classes: usize, features: usize, seed: Seed) -> Self {
        Self::shard(classes, &Blocks::all(features), seed)
    }

    /// Blocks of it.
    pub fn shard(classes: usize, owned: &Blocks, seed: Seed) -> Self {
        let mut random = seed.stream(Purpose::ReadoutInitialization, NO_LAYER, Epoch(0), Step(0));
        let bound = 1.0 / (owned.features as f32).sqrt();
        let columns = owned.columns();
        let mut weight = Array2::zeros((classes, columns.len()));
        for mut row in weight.outer_iter_mut() {
            // Numbers of blocks that others own are drawn too.
            for feature in 0..owned.features {
                let drawn = symmetric(&mut random, bound);
                if (columns.start..columns.end).contains(&feature) {
                    row[feature - columns.start] = drawn;
                }
            }
        }
        let bias = Array1::from_shape_simple_fn(classes, || symmetric(&mut random, bound));
        Self::of(&Tensors::linear(weight, bias), owned.clone())
    }

    /// A readout of these parameters, with moments of zero.
    pub fn from_parameters(parameters: &Tensors) -> Self {
        Self::of(parameters, Blocks::all(parameters.weight().ncols()))
    }

    /// `parameters`: the weights of the blocks that are owned, and the bias.
    fn of(parameters: &Tensors, owned: Blocks) -> Self {
        let weight = parameters.weight();
        let blocks = owned
            .ranges()
            .map(|range| {
                let weight = weight.slice_axis(Axis(1), range.slice()).as_standard_layout().into_owned();
                let zeros = Array2::zeros(weight.dim());
                Block { range, moments: (zeros.clone(), zeros), weight, inputs: Array2::zeros((0, 0)) }
            })
            .collect();
        let classes = weight.nrows();
        let zeros = Array1::zeros(classes);
        let bias_moments = (zeros.clone(), zeros);
        Self { classes, owned, step: Step(0), blocks, bias: parameters.bias().to_owned(), bias_moments }
    }

    /// Weight (classes, features of the blocks that are owned) and bias (classes).
    pub fn parameters(&self) -> Tensors {
        let weights: Vec<_> = self.blocks.iter().map(|block| block.weight.view()).collect();
        let weight = ndarray::concatenate(Axis(1), &weights).expect("every block has a row for each class");
        Tensors::linear(weight, self.bias.clone())
    }

    /// Whether all parameters are finite.
    pub fn is_finite(&self) -> bool {
        self.blocks.iter().all(|block| all_finite(&block.weight)) && all_finite(&self.bias)
    }

    /// One step of Adam on the mean cross entropy of a batch, where nobody else has blocks; returns that loss.
    ///
    /// `gather` writes a range of the batch's (dropped-out) features to an array of (batch, range).
    pub fn step(
        &mut self,
        labels: &[u32],
        learning_rate: f64,
        gather: impl Fn(ChannelRange, &mut Array2<f32>) + Sync,
    ) -> f64 {
        let contributions = self.begin_step(labels.len(), gather);
        self.end_step(contributions.total(), labels, learning_rate)
    }

    /// Begins a step: what the blocks that are owned contribute to the logits of a batch, (batch * classes).
    ///
    /// `gather` writes a range of the owned features of the batch, dropped out, to an array of (batch, range); the range counts
    /// from the first feature that is owned.
    pub fn begin_step(
        &mut self,
        batch: usize,
        gather: impl Fn(ChannelRange, &mut Array2<f32>) + Sync,
    ) -> Contributions {
        let mut numbers = Array2::zeros((self.blocks.len(), batch * self.classes));
        let classes = self.classes;
        let rows = numbers.axis_iter_mut(Axis(0)).into_par_iter();
        self.blocks.par_iter_mut().zip(rows).for_each(|(block, mut logits)| {
            if block.inputs.nrows() != batch {
                block.inputs = Array2::zeros((batch, block.range.len()));
            }
            gather(block.range, &mut block.inputs);
            let logits = logits.as_slice_mut().expect("contiguous");
            let logits =
                ArrayViewMut2::from_shape((batch, classes), logits).expect("a number for each class");
            product(block.inputs.view(), block.weight.view(), logits);
        });
        self.of_own(numbers)
    }

    /// Ends it, with what all blocks contribute; returns the mean cross entropy.
    pub fn end_step(&mut self, sums: Vec<f32>, labels: &[u32], learning_rate: f64) -> f64 {
        let (loss, gradient) = cross_entropy(self.logits_of(sums), labels);
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

    /// How many of the samples are classified as labelled, in their first view, where nobody else has blocks.
    pub fn correct(&self, features: &Features, labels: &[u32]) -> usize {
        let added_up =
            self.measure(features, labels, |contributions| Ok::<_, Infallible>(contributions.total()));
        added_up.unwrap_or_else(|never| match never {})
    }

    /// The same of features of the blocks that are owned; `add_up` adds up what all blocks contribute.
    pub fn measure<E>(
        &self,
        features: &Features,
        labels: &[u32],
        mut add_up: impl FnMut(&Contributions) -> Result<Vec<f32>, E>,
    ) -> Result<usize, E> {
        assert!(features.samples() >= labels.len(), "features of each labelled sample");
        let mut correct = 0;
        for (index, labels) in labels.chunks(ROWS_PER_SUM).enumerate() {
            let first = index * ROWS_PER_SUM;
            let logits = self.logits_of(add_up(&self.contributions(features, first..first + labels.len()))?);
            let right =
                logits.outer_iter().zip(labels).filter(|(row, label)| largest(*row) == **label as usize);
            correct += right.count();
        }
        Ok(correct)
    }

    /// What the blocks contribute to the logits of some samples, which begin with a whole call.
    fn contributions(&self, features: &Features, samples: Range<usize>) -> Contributions {
        let classes = self.classes;
        let mut numbers = Array2::zeros((self.blocks.len(), samples.len() * classes));
        let calls = numbers.axis_chunks_iter_mut(Axis(1), ROWS_PER_CALL * classes).into_par_iter();
        calls.enumerate().for_each(|(call, mut logits)| {
            let first = samples.start + call * ROWS_PER_CALL;
            let rows = logits.ncols() / classes;
            let mut result = Array2::zeros((ROWS_PER_CALL, classes));
            for (block, mut logits) in self.blocks.iter().zip(logits.outer_iter_mut()) {
                let mut inputs = Array2::zeros((ROWS_PER_CALL, block.range.len()));
                for (row, mut out) in inputs.outer_iter_mut().take(rows).enumerate() {
                    features.read(first + row, block.range, out.as_slice_mut().expect("contiguous"));
                }
                product(inputs.view(), block.weight.view(), result.view_mut());
                logits.iter_mut().zip(&result).for_each(|(logit, value)| *logit = *value);
            }
        });
        self.of_own(numbers)
    }

    /// The logits of samples, (samples, features) to (samples, classes), where nobody else has blocks.
    pub fn logits(&self, inputs: ArrayView2<'_, f32>) -> Array2<f32> {
        assert_eq!(inputs.ncols(), self.owned.features, "as many features as the readout has weights");
        let mut numbers = Array2::zeros((self.blocks.len(), inputs.nrows() * self.classes));
        for (block, mut logits) in self.blocks.iter().zip(numbers.outer_iter_mut()) {
            let logits = logits.as_slice_mut().expect("contiguous");
            let logits = ArrayViewMut2::from_shape((inputs.nrows(), self.classes), logits).expect("as many");
            product(inputs.slice_axis(Axis(1), block.range.slice()), block.weight.view(), logits);
        }
        self.logits_of(self.of_own(numbers).total())
    }

    /// What each of the blocks that are owned contributes, (blocks, samples * classes).
    fn of_own(&self, numbers: Array2<f32>) -> Contributions {
        Contributions::new(Blocks::count(self.owned.features), self.owned.own(), numbers)
    }

    /// (samples, classes), of what all blocks contribute.
    fn logits_of(&self, sums: Vec<f32>) -> Array2<f32> {
        let shape = (sums.len() / self.classes, self.classes);
        Array2::from_shape_vec(shape, sums).expect("a number for each class") + &self.bias
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

/// `inputs` (rows, features) times `weight` (classes, features) transposed, to `result` (rows, classes).
fn product(inputs: ArrayView2<'_, f32>, weight: ArrayView2<'_, f32>, mut result: ArrayViewMut2<'_, f32>) {
    general_mat_mul(1.0, &inputs, &weight.t(), 0.0, &mut result);
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
}
