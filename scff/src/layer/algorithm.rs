//! How a convolution is computed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::winograd;

/// How the maps and weight gradients of a convolution are computed. It is part of what fixes the bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Patches times weights.
    #[default]
    Direct,
    /// Winograd's F(4x4, 3x3): a quarter of the multiplications, for kernels of 3x3.
    Winograd,
}

impl Algorithm {
    /// Whether a convolution of such a kernel can be computed so.
    pub fn suits(self, kernel: usize) -> bool {
        self.is_direct() || kernel == winograd::KERNEL
    }

    /// Whether it is what a specification that says nothing means.
    pub fn is_direct(&self) -> bool {
        *self == Self::Direct
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Winograd => "winograd",
        })
    }
}
