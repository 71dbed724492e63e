//! The language between Strata's processes, and the one place where wire types become domain types.
//!
//! [`wire`] is what the protobuf compiler makes of `strata/worker.proto`. The other modules parse its messages
//! into values that need no further checks, or refuse them with an error that names the field.

pub mod address;
pub mod batch;
pub mod dial;
mod http;
pub mod kernels;
pub mod layer;
pub mod limits;
pub mod logs;
pub mod machine;
pub mod observe;
pub mod output;
pub mod probe;
pub mod process;
pub mod refusal;
pub mod row_bytes;
pub mod rows;
pub mod self_test;
pub mod signals;
pub mod silence;
pub mod state;
pub mod stream;
pub mod tls;
pub mod tls_args;

/// The generated messages, client and server.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod wire {
    tonic::include_proto!("strata.v1");
}

/// Both ends must speak the same version; it changes whenever the messages or their meaning do.
pub const PROTOCOL_VERSION: u32 = 14;

/// A message that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub struct WireError {
    /// The message's field.
    pub field: &'static str,
    /// What it holds.
    pub found: String,
    /// What it may hold.
    pub expected: String,
}

impl WireError {
    /// An error about `field`.
    pub fn new(field: &'static str, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Self {
        Self { field, found: found.to_string(), expected: expected.to_string() }
    }
}

/// The field of a message that must be there.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::new(field, "nothing", "a value"))
}
