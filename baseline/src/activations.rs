//! Samples as tensors of the library.

use candle_core::{Device, Result, Tensor};
use ndarray::ArrayView2;
use scff::samples::Samples;

/// What a layer reads or passes on.
#[derive(Clone, Debug)]
pub enum Activations {
    /// All of one length: (samples, elements), maps as (height, width, channels).
    Rows(Tensor),
    /// Sequences, one after another and without any padding.
    Sequences {
        /// (frames of all, features).
        frames: Tensor,
        /// Frames of each.
        lengths: Vec<usize>,
    },
}

impl Activations {
    /// The same numbers, of which no gradient is taken.
    pub fn of(samples: &Samples) -> Result<Self> {
        Ok(match samples {
            Samples::Rows(rows) => Self::Rows(matrix(rows.view())?),
            Samples::Sequences(sequences) => Self::Sequences {
                frames: matrix(sequences.frames())?,
                lengths: sequences.lengths().collect(),
            },
        })
    }
}

/// A matrix as a tensor.
pub fn matrix(values: ArrayView2<'_, f32>) -> Result<Tensor> {
    Tensor::from_vec(values.iter().copied().collect(), values.dim(), &Device::Cpu)
}

/// Indices as a tensor.
pub(crate) fn indices(places: impl IntoIterator<Item = usize>) -> Result<Tensor> {
    let places: Vec<u32> = places.into_iter().map(|place| place as u32).collect();
    let count = places.len();
    Tensor::from_vec(places, count, &Device::Cpu)
}
