//! The original Forward-Forward algorithm (G. Hinton, arXiv 2212.13345) on dense layers, with the label in the input.
//!
//! The first numbers of a sample are replaced by its label, one of so many classes. In positive samples it is the right one, in
//! negative ones a wrong one. Each layer reads what the one below passes on, scaled to a mean square of 1, so that nothing
//! but its direction is left; passes on relu(W x + b); and learns on its own, without gradients from above, from
//!
//! mean log(1 + exp(theta - g_pos)) + mean log(1 + exp(g_neg - theta)),   g = mean over units of relu(W x + b)^2
//!
//! A sample is taken for the label with which the layers above the first one have most goodness, or the only one.

use candle_core::{Result, Tensor};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
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
    classes: usize,
    step: Step,
}

impl ForwardForward {
    /// Layers of weights (units, inputs) and biases (units), from the input up, for labels below `classes`.
    pub fn new(layers: &[Tensors], classes: usize) -> Result<Self> {
        let layers = layers.iter().map(Parameters::new).collect::<Result<_>>()?;
        Ok(Self { layers, classes, step: Step(0) })
    }

    /// One step of Adam of every layer, on `samples`, (samples, elements), with their labels and as many wrong ones; returns the
    /// mean loss of the layers.
    pub fn step(
        &mut self,
        samples: ArrayView2<'_, f32>,
        labels: &[u32],
        wrong: &[u32],
        rate: f64,
    ) -> Result<f64> {
        let [positive, negative] = [labels, wrong].map(|labels| self.labelled(samples, labels));
        let both = concatenate(Axis(0), &[positive.view(), negative.view()]).expect("rows of one length");
        let mut rows = matrix(both.view())?;
        let mut total = 0.0;
        for layer in &mut self.layers {
            let passed_on = pass(layer, &rows)?;
            let goodness = goodness(&passed_on)?;
            let count = samples.nrows();
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

    /// The labels that samples, (samples, elements), are taken for.
    pub fn classify(&self, samples: ArrayView2<'_, f32>) -> Result<Vec<u32>> {
        let mut best = vec![(f32::NEG_INFINITY, 0); samples.nrows()];
        for label in 0..self.classes as u32 {
            let labelled = self.labelled(samples, &vec![label; samples.nrows()]);
            let found = self.total_goodness(&matrix(labelled.view())?)?.to_vec1::<f32>()?;
            for (best, goodness) in best.iter_mut().zip(found) {
                if goodness > best.0 {
                    *best = (goodness, label);
                }
            }
        }
        Ok(best.into_iter().map(|(_, label)| label).collect())
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

    /// Samples whose first numbers say a label.
    fn labelled(&self, samples: ArrayView2<'_, f32>, labels: &[u32]) -> Array2<f32> {
        let mut rows = samples.to_owned();
        rows.slice_mut(s![.., ..self.classes]).fill(0.0);
        for (mut row, &label) in rows.outer_iter_mut().zip(labels) {
            row[label as usize] = 1.0;
        }
        rows
    }

    /// The goodness of the layers above the first, or of the only one, added up: (rows).
    fn total_goodness(&self, rows: &Tensor) -> Result<Tensor> {
        let mut rows = rows.clone();
        let mut total = None;
        for (index, layer) in self.layers.iter().enumerate() {
            rows = pass(layer, &rows)?.detach();
            if index > 0 || self.layers.len() == 1 {
                let goodness = goodness(&rows)?;
                total = Some(match total {
                    Some(total) => (goodness + total)?,
                    None => goodness,
                });
            }
        }
        Ok(total.expect("a layer"))
    }
}

/// relu(W x + b) of rows scaled to a mean square of 1.
fn pass(layer: &Parameters, rows: &Tensor) -> Result<Tensor> {
    let length = (rows.sqr()?.mean_keepdim(1)?.sqrt()? + LEAST_LENGTH)?;
    let rows = rows.broadcast_div(&length)?;
    rows.matmul(&layer.get("weight").t()?)?.broadcast_add(layer.get("bias"))?.relu()
}

fn goodness(passed_on: &Tensor) -> Result<Tensor> {
    passed_on.sqr()?.mean(1)
}

/// log(1 + exp(u)), which does not overflow.
fn softplus(values: &Tensor) -> Result<Tensor> {
    values.relu()? + (values.abs()?.neg()?.exp()? + 1.0)?.log()?
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use scff::batch::{Epoch, LayerIndex};
    use scff::layer::{Dense, LayerMap};
    use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};

    use super::*;

    /// Noisy samples of three classes, each of which has some places of its own; three places are left for the label.
    fn samples(per_class: usize, stream: u64) -> (Array2<f32>, Vec<u32>) {
        let mut random = Seed(1).stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(stream));
        let labels: Vec<u32> = (0..3 * per_class).map(|sample| (sample % 3) as u32).collect();
        let mut rows = Array2::from_shape_simple_fn((labels.len(), 15), || symmetric(&mut random, 0.5).abs());
        for (mut row, &label) in rows.outer_iter_mut().zip(&labels) {
            let start = 3 + 4 * label as usize;
            row.slice_mut(s![start..start + 4]).assign(&Array1::from_elem(4, 1.0));
        }
        (rows, labels)
    }

    #[test]
    fn samples_of_no_training_set_are_told_apart_by_goodness() {
        let layer = |index: u32, inputs: usize| {
            let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(index), Epoch(0), Step(0));
            LayerState::initial(&LayerMap::Dense(Dense { inputs, outputs: 40 }), &mut random).parameters
        };
        let mut network = ForwardForward::new(&[layer(0, 15), layer(1, 40)], 3).unwrap();
        let (rows, labels) = samples(30, 0);
        let correct = |network: &ForwardForward| {
            let (rows, labels) = samples(20, 1);
            let found = network.classify(rows.view()).unwrap();
            found.iter().zip(&labels).filter(|(found, label)| found == label).count()
        };
        assert!(correct(&network) < 40);
        for step in 0..150 {
            let wrong: Vec<u32> = labels.iter().map(|label| (label + 1 + step % 2) % 3).collect();
            network.step(rows.view(), &labels, &wrong, 0.01).unwrap();
        }
        assert_eq!(correct(&network), 60);
        assert!(network.layers().unwrap().iter().all(Tensors::is_finite));
    }
}
