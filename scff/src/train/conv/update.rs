//! The update of a block's parameters.

use std::ops::Deref;

use rayon::prelude::*;

use crate::optimizer::Update;
use crate::train::block::Block;

impl Block {
    /// Updates the parameters with gradients of each channel's weights, of the biases, and of w.
    pub(super) fn update<Row: Deref<Target = [f32]> + Send>(
        &mut self,
        update: &Update,
        weight: impl IndexedParallelIterator<Item = Row>,
        bias: &[f32],
        weight_sums: &[f32],
    ) {
        let fan_in = self.parameters.weight.ncols();
        let standard = "parameters are contiguous";
        self.parameters
            .weight
            .as_slice_mut()
            .expect(standard)
            .par_chunks_exact_mut(fan_in)
            .zip(self.first_moments.weight.as_slice_mut().expect(standard).par_chunks_exact_mut(fan_in))
            .zip(self.second_moments.weight.as_slice_mut().expect(standard).par_chunks_exact_mut(fan_in))
            .zip(self.weight_sums.as_slice_mut().expect(standard))
            .zip(weight)
            .zip(weight_sums)
            .with_min_len(16)
            .for_each(|(((((values, first), second), sum), gradient), &shift)| {
                // dL/dw reaches every weight of its channel alike (the rank-one term).
                *sum = update.apply(values, first, second, &gradient, shift);
            });
        self.update_bias(update, bias);
    }
}
