//! A layer: what it passes on, and what the readout reads of that, as in `scff::frozen`.

use candle_core::{Result, Tensor};
use scff::layer::{LayerMap, LayerSpec, Tensors, Transmit};

use crate::activations::Activations;
use crate::birnn::{states, summarize};
use crate::conv::{pad, patches};
use crate::parameters::Parameters;
use crate::pool::pool;
use crate::standardize::standardize;

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
        let inputs = match &self.spec.map {
            LayerMap::Conv(conv) => {
                let (samples, input, padded) = (rows.dim(0)?, conv.input, conv.padded());
                let maps = rows.reshape((samples, input.height, input.width, input.channels))?;
                let maps = pad(conv, &maps)?.reshape((samples, padded.len()))?;
                let maps = standardize(&maps, copies)?;
                patches(conv, &maps.reshape((samples, padded.height, padded.width, padded.channels))?)?
            }
            _ => standardize(&rows, copies)?,
        };
        let mapped = inputs.matmul(&self.parameters.get("weight").t()?)?;
        let mapped = (mapped.broadcast_add(self.parameters.get("bias"))? * copies as f64)?;
        let activated = match self.spec.transmit {
            Transmit::Triangle => mapped.broadcast_sub(&mapped.mean_keepdim(1)?)?.relu()?,
            Transmit::Relu | Transmit::Standardized => mapped.relu()?,
        };
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
