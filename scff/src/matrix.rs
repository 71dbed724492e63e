//! Plain numbers seen as matrices.

use ndarray::{ArrayView2, ArrayViewMut2};

/// (rows, `columns`)
pub(crate) fn matrix(numbers: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}

/// The same, to be written.
pub(crate) fn matrix_mut(numbers: &mut [f32], columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}
