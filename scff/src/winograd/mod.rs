//! Winograd's convolutions, F(4x4, 3x3): kernels of 3x3 with a quarter of the multiplications.
//!
//! The output map is cut into tiles of 4x4, each of which reads 6x6 of the padded map. Of what a tile reads in an input
//! channel, d, the kernel g of that channel, and the tile's outputs y:
//!
//! y = A^T [sum over input channels of (G g G^T) . (B^T d B)] A
//!
//! dL/dg = G^T [sum over tiles of (A dL/dy A^T) . (B^T d B)] G
//!
//! where . multiplies element by element. So each of the 36 elements, a *frequency*, is a matrix product of its own, over all
//! tiles and channels (Lavin and Gray, arXiv 1509.09308). A, B and G evaluate and interpolate polynomials at 0, +-5/8, +-3/2
//! and infinity: over 384 channels U and the gradient are then off by 2e-6 of their size (root mean square), where the usual
//! points 0, +-1, +-2 make it 4e-6, and patches 3e-7.
//!
//! Transforms run along channels, which stand side by side in maps, weights and [`Spectra`] alike. They move far more numbers
//! than they compute, so callers keep what is transformed in cache and on all threads.

mod size;
mod tile;
mod spectra;
mod transform;
mod tiling;
mod chunks;
mod kernels;

pub(crate) use chunks::Chunks;
pub(crate) use kernels::{CHANNELS, evenly, kernels};
pub(crate) use size::{FREQUENCIES, KERNEL, tiles};
pub(crate) use spectra::Spectra;
pub(crate) use tiling::Tiling;
pub(crate) use transform::kernel_gradient;
