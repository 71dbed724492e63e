//! Dense layers: z = W x + b, W of shape (outputs, inputs).

use serde::{Deserialize, Serialize};

/// The shape of a dense linear map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dense {
    /// Elements of an input sample.
    pub inputs: usize,
    /// Units.
    pub outputs: usize,
}
