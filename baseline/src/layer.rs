//! A layer: what it passes on, and what the readout reads of that, as in `scff::frozen`.

use candle_core::{Result, Tensor};
use scff::layer::{LayerMap, LayerSpec, Tensors};

use crate::activations::Activations;
use crate::birnn::{states, summarize};
use crate::conv::{convolve, pad};
use crate::parameters::Parameters;
use crate::pool::pool;
use crate::standardize::standardize;
use crate::transmission::transmit;

/// A layer that can be differentiated.
pub struct Layer {
    spec: LayerSpec,
    /// What it learns.
    pub parameters: Parameters,
}

impl Layer {
    /// A layer of these parameters, which fit `spec`.
    pub fn new(spec: LayerSpec, tensors: &Tensors) -> Result<Self> {
        Ok(Self { spec, parameters: Parameters::new(tensors)? })
    }

    /// What is fixed about the layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// How often a sample is seen at once: a layer that makes pairs sees a sample as the pair (i, i).
    fn copies(&self) -> usize {
        if self.spec.makes_pairs() { 2 } else { 1 }
    }

    /// What the layer passes on.
    pub fn pass(&self, input: &Activations) -> Result<Activations> {
        match (&self.spec.map, input) {
            (LayerMap::BiRnn(birnn), Activations::Sequences { frames, lengths }) => {
                let frames = states(birnn, &self.parameters, frames, lengths, self.copies())?;
                Ok(Activations::Sequences { frames, lengths: lengths.clone() })
            }
            (LayerMap::Dense(_) | LayerMap::Conv(_), Activations::Rows(rows)) => {
                Ok(Activations::Rows(self.pass_rows(rows)?))
            }
            _ => panic!("a layer of another kind of samples"),
        }
    }

    /// (samples, elements) to (samples, elements).
    fn pass_rows(&self, rows: &Tensor) -> Result<Tensor> {
        let copies = self.copies();
        let rows = if self.spec.makes_pairs() { standardize(rows, 1)? } else { rows.clone() };
        // Copies of a sample are mapped alike.
        let (weight, bias) = (self.parameters.get("weight"), self.parameters.get("bias"));
        let (weight, bias) = ((weight * copies as f64)?, (bias * copies as f64)?);
        let mapped = match &self.spec.map {
            LayerMap::Conv(conv) => {
                convolve(conv, &standardize(&pad(conv, &rows)?, copies)?, &weight, &bias)?
            }
            _ => standardize(&rows, copies)?.matmul(&weight.t()?)?.broadcast_add(&bias)?,
        };
        let activated = transmit(self.spec.transmit, &mapped)?;
        let shape = self.spec.map.output();
        let activated = activated.reshape(((), shape.len()))?;
        match &self.spec.pool {
            Some(of) => pool(of, shape, &activated),
            None => Ok(activated),
        }
    }

    /// What the readout reads of what the layer passes on: (samples, features).
    pub fn features(&self, passed_on: &Activations) -> Result<Tensor> {
        match (&self.spec.map, passed_on) {
            (LayerMap::BiRnn(birnn), Activations::Sequences { frames, lengths }) => {
                summarize(birnn, frames, lengths)
            }
            (_, Activations::Rows(rows)) => {
                let rows = match &self.spec.readout_pool {
                    Some(of) => pool(of, self.spec.output(), rows)?,
                    None => rows.clone(),
                };
                standardize(&rows, 1)
            }
            _ => panic!("a layer of another kind of samples"),
        }
    }
}
