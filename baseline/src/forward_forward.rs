//! The original Forward-Forward algorithm (G. Hinton, arXiv 2212.13345) on dense layers, without labels (section 3.2).
//!
//! Positive samples are images, negative ones [`hybrids`](crate::hybrids) of two. Each layer reads what the one below passes on,
//! scaled to a mean square of 1, so that nothing but its direction is left; passes on relu(W x + b); and learns on its own,
//! without gradients from above, from
//!
//! mean log(1 + exp(theta - g_pos)) + mean log(1 + exp(g_neg - theta)),   g = mean over units of relu(W x + b)^2
//!
//! What a readout reads is what layers pass on, each layer's scaled likewise.

use candle_core::{Result, Tensor};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use scff::batch::Step;
use scff::layer::{LayerState, Tensors};

use crate::activations::matrix;
use crate::parameters::Parameters;

/// Positive samples are pushed above this goodness and negative ones below.
pub const THETA: f64 = 2.0;
/// Keeps rows that are all zero from being divided by nothing.
const LEAST_LENGTH: f64 = 1e-8;

/// A network of dense layers.
pub struct ForwardForward {
    layers: Vec<Parameters>,
    step: Step,
}

impl ForwardForward {
    /// Layers of weights (units, inputs) and biases (units), from the input up.
    pub fn new(layers: &[Tensors]) -> Result<Self> {
        let layers = layers.iter().map(Parameters::new).collect::<Result<_>>()?;
        Ok(Self { layers, step: Step(0) })
    }

    /// One step of Adam of every layer, on positive and as many negative samples, both (samples, elements); returns the mean loss
    /// of the layers.
    pub fn step(
        &mut self,
        positive: ArrayView2<'_, f32>,
        negative: ArrayView2<'_, f32>,
        rate: f64,
    ) -> Result<f64> {
        let count = positive.nrows();
        let both = concatenate(Axis(0), &[positive, negative]).expect("rows of one length");
        let mut rows = matrix(both.view())?;
        let mut total = 0.0;
        for layer in &mut self.layers {
            let passed_on = pass(layer, &rows)?;
            let goodness = passed_on.sqr()?.mean(1)?;
            let positive = (THETA - goodness.narrow(0, 0, count)?)?;
            let negative = (goodness.narrow(0, count, count)? - THETA)?;
            let loss = (softplus(&positive)?.mean_all()? + softplus(&negative)?.mean_all()?)?;
            layer.update(&loss.backward()?, rate, 0.0, self.step)?;
            total += f64::from(loss.to_scalar::<f32>()?);
            rows = passed_on.detach();
        }
        self.step = Step(self.step.0 + 1);
        Ok(total / self.layers.len() as f64)
    }

    /// What a readout reads of `samples`, (samples, elements): of each layer for which `taps` says so, side by side, what it passes
    /// on, scaled to a mean square of 1.
    pub fn features(&self, samples: ArrayView2<'_, f32>, taps: &[bool]) -> Result<Array2<f32>> {
        let mut rows = matrix(samples)?;
        let mut read = Vec::new();
        for (layer, &tapped) in self.layers.iter().zip(taps) {
            rows = pass(layer, &rows)?.detach();
            if tapped {
                read.push(scaled(&rows)?);
            }
        }
        let read = Tensor::cat(&read, 1)?;
        let shape = read.dims2()?;
        Ok(Array2::from_shape_vec(shape, read.flatten_all()?.to_vec1()?).expect("as many numbers"))
    }

    /// What the layers have learnt, from the input up.
    pub fn layers(&self) -> Result<Vec<Tensors>> {
        self.layers.iter().map(Parameters::tensors).collect()
    }

    /// What each layer carries from one step to the next.
    pub fn states(&self) -> Result<Vec<LayerState>> {
        self.layers.iter().map(|layer| layer.state(self.step)).collect()
    }

    /// Goes on from what [`Self::states`] gave.
    ///
    /// # Panics
    ///
    /// Where there are more or fewer of them.
    pub fn restore(&mut self, states: &[LayerState]) -> Result<()> {
        assert_eq!(states.len(), self.layers.len(), "a state for each layer");
        self.layers = states.iter().map(Parameters::of_state).collect::<Result<_>>()?;
        self.step = states[0].step;
        Ok(())
    }
}

/// relu(W x + b) of rows scaled to a mean square of 1.
fn pass(layer: &Parameters, rows: &Tensor) -> Result<Tensor> {
    scaled(rows)?.matmul(&layer.get("weight").t()?)?.broadcast_add(layer.get("bias"))?.relu()
}

fn scaled(rows: &Tensor) -> Result<Tensor> {
    rows.broadcast_div(&(rows.sqr()?.mean_keepdim(1)?.sqrt()? + LEAST_LENGTH)?)
}

/// log(1 + exp(u)), which does not overflow.
fn softplus(values: &Tensor) -> Result<Tensor> {
    values.relu()? + (values.abs()?.neg()?.exp()? + 1.0)?.log()?
}

#[cfg(test)]
mod tests {
    use scff::batch::{Epoch, LayerIndex};
    use scff::layer::{Dense, LayerMap};
    use scff::seed::{NO_LAYER, Purpose, Seed, below, symmetric};

    use super::*;
    use crate::hybrids::{hybrid, mask};

    const SIDE: usize = 8;

    /// Noisy images, (SIDE, SIDE), each with one bright bar, as long as the image is wide; and hybrids of neighbours.
    fn images(count: usize, stream: u64) -> (Array2<f32>, Array2<f32>) {
        let mut random = Seed(1).stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(stream));
        let mut images =
            Array2::from_shape_simple_fn((count, SIDE * SIDE), || symmetric(&mut random, 0.2).abs());
        for mut image in images.outer_iter_mut() {
            let line = below(&mut random, SIDE as u32) as usize;
            let upright = below(&mut random, 2) == 0;
            for step in 0..SIDE {
                image[if upright { step * SIDE + line } else { line * SIDE + step }] = 1.0;
            }
        }
        let mut hybrids = images.clone();
        for (index, mut out) in hybrids.outer_iter_mut().enumerate() {
            let row = |index: usize| images.row(index % count).to_slice().expect("contiguous");
            let mask = mask(SIDE, SIDE, &mut random);
            hybrid(&mask, row(index), row(index + 1), out.as_slice_mut().expect("contiguous"));
        }
        (images, hybrids)
    }

    /// Mean goodness of samples in the last layer.
    fn goodness(network: &ForwardForward, samples: &Array2<f32>) -> f32 {
        let mut rows = matrix(samples.view()).unwrap();
        for layer in &network.layers {
            rows = pass(layer, &rows).unwrap();
        }
        rows.sqr().unwrap().mean_all().unwrap().to_scalar().unwrap()
    }

    #[test]
    fn images_and_hybrids_that_were_not_learnt_from_are_told_apart_by_goodness() {
        let layer = |index: u32, inputs: usize| {
            let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(index), Epoch(0), Step(0));
            LayerState::initial(&LayerMap::Dense(Dense { inputs, outputs: 60 }), &mut random).parameters
        };
        let mut network = ForwardForward::new(&[layer(0, SIDE * SIDE), layer(1, 60)]).unwrap();
        let (images_unseen, hybrids_unseen) = images(200, 0);
        let first = network.features(images_unseen.view(), &[true, false]).unwrap();
        for step in 1..400 {
            let (positive, negative) = images(100, step);
            network.step(positive.view(), negative.view(), 0.003).unwrap();
        }
        let (positive, negative) = (goodness(&network, &images_unseen), goodness(&network, &hybrids_unseen));
        assert!(f64::from(positive) > THETA && f64::from(negative) < THETA, "{positive} {negative}");
        assert!(network.layers().unwrap().iter().all(Tensors::is_finite));
        let features = network.features(images_unseen.view(), &[true, true]).unwrap();
        assert_eq!((first.dim(), features.dim()), ((200, 60), (200, 120)));
        for row in features.outer_iter() {
            for layer in [row.slice(ndarray::s![..60]), row.slice(ndarray::s![60..])] {
                let square = layer.mapv(|value| value * value).mean().unwrap();
                assert!((square - 1.0).abs() < 1e-4, "{square}");
            }
        }
    }
}
