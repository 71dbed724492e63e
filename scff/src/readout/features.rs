//! What a readout reads.

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, s};

use crate::layer::ChannelRange;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_features_read_as_the_numbers_they_hold() {
        let array = Array2::from_shape_fn((3, 40), |(sample, feature)| sample as f32 - feature as f32 / 8.0);
        let features = Features::F16(array.mapv(f16::from_f32));
        let mut out = vec![0.0; 30];
        features.read(2, ChannelRange { start: 5, end: 35 }, &mut out);
        assert_eq!(out, array.slice(s![2, 5..35]).to_vec());
    }
}
