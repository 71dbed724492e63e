//! Who of those that answer takes part in a run.

use proto::dial::DialError;
use proto::process::KernelChoice;

use super::participant::Worker;
use super::troubles::Troubles;
use crate::kernels::Agreed;

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
        let passing = !matches!(
            error,
            DialError::Version { .. } | DialError::Address { .. } | DialError::Distrust { .. }
        );
        Self { reason: error.to_string(), passing }
    }
}

/// What a worker must be like.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The run's name on the workers.
    pub run: String,
    /// The bits that the run computes with, once that is agreed.
    pub agreed: Option<Agreed>,
    /// The kernel that was asked for.
    pub wanted: KernelChoice,
    /// Whether the kernel in use is all that a worker is asked for.
    pub in_use: bool,
    /// Workers that have failed.
    pub troubles: Troubles,
}

impl Admission {
    /// Whether a worker may take part, as far as it says by itself.
    pub fn check(&self, worker: &Worker) -> Result<(), LeftOut> {
        if worker.description.leaving {
            return Err(LeftOut::for_now(format!("{worker} is about to end")));
        }
        let stuck = worker.description.stuck_seconds;
        if stuck > 0.0 {
            return Err(LeftOut::for_now(format!("{worker} has computed for {stuck:.0} s without an end")));
        }
        if let Some(left) = self.troubles.left(&worker.address) {
            let left = left.as_secs_f64().ceil();
            return Err(LeftOut::for_now(format!("{worker} has failed, and is left out for {left} s")));
        }
        let busy = &worker.description.training;
        if !busy.is_empty() && *busy != self.run {
            return Err(LeftOut::for_now(format!("{worker} is training for run `{busy}`")));
        }
        Ok(())
    }
}
