//! Who of those that answer takes part in a run.

use proto::dial::DialError;

use super::participant::{Worker, kernel};

/// Why a worker does not take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// In words, with the worker's address.
    pub reason: String,
    /// Whether that may pass while the worker runs on.
    pub passing: bool,
}

impl LeftOut {
    /// A worker that may take part the next time.
    pub fn for_now(reason: String) -> Self {
        Self { reason, passing: true }
    }
}

impl From<DialError> for LeftOut {
    fn from(error: DialError) -> Self {
        let passing = !matches!(error, DialError::Version { .. } | DialError::Address { .. });
        Self { reason: error.to_string(), passing }
    }
}

/// What a worker must be like.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The run's name on the workers.
    pub run: String,
    /// BLAS and kernel that the run began with, if it has begun.
    pub kernel: Option<String>,
}

impl Admission {
    /// Whether a worker may take part.
    pub fn check(&self, worker: &Worker) -> Result<(), LeftOut> {
        let busy = &worker.description.training;
        if !busy.is_empty() && *busy != self.run {
            return Err(LeftOut::for_now(format!("{worker} is training for run `{busy}`")));
        }
        let found = kernel(worker);
        match &self.kernel {
            Some(began) if *began != found => {
                let reason = format!(
                    "{worker} computes with {found}, but this run was started with {began}; another kernel gives \
                     other bits: start it with the --blas-kernel of before"
                );
                Err(LeftOut { reason, passing: false })
            }
            _ => Ok(()),
        }
    }
}
