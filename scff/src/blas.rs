//! The BLAS that the products go to, and how it is held still.
//!
//! OpenBLAS is told to use one thread; this crate cuts products into logical blocks of fixed shape and spreads
//! them over threads of its own. That is as fast, and the same call gives the same bits in every run, however
//! many threads or machines there are. Another kernel gives other bits, so kernels have a name here.

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

const AVX512_KERNELS: [&str; 3] = ["SkylakeX", "Cooperlake", "SapphireRapids"];
const AVX2_KERNELS: [&str; 2] = ["Haswell", "Zen"];

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
    // SAFETY: as in `kernel`.
    let config = unsafe { CStr::from_ptr(openblas_get_config()) }.to_string_lossy().into_owned();
    config.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A kernel that this processor runs at up to twice the rate of the one in use, if there is one.
///
/// That happens where the environment pins an AVX2 kernel, so that machines of different kinds agree, or where the
/// processor is newer than the library and its model unknown to it.
pub fn faster_kernel() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx512 && !AVX512_KERNELS.contains(&kernel().as_str()) {
            return Some("SkylakeX");
        }
    }
    None
}

/// `rows` (rows, inputs) times `weight` (outputs, inputs) transposed, on this thread.
pub(crate) fn product(
    rows: ArrayView2<'_, f32>,
    weight: ArrayView2<'_, f32>,
    out: &mut ArrayViewMut2<'_, f32>,
) {
    general_mat_mul(1.0, &rows, &weight.t(), 0.0, out);
}

/// Rows of a call whose places differ by a multiple of this are computed alike; `None` where nothing is known of the
/// kernel.
///
/// OpenBLAS's AVX-512 kernels treat all rows alike. Its AVX2 kernel sums the last six of every twelve rows in another
/// order, in some channels.
pub(crate) fn row_period() -> Option<usize> {
    static PERIOD: LazyLock<Option<usize>> = LazyLock::new(|| {
        let kernel = kernel();
        if AVX512_KERNELS.contains(&kernel.as_str()) {
            Some(1)
        } else if AVX2_KERNELS.contains(&kernel.as_str()) {
            Some(12)
        } else {
            None
        }
    });
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
    let ((count, inputs), outputs) = (rows.dim(), weight.nrows());
    assert_eq!(inputs, weight.ncols(), "a weight for each input");
    assert_eq!(result.dim(), (count, outputs), "a number for each row and output");
    if row_period() == Some(1) {
        return product(rows, weight, result);
    }
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
