//! Why a request is not served.

use proto::WireError;
use proto::state::StateError;
use scff::layer::ShapeError;
use tonic::{Code, Status};

use crate::run::RunName;

/// Longer messages are cut: they travel in a header, and may quote the peer.
const MESSAGE_BYTES: usize = 2000;

/// Why a request is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A field does not say what it should.
    #[error(transparent)]
    Field(#[from] WireError),
    /// The bytes of a layer or of a state are not what they should be.
    #[error("{field}: {problem}")]
    Bytes {
        /// What they are of.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A layer is needed that is not here.
    #[error("run `{run}`: layer {layer} is not hosted on this worker")]
    NotHosted {
        /// The run.
        run: RunName,
        /// The first layer that is missing.
        layer: u32,
    },
    /// Two hosted layers do not fit together.
    #[error("run `{run}`: layer {layer} takes {inputs} elements, but the layer below passes on {outputs}")]
    Unchained {
        /// The run.
        run: RunName,
        /// The upper layer.
        layer: u32,
        /// What it takes.
        inputs: usize,
        /// What it would get.
        outputs: usize,
    },
    /// Another run has the worker.
    #[error("this worker is training layer {layer} of run `{run}`; it serves one run at a time")]
    Busy {
        /// The other run.
        run: RunName,
        /// Its layer in training.
        layer: u32,
    },
    /// A worker further down the group's chain failed.
    #[error("worker {address}, which shares the layer: {message}")]
    Below {
        /// Where it listens.
        address: String,
        /// What it says.
        message: String,
        /// Whether trying again may help.
        passing: bool,
    },
    /// The rest of the group has ended.
    #[error("the group that shares the layer has ended")]
    Deserted,
    /// The machine is too small.
    #[error("{what} needs {needed} bytes, but this worker has {available}")]
    Memory {
        /// What was asked for.
        what: &'static str,
        /// How much it takes.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// The same run began another attempt.
    #[error("another attempt of the same run has taken over")]
    Preempted,
    /// The worker is about to end.
    #[error("this worker is shutting down")]
    Closing,
    /// A bug of ours, caught.
    #[error("the computation failed: {0}")]
    Panicked(String),
    /// The stream itself failed.
    #[error(transparent)]
    Stream(#[from] Status),
}

impl Refusal {
    /// Bytes of `field` that cannot be decoded.
    pub fn undecodable(field: &'static str) -> impl Fn(StateError) -> Self {
        move |error| Self::Bytes { field, problem: error.to_string() }
    }

    /// What the worker below answered instead of what it was asked for.
    pub fn below(address: &str, status: &Status) -> Self {
        let passing =
            !matches!(status.code(), Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange);
        Self::Below { address: address.to_owned(), message: status.message().to_owned(), passing }
    }

    /// Tensors of `field` that do not fit their layer.
    pub fn misshapen(field: &'static str) -> impl Fn(ShapeError) -> Self {
        move |error| Self::Bytes { field, problem: error.to_string() }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::Stream(status) = refusal {
            return status;
        }
        let mut message = refusal.to_string();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        match refusal {
            Refusal::Field(_) | Refusal::Bytes { .. } | Refusal::Below { passing: false, .. } => {
                Self::invalid_argument(message)
            }
            Refusal::NotHosted { .. } | Refusal::Unchained { .. } | Refusal::Busy { .. } => {
                Self::failed_precondition(message)
            }
            Refusal::Memory { .. } => Self::resource_exhausted(message),
            Refusal::Preempted => Self::aborted(message),
            Refusal::Closing | Refusal::Below { .. } | Refusal::Deserted => Self::unavailable(message),
            Refusal::Panicked(_) => Self::internal(message),
            Refusal::Stream(status) => status,
        }
    }
}
