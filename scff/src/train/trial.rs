//! The products of a training step on numbers of their own, for whoever measures how fast a machine is.

use ndarray::Array2;
use ndarray::linalg::general_mat_mul;

use crate::blas::product;
use crate::layer::{Algorithm, Conv, LayerMap, LayerSpec, Tiles};
use crate::train::conv::rows_of_a_call;
use crate::train::sharing::{SAMPLE_PARTS, Sharing};
use crate::winograd::{CHANNELS, Chunks, FREQUENCIES, Tiling, evenly};

/// A call of more rows is no faster.
const ROWS: usize = 2048;
/// Pairs that a recurrent layer walks together.
const PAIRS: usize = 64;
/// Rows, channels and fan-in of a usual product.
const USUAL: usize = 384;
/// Weights of more blocks lie beyond the caches as well.
const WEIGHTS: usize = 4 << 20;

/// One call forward and one for the weight gradient, of one channel block after the other: what one of the threads does
/// that share a layer's blocks.
pub struct ProductTrial {
    /// (rows of a call, fan-in).
    rows: Array2<f32>,
    /// Of each of the thread's blocks, (channels of a block, fan-in), or, where samples are shared, (fan-in, channels).
    weights: Vec<Array2<f32>>,
    /// Whose turn it is.
    next: usize,
    /// (rows of a call, channels of a block).
    mapped: Array2<f32>,
    /// As the weights.
    gradient: Array2<f32>,
    sharing: Sharing,
}

impl ProductTrial {
    /// In the shapes that a step of a layer has which maps `rows` rows on so many threads.
    pub fn new(spec: &LayerSpec, sharing: Sharing, rows: usize, threads: usize) -> Self {
        if let (Sharing::Samples, LayerMap::Conv(conv)) = (sharing, &spec.map) {
            let tall = rows_of_a_call(conv).min(conv.output().positions());
            return Self::of_shape((tall, conv.channels, conv.fan_in()), 1, sharing);
        }
        let block = spec.blocks()[0].len();
        // Products end where a sample part does.
        let rows = if sharing == Sharing::Grid { rows.div_ceil(SAMPLE_PARTS) } else { rows };
        let tall = match &spec.map {
            LayerMap::Dense(_) => rows,
            LayerMap::BiRnn(_) => rows.min(PAIRS),
            LayerMap::Conv(conv) if conv.algorithm == Algorithm::Winograd => {
                return Self::of_frequencies(conv, rows, block, threads);
            }
            LayerMap::Conv(conv) => {
                let samples = Tiles::new(conv, rows).tiles().map(|tile| tile.len()).max().unwrap_or(1);
                samples * conv.output().positions()
            }
        };
        Self::of_shape((tall, block, spec.map.fan_in()), spec.blocks().len().div_ceil(threads), sharing)
    }

    /// In a shape that shows what a processor can do, for whoever knows of no layer yet.
    pub fn usual() -> Self {
        Self::of_shape((USUAL, USUAL, USUAL), 1, Sharing::Channels)
    }

    /// The same of Winograd's algorithm: of each set of channels, one call for each frequency.
    fn of_frequencies(conv: &Conv, rows: usize, block: usize, threads: usize) -> Self {
        let tiling = Tiling::new(conv);
        let tall = Chunks::new(&tiling, rows).iter().map(|samples| samples.len()).max().unwrap_or(1);
        let tall = tall * tiling.count();
        let set = evenly(conv.channels / block, CHANNELS / block).map(|set| set.len()).max().unwrap_or(1);
        let sets = conv.channels.div_ceil(set * block).div_ceil(threads);
        Self::of_shape((tall, set * block, conv.input.channels), sets * FREQUENCIES, Sharing::Channels)
    }

    /// So many rows, channels and weights of each; of so many blocks.
    fn of_shape((tall, channels, fan_in): (usize, usize, usize), blocks: usize, sharing: Sharing) -> Self {
        let tall = tall.clamp(1, ROWS);
        let numbers = |rows, columns| Array2::from_elem((rows, columns), 0.5);
        let blocks = blocks.min(WEIGHTS / (channels * fan_in)).max(1);
        let weight = match sharing {
            Sharing::Channels | Sharing::Grid => numbers(channels, fan_in),
            Sharing::Samples => numbers(fan_in, channels),
        };
        Self {
            rows: numbers(tall, fan_in),
            gradient: weight.clone(),
            weights: vec![weight; blocks],
            next: 0,
            mapped: numbers(tall, channels),
            sharing,
        }
    }

    /// Floating-point operations of a run: two for each multiply-add.
    pub fn operations(&self) -> u64 {
        4 * (self.rows.len() * self.mapped.ncols()) as u64
    }

    /// Computes both products of the next block, on this thread.
    pub fn run(&mut self) {
        let weight = &self.weights[self.next];
        self.next = (self.next + 1) % self.weights.len();
        match self.sharing {
            Sharing::Channels | Sharing::Grid => {
                product(self.rows.view(), weight.view(), &mut self.mapped.view_mut());
                general_mat_mul(1.0, &self.mapped.t(), &self.rows, 0.0, &mut self.gradient);
            }
            Sharing::Samples => {
                general_mat_mul(1.0, &self.rows, weight, 0.0, &mut self.mapped);
                general_mat_mul(1.0, &self.rows.t(), &self.mapped, 1.0, &mut self.gradient);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Dense, MapShape, PairSource, Transmit};

    fn trial(map: LayerMap, block: usize) -> ProductTrial {
        let spec = LayerSpec {
            name: "layer".into(),
            map,
            pairs: PairSource::Makes,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block,
        };
        ProductTrial::new(&spec, Sharing::Channels, 100, 2)
    }

    #[test]
    fn a_trial_has_the_shapes_of_a_step() {
        let dense = trial(LayerMap::Dense(Dense { inputs: 784, outputs: 2000 }), 200);
        assert_eq!((dense.operations(), dense.weights.len()), (4 * 100 * 784 * 200, 5));
        // 100 samples of 64 positions in 14 tiles.
        let input = MapShape { height: 8, width: 8, channels: 384 };
        let mut conv = trial(
            LayerMap::Conv(Conv {
                input,
                channels: 1536,
                kernel: 3,
                padding: 1,
                algorithm: Algorithm::Direct,
            }),
            384,
        );
        assert_eq!(conv.operations(), 4 * (8 * 64) * (9 * 384) * 384);
        conv.run();
        assert!((conv.mapped[(0, 0)] - 0.25 * 9.0 * 384.0).abs() < 1e-3);
        // Four tiles a sample, in one chunk; sets of two blocks, a set for each frequency and thread.
        let conv = Conv { input, channels: 1536, kernel: 3, padding: 1, algorithm: Algorithm::Winograd };
        let winograd = trial(LayerMap::Conv(conv), 96);
        assert_eq!(winograd.operations(), 4 * 400 * 384 * 192);
        assert_eq!(winograd.weights.len(), 56);
    }
}
