//! What units pass on of what they are mapped to.

use candle_core::{Result, Tensor};
use scff::layer::Transmit;

use crate::operation::{OfRows, of_rows};

/// relu(z), or of the triangle relu(z - mean over units of z): (rows, units).
pub fn transmit(how: Transmit, mapped: &Tensor) -> Result<Tensor> {
    let centred = match how {
        Transmit::Triangle => true,
        Transmit::Relu | Transmit::Standardized => false,
    };
    of_rows(Rectifier { units: mapped.dim(1)?, centred }, mapped)
}

struct Rectifier {
    units: usize,
    /// Whether the units' mean is subtracted first.
    centred: bool,
}

impl OfRows for Rectifier {
    const NAME: &'static str = "rectifier";

    fn inputs(&self) -> usize {
        self.units
    }

    fn outputs(&self) -> usize {
        self.units
    }

    fn forward(&self, row: &[f32], out: &mut [f32]) {
        let mean = if self.centred { mean(row) } else { 0.0 };
        for (out, value) in out.iter_mut().zip(row) {
            *out = (value - mean).max(0.0);
        }
    }

    fn backward(&self, _row: &[f32], result: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, result), slope) in out.iter_mut().zip(result).zip(gradient) {
            *out = if *result > 0.0 { *slope } else { 0.0 };
        }
        if self.centred {
            let mean = mean(out);
            for out in out {
                *out -= mean;
            }
        }
    }
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
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
