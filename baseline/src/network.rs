//! Layers with their readout, trained together by back-propagation.

use candle_core::{Device, Result, Tensor};
use rand_chacha::rand_core::Rng;
use scff::batch::{Epoch, Step};
use scff::layer::{LayerSpec, LayerState, Tensors};
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, Seed};

use crate::activations::Activations;
use crate::layer::Layer;
use crate::parameters::Parameters;

/// A network that can be differentiated: layers, of which the readout reads some.
pub struct Network {
    layers: Vec<Layer>,
    taps: Vec<bool>,
    readout: Parameters,
    step: Step,
}

/// How one step learns.
#[derive(Clone, Copy, Debug)]
pub struct Learning {
    /// Adam's learning rate.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Probability that a feature is dropped.
    pub dropout: f32,
    /// What random numbers follow from.
    pub seed: Seed,
}

impl Network {
    /// A network of these layers, from the input up; `taps`: of each, whether the readout reads it. The readout has weights
    /// of (classes, features) and biases of (classes).
    pub fn new(
        layers: impl IntoIterator<Item = (LayerSpec, Tensors)>,
        taps: Vec<bool>,
        readout: &Tensors,
    ) -> Result<Self> {
        let layers = layers.into_iter().map(|(spec, tensors)| Layer::new(spec, &tensors));
        let layers: Vec<Layer> = layers.collect::<Result<_>>()?;
        assert_eq!(layers.len(), taps.len(), "one tap for each layer");
        Ok(Self { layers, taps, readout: Parameters::new(readout)?, step: Step(0) })
    }

    /// What the readout reads: (samples, features).
    pub fn features(&self, samples: &Samples) -> Result<Tensor> {
        let mut activations = Activations::of(samples)?;
        let mut parts = Vec::new();
        for (layer, &tapped) in self.layers.iter().zip(&self.taps) {
            activations = layer.pass(&activations)?;
            if tapped {
                parts.push(layer.features(&activations)?);
            }
        }
        Tensor::cat(&parts, 1)
    }

    /// The logits of features: (samples, classes).
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        features.matmul(&self.readout.get("weight").t()?)?.broadcast_add(self.readout.get("bias"))
    }

    /// One step of AdamW on the mean cross entropy of a batch, of all layers and the readout; returns that loss.
    pub fn step(&mut self, samples: &Samples, labels: &[u32], learning: &Learning) -> Result<f64> {
        let features = dropped(&self.features(samples)?, learning, self.step)?;
        let loss = cross_entropy(&self.logits(&features)?, labels)?;
        let gradients = loss.backward()?;
        let layers = self.layers.iter_mut().map(|layer| &mut layer.parameters);
        for parameters in layers.chain([&mut self.readout]) {
            parameters.update(&gradients, learning.rate, learning.weight_decay, self.step)?;
        }
        self.step = Step(self.step.0 + 1);
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    /// What the layers have learnt, from the input up.
    pub fn layers(&self) -> Result<Vec<(LayerSpec, Tensors)>> {
        self.layers.iter().map(|layer| Ok((layer.spec().clone(), layer.parameters.tensors()?))).collect()
    }

    /// What the readout has learnt.
    pub fn readout(&self) -> Result<Tensors> {
        self.readout.tensors()
    }

    /// What is carried from one step to the next: of each layer, from the input up, and of the readout.
    pub fn states(&self) -> Result<Vec<LayerState>> {
        let layers = self.layers.iter().map(|layer| &layer.parameters);
        layers.chain([&self.readout]).map(|parameters| parameters.state(self.step)).collect()
    }

    /// Goes on from what [`Self::states`] gave.
    ///
    /// # Panics
    ///
    /// Where there are more or fewer of them.
    pub fn restore(&mut self, states: &[LayerState]) -> Result<()> {
        assert_eq!(states.len(), self.layers.len() + 1, "a state for each layer and for the readout");
        let layers = self.layers.iter_mut().map(|layer| &mut layer.parameters);
        for (parameters, state) in layers.chain([&mut self.readout]).zip(states) {
            *parameters = Parameters::of_state(state)?;
            self.step = state.step;
        }
        Ok(())
    }
}

/// Drops features (to 1/65536 of the probability) and scales the others by 1 / (1 - p).
fn dropped(features: &Tensor, learning: &Learning, step: Step) -> Result<Tensor> {
    let Learning { dropout, seed, .. } = *learning;
    if dropout == 0.0 {
        return Ok(features.clone());
    }
    let mut random = seed.stream(Purpose::Dropout, NO_LAYER, Epoch(0), step);
    let mut bytes = vec![0; 2 * features.elem_count()];
    random.fill_bytes(&mut bytes);
    let threshold = (dropout * 65536.0).round() as u16;
    let scale =
        |draw: &[u8; 2]| if u16::from_le_bytes(*draw) >= threshold { 1.0 / (1.0 - dropout) } else { 0.0 };
    let mask: Vec<f32> = bytes.as_chunks().0.iter().map(scale).collect();
    features * Tensor::from_vec(mask, features.shape(), &Device::Cpu)?
}

/// Mean cross entropy of logits, (samples, classes).
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let labels = Tensor::from_slice(labels, (labels.len(), 1), &Device::Cpu)?;
    (logits.log_sum_exp(1)? - logits.gather(&labels, 1)?.squeeze(1)?)?.mean_all()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use scff::batch::LayerIndex;
    use scff::layer::{
        Algorithm, BiRnn, Conv, LayerMap, LayerState, MapShape, PairSource, Pool, PoolKind, SequencePadding,
        Summary, Transmit,
    };
    use scff::readout::Readout;
    use scff::seed::symmetric;
    use scff::sequences::Sequences;

    use super::*;

    const SEED: Seed = Seed(3);
    const LABELS: [u32; 6] = [0, 1, 2, 0, 1, 2];

    fn numbers(rows: usize, columns: usize) -> Array2<f32> {
        let mut random = SEED.stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(0));
        Array2::from_shape_simple_fn((rows, columns), || symmetric(&mut random, 1.0))
    }

    fn network(spec: LayerSpec) -> Network {
        let mut random = SEED.stream(Purpose::Initialization, LayerIndex(0), Epoch(0), Step(0));
        let tensors = LayerState::initial(&spec.map, &mut random).parameters;
        let readout = Readout::new(3, spec.features(), SEED).parameters();
        Network::new([(spec, tensors)], vec![true], &readout).unwrap()
    }

    fn convolutional() -> (Network, Samples) {
        let input = MapShape { height: 7, width: 6, channels: 2 };
        let spec = LayerSpec {
            name: "conv".to_owned(),
            map: LayerMap::Conv(Conv {
                input,
                channels: 8,
                kernel: 3,
                padding: 1,
                algorithm: Algorithm::Direct,
            }),
            pairs: PairSource::Makes,
            transmit: Transmit::Triangle,
            pool: Some(Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 }),
            readout_pool: Some(Pool { kind: PoolKind::Average, size: 2, stride: 2, padding: 0 }),
            block: 8,
        };
        (network(spec), numbers(LABELS.len(), input.len()).into())
    }

    fn recurrent() -> (Network, Samples) {
        let lengths = [5, 1, 8, 3, 5, 2];
        let input = MapShape { height: 8, width: 1, channels: 4 };
        let map = BiRnn { input, hidden: 12, padding: SequencePadding::Masked, summary: Summary::Thirds };
        let spec = LayerSpec {
            name: "birnn".to_owned(),
            map: LayerMap::BiRnn(map),
            pairs: PairSource::Makes,
            transmit: Transmit::Standardized,
            pool: None,
            readout_pool: None,
            block: 12,
        };
        (network(spec), Sequences::new(numbers(lengths.iter().sum(), 4), lengths).into())
    }

    fn loss(network: &Network, samples: &Samples) -> Tensor {
        cross_entropy(&network.logits(&network.features(samples).unwrap()).unwrap(), &LABELS).unwrap()
    }

    /// Along the gradient the loss grows by the gradient's square.
    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        for (network, samples) in [convolutional(), recurrent()] {
            let gradients = loss(&network, &samples).backward().unwrap();
            let all: Vec<_> = network.layers[0].parameters.variables().collect();
            let square: f32 = all
                .iter()
                .map(|variable| gradients.get(variable).unwrap().sqr().unwrap().sum_all().unwrap())
                .map(|sum| sum.to_scalar::<f32>().unwrap())
                .sum();
            let step = 1e-3_f64 / f64::from(square).sqrt();
            let moved = |by: f64| {
                for variable in &all {
                    let change = (gradients.get(variable).unwrap() * by).unwrap();
                    variable.set(&(variable.as_tensor() + change).unwrap()).unwrap();
                }
                f64::from(loss(&network, &samples).to_scalar::<f32>().unwrap())
            };
            let (up, down) = (moved(step), moved(-2.0 * step));
            let slope = (up - down) / (2.0 * step);
            assert!((slope / f64::from(square) - 1.0).abs() < 0.02, "{slope}, not {square}");
        }
    }

    #[test]
    fn a_restored_network_goes_on_to_the_bit() {
        let learning = Learning { rate: 0.01, weight_decay: 0.01, dropout: 0.1, seed: SEED };
        let (mut network, samples) = recurrent();
        let steps = |network: &mut Network| {
            for _ in 0..3 {
                network.step(&samples, &LABELS, &learning).unwrap();
            }
            network.states().unwrap()
        };
        let half_way = steps(&mut network);
        let (mut restored, _) = recurrent();
        restored.restore(&half_way).unwrap();
        assert_eq!(steps(&mut restored), steps(&mut network));
    }

    #[test]
    fn networks_learn_their_samples_by_heart() {
        let learning = Learning { rate: 0.01, weight_decay: 0.0, dropout: 0.1, seed: SEED };
        for (mut network, samples) in [convolutional(), recurrent()] {
            for _ in 0..60 {
                network.step(&samples, &LABELS, &learning).unwrap();
            }
            let left = loss(&network, &samples).to_scalar::<f32>().unwrap();
            assert!(left < 0.05, "{left}");
        }
    }
}
