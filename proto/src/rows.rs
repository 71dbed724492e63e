//! Activations on the wire: raw little-endian rows in single or half precision.

use bytes::Bytes;
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::{WireError, wire};

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

    /// Appends `values` to `payload`.
    pub fn encode(self, values: &[f32], payload: &mut Vec<u8>) {
        match self {
            Self::F32 => payload.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                payload.extend(halves.iter().flat_map(|value| value.to_le_bytes()));
            }
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
            Self::F16 => decode_f16(payload).convert_to_f32_slice(out),
        }
    }
}

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

/// A message of rows that is known to hold whole rows.
#[derive(Clone, Debug)]
pub struct RowBytes {
    /// How many rows.
    pub rows: usize,
    /// Their bytes.
    pub payload: Bytes,
}

impl RowBytes {
    /// Checks that `message` holds as many rows of `row_bytes` bytes as it says, and no more than `limit`.
    pub fn parse(message: wire::Rows, row_bytes: usize, limit: usize) -> Result<Self, WireError> {
        let rows = message.rows as usize;
        if rows == 0 || rows > limit {
            return Err(WireError::new("rows.rows", rows, format_args!("1 to {limit} rows")));
        }
        if rows.checked_mul(row_bytes) != Some(message.payload.len()) {
            let expected = format_args!("{rows} rows of {row_bytes} bytes").to_string();
            return Err(WireError::new(
                "rows.payload",
                format_args!("{} bytes", message.payload.len()),
                expected,
            ));
        }
        Ok(Self { rows, payload: message.payload })
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
            precision.encode(&values, &mut payload);
            assert_eq!(payload.len(), values.len() * precision.bytes());
            let mut back = [0.0; 5];
            precision.decode(&payload, &mut back);
            assert_eq!(back.map(f32::to_bits), expected.map(f32::to_bits));
        }
    }

    #[test]
    fn a_payload_of_another_length_is_refused() {
        let message = |rows, bytes| wire::Rows { rows, payload: Bytes::from(vec![0; bytes]) };
        assert!(RowBytes::parse(message(2, 16), 8, 10).is_ok());
        let error = RowBytes::parse(message(2, 15), 8, 10).unwrap_err();
        assert_eq!(error.to_string(), "rows.payload: found 15 bytes, expected 2 rows of 8 bytes");
        assert!(RowBytes::parse(message(0, 0), 8, 10).is_err());
        assert!(RowBytes::parse(message(11, 88), 8, 10).is_err());
    }
}
