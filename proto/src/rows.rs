//! Activations on the wire: raw little-endian numbers in single or half precision.

use std::fmt;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::{WireError, wire};

/// Numbers that are converted together: so many stay in the nearest cache.
const TOGETHER: usize = 512;

/// The precision in which activations travel, are kept and are read out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes an element: exact.
    F32,
    /// 2 bytes an element.
    F16,
}

impl Precision {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Appends `values` to `payload`, unless one of them would not be finite there.
    pub fn encode(self, values: &[f32], payload: &mut Vec<u8>) -> Result<(), Unfit> {
        self.check(values)?;
        let start = payload.len();
        payload.resize(start + values.len() * self.bytes(), 0);
        let payload = &mut payload[start..];
        match self {
            Self::F32 => {
                for (bytes, value) in payload.as_chunks_mut().0.iter_mut().zip(values) {
                    *bytes = value.to_le_bytes();
                }
            }
            Self::F16 => {
                let mut halves = [f16::ZERO; TOGETHER];
                let chunks = payload.chunks_mut(TOGETHER * self.bytes());
                for (payload, values) in chunks.zip(values.chunks(TOGETHER)) {
                    let halves = &mut halves[..values.len()];
                    halves.convert_from_f32_slice(values);
                    for (bytes, half) in payload.as_chunks_mut().0.iter_mut().zip(&*halves) {
                        *bytes = half.to_le_bytes();
                    }
                }
            }
        }
        Ok(())
    }

    fn check(self, values: &[f32]) -> Result<(), Unfit> {
        // A loop that may end at each value cannot be vectorised. Without their signs, bits are ordered as numbers are.
        let most = values.iter().fold(0, |most: u32, value| most.max(value.abs().to_bits()));
        if most < self.end().to_bits() {
            return Ok(());
        }
        let unfit = values.iter().copied().find(|value| value.abs().to_bits() >= self.end().to_bits());
        Err(Unfit(unfit.expect("the largest is one")))
    }

    /// The smallest number that is infinite here.
    fn end(self) -> f32 {
        match self {
            Self::F32 => f32::INFINITY,
            // Halfway between the largest number and the next there would be.
            Self::F16 => 65_520.0,
        }
    }

    /// Reads `out.len()` elements from `payload`, which must hold exactly as many.
    pub fn decode(self, payload: &[u8], out: &mut [f32]) {
        assert_eq!(payload.len(), out.len() * self.bytes(), "the payload was checked when it came in");
        match self {
            Self::F32 => {
                for (out, bytes) in out.iter_mut().zip(payload.as_chunks().0) {
                    *out = f32::from_le_bytes(*bytes);
                }
            }
            Self::F16 => {
                let mut halves = [f16::ZERO; TOGETHER];
                let chunks = payload.chunks(TOGETHER * self.bytes());
                for (out, bytes) in out.chunks_mut(TOGETHER).zip(chunks) {
                    let halves = &mut halves[..out.len()];
                    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                        *half = f16::from_le_bytes(*bytes);
                    }
                    halves.convert_to_f32_slice(out);
                }
            }
        }
    }
}

/// A number that would not be finite on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unfit(pub f32);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = self;
        if value.is_finite() {
            write!(f, "{value:e}, and half precision ends at 65504: try wire = \"f32\"")
        } else {
            write!(f, "{value}, which is no finite number: try other data")
        }
    }
}

impl std::error::Error for Unfit {}

/// Half-precision elements, as they stand in `payload`.
pub fn decode_f16(payload: &[u8]) -> Vec<f16> {
    payload.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect()
}

impl From<Precision> for wire::Wire {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
        }
    }
}

impl TryFrom<i32> for Precision {
    type Error = WireError;

    fn try_from(number: i32) -> Result<Self, WireError> {
        match wire::Wire::try_from(number) {
            Ok(wire::Wire::F32) => Ok(Self::F32),
            Ok(wire::Wire::F16) => Ok(Self::F16),
            _ => Err(WireError::new("wire", number, "F32 (1) or F16 (2)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_wire() {
        let values = [0.0, -1.5, 65504.0, 0.25, f32::MIN_POSITIVE];
        for (precision, expected) in
            [(Precision::F32, values), (Precision::F16, [0.0, -1.5, 65504.0, 0.25, 0.0])]
        {
            let mut payload = Vec::new();
            precision.encode(&values, &mut payload).unwrap();
            assert_eq!(payload.len(), values.len() * precision.bytes());
            let mut back = [0.0; 5];
            precision.decode(&payload, &mut back);
            assert_eq!(back.map(f32::to_bits), expected.map(f32::to_bits));
        }
    }

    #[test]
    fn long_rows_are_converted_to_the_end_and_appended() {
        let values: Vec<f32> = (0..2 * TOGETHER + 7).map(|index| 0.25 * index as f32 - 100.0).collect();
        for precision in [Precision::F32, Precision::F16] {
            let mut payload = vec![7; 3];
            precision.encode(&values, &mut payload).unwrap();
            let mut back = vec![0.0; values.len()];
            precision.decode(&payload[3..], &mut back);
            assert_eq!((&payload[..3], back), (&[7; 3][..], values.clone()));
        }
    }

    #[test]
    fn a_number_that_would_not_be_finite_is_refused() {
        let encode = |precision: Precision, value| precision.encode(&[1.0, value, 2.0], &mut Vec::new());
        let largest = 65_519.996;
        for value in [largest, -largest] {
            assert_eq!(encode(Precision::F16, value), Ok(()));
        }
        for value in [65_520.0, -1e6, f32::MAX] {
            assert_eq!(encode(Precision::F16, value), Err(Unfit(value)));
            assert_eq!(encode(Precision::F32, value), Ok(()));
        }
        for precision in [Precision::F16, Precision::F32] {
            assert_eq!(encode(precision, f32::INFINITY), Err(Unfit(f32::INFINITY)));
            assert!(matches!(encode(precision, f32::NAN), Err(Unfit(value)) if value.is_nan()));
        }
        assert!(Unfit(1e6).to_string().contains("1e6, and half precision ends at 65504: try wire = \"f32\""));
    }
}
