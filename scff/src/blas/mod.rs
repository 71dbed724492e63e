//! The BLAS that the products go to, and how it is held still.
//!
//! OpenBLAS is told to use one thread; this crate cuts products into logical blocks of fixed shape and spreads
//! them over threads of its own. That is as fast, and the same call gives the same bits in every run, however
//! many threads or machines there are. Another kernel gives other bits, so kernels have a name here.

pub mod kernels;
pub mod self_test;

use std::ffi::{CStr, c_char, c_int};
use std::sync::LazyLock;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

extern crate openblas_src as _;

unsafe extern "C" {
    fn openblas_set_num_threads(threads: c_int);
    fn openblas_get_corename() -> *const c_char;
    fn openblas_get_config() -> *const c_char;
}

/// The environment variable in which OpenBLAS reads, when it is loaded, which kernel to use.
pub const KERNEL_VARIABLE: &str = "OPENBLAS_CORETYPE";

/// Restricts every later BLAS call of this process to its calling thread. Call it once, first thing.
pub fn use_one_thread_per_call() {
    // SAFETY: a plain C function that takes an integer by value.
    unsafe { openblas_set_num_threads(1) }
}

/// The name of the kernel in use, such as `SkylakeX` or `Haswell`.
pub fn kernel() -> String {
    // SAFETY: OpenBLAS returns a pointer to a constant string that ends with a zero byte.
    unsafe { CStr::from_ptr(openblas_get_corename()) }.to_string_lossy().into_owned()
}

/// Library and version, such as `OpenBLAS 0.3.21`.
pub fn version() -> String {
    configuration().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Library, version and how it was built, as it says itself.
pub fn configuration() -> String {
    // SAFETY: as in `kernel`.
    unsafe { CStr::from_ptr(openblas_get_config()) }.to_string_lossy().into_owned()
}

/// A kernel that this processor runs at up to twice the rate of the one in use, if there is one.
///
/// That happens where the environment pins an AVX2 kernel, or where the processor is newer than the library and its model
/// unknown to it.
pub fn faster_kernel() -> Option<&'static str> {
    // The first of each width of registers that every library has, and how far those reach that are about as fast.
    const WIDTHS: [(&str, &str); 2] = [("SkylakeX", "SkylakeX"), ("Haswell", "Zen")];
    let (runnable, place) = (kernels::runnable(), kernels::place(&kernel()));
    let faster = |(first, last): (&'static str, &str)| {
        (runnable.contains(&first) && kernels::place(last) < place).then_some(first)
    };
    WIDTHS.into_iter().find_map(faster)
}

/// `rows` (rows, inputs) times `weight` (outputs, inputs) transposed, on this thread.
pub(crate) fn product(
    rows: ArrayView2<'_, f32>,
    weight: ArrayView2<'_, f32>,
    out: &mut ArrayViewMut2<'_, f32>,
) {
    general_mat_mul(1.0, &rows, &weight.t(), 0.0, out);
}

/// See [`kernels::row_period`], of the kernel in use.
pub(crate) fn row_period() -> Option<usize> {
    static PERIOD: LazyLock<Option<usize>> = LazyLock::new(|| kernels::row_period(&kernel()));
    *PERIOD
}

/// `rows` (samples, inputs) times `weight` (outputs, inputs) transposed, each row with the same bits wherever in
/// a call of as many rows it stands.
///
/// Where BLAS does not do that (see [`row_period`]), `matrixmultiply` computes the product: it treats all rows alike by
/// construction.
pub(crate) fn product_row_by_row(
    rows: ArrayView2<'_, f32>,
    weight: ArrayView2<'_, f32>,
    result: &mut ArrayViewMut2<'_, f32>,
) {
    if row_period() == Some(1) {
        return product(rows, weight, result);
    }
    product_without_blas(rows, weight, result);
}

/// The same by `matrixmultiply`.
fn product_without_blas(
    rows: ArrayView2<'_, f32>,
    weight: ArrayView2<'_, f32>,
    result: &mut ArrayViewMut2<'_, f32>,
) {
    let ((count, inputs), outputs) = (rows.dim(), weight.nrows());
    assert_eq!(inputs, weight.ncols(), "a weight for each input");
    assert_eq!(result.dim(), (count, outputs), "a number for each row and output");
    let strides = |array: &ArrayView2<'_, f32>| (array.strides()[0], array.strides()[1]);
    let ((row, input), (output, weight_input)) = (strides(&rows), strides(&weight));
    // SAFETY: pointers and strides are those of arrays of (count, inputs), (outputs, inputs) and
    // (count, outputs); the result is borrowed mutably and by nobody else.
    unsafe {
        matrixmultiply::sgemm(
            count,
            inputs,
            outputs,
            1.0,
            rows.as_ptr(),
            row,
            input,
            weight.as_ptr(),
            weight_input,
            output,
            0.0,
            result.as_mut_ptr(),
            result.strides()[0],
            result.strides()[1],
        );
    }
}
