//! What units pass on of what they are mapped to.

use candle_core::{Result, Tensor};
use scff::layer::Transmit;

use crate::operation::{OfRows, of_rows};

/// relu(z), or of the triangle relu(z - mean over units of z): (rows, units).
pub fn transmit(how: Transmit, mapped: &Tensor) -> Result<Tensor> {
    match how {
        Transmit::Triangle => of_rows(Triangle { units: mapped.dim(1)? }, mapped),
        Transmit::Relu | Transmit::Standardized => of_rows(Relu { units: mapped.dim(1)? }, mapped),
    }
}

struct Triangle {
    units: usize,
}

impl OfRows for Triangle {
    const NAME: &'static str = "triangle";

    fn inputs(&self) -> usize {
        self.units
    }

    fn outputs(&self) -> usize {
        self.units
    }

    fn forward(&self, row: &[f32], out: &mut [f32]) {
        let mean = row.iter().sum::<f32>() / self.units as f32;
        for (out, value) in out.iter_mut().zip(row) {
            *out = (value - mean).max(0.0);
        }
    }

    fn backward(&self, _row: &[f32], result: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, result), slope) in out.iter_mut().zip(result).zip(gradient) {
            *out += if *result > 0.0 { *slope } else { 0.0 };
        }
        let mean = out.iter().sum::<f32>() / self.units as f32;
        out.iter_mut().for_each(|out| *out -= mean);
    }
}

struct Relu {
    units: usize,
}

impl OfRows for Relu {
    const NAME: &'static str = "relu";

    fn inputs(&self) -> usize {
        self.units
    }

    fn outputs(&self) -> usize {
        self.units
    }

    fn forward(&self, row: &[f32], out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(row) {
            *out = value.max(0.0);
        }
    }

    fn backward(&self, _row: &[f32], result: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, result), slope) in out.iter_mut().zip(result).zip(gradient) {
            *out += if *result > 0.0 { *slope } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::tests::{check_gradients, distinct};

    #[test]
    fn gradients_are_finite_differences() {
        for how in [Transmit::Triangle, Transmit::Relu] {
            check_gradients(&[distinct(4, 9)], |inputs| transmit(how, &inputs[0]).unwrap());
        }
    }
}
