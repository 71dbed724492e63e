//! Whether numbers are finite, at the speed at which memory is read.

use ndarray::{ArrayRef, Dimension};

/// Numbers that are looked at before the answer is: a loop that may end at each of them cannot be vectorised.
const TOGETHER: usize = 4096;

/// Whether all numbers of an array are finite.
pub(crate) fn all_finite<D: Dimension>(array: &ArrayRef<f32, D>) -> bool {
    let finite = |values: &[f32]| values.iter().fold(true, |all, value| all & value.is_finite());
    match array.as_slice_memory_order() {
        Some(values) => values.chunks(TOGETHER).all(finite),
        None => array.iter().all(|value| value.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_stands() {
        let finite = Array2::from_elem((3, 5000), f32::MAX);
        assert!(all_finite(&finite));
        for (place, value) in
            [(0, f32::NAN), (4095, f32::INFINITY), (4096, f32::NEG_INFINITY), (14_999, f32::NAN)]
        {
            let mut array = finite.clone();
            array.as_slice_mut().unwrap()[place] = value;
            assert!(!all_finite(&array) && !all_finite(&array.t()), "{value} at {place}");
        }
    }
}
