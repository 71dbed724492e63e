//! A worker that takes part, and what can go wrong with it.

use std::collections::BTreeMap;
use std::fmt;

use proto::address::Address;
use proto::dial::{Client, Connection};
use proto::refusal::{Reason, Refused};
use proto::wire;

use crate::worker_id::WorkerId;

/// A worker that answered.
#[derive(Clone)]
pub struct Worker {
    /// Who it is.
    pub id: WorkerId,
    /// Where it listens.
    pub address: Address,
    /// What it says of itself.
    pub description: wire::WorkerDescription,
    /// The connection.
    pub connection: Connection,
}

impl Worker {
    /// A worker that has just been dialled.
    pub fn new(address: Address, connection: Connection, description: wire::WorkerDescription) -> Self {
        Self { id: WorkerId(description.identity), address, description, connection }
    }

    /// What calls go through.
    pub fn client(&self) -> Client {
        self.connection.client()
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.address)
    }
}

/// A worker of a run.
pub struct Participant {
    /// The worker.
    pub worker: Worker,
    /// Checksums of the layers that it hosts for the run, as far as we hosted them.
    pub hosted: BTreeMap<u32, String>,
}

/// Something went wrong on the side of a worker, or on the way to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("worker {address}: {message}")]
pub struct WorkerFailure {
    /// Which worker is the reason.
    pub id: WorkerId,
    /// Where who says so listens: the same, or one that shares a layer with it.
    pub address: Address,
    /// What kind of failure it is.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// Whether trying again may help: the worker is gone, or forgot what it hosted.
    pub passing: bool,
}

impl WorkerFailure {
    /// What a worker answered instead of what it was asked for.
    pub fn of(worker: &Worker, status: &tonic::Status) -> Self {
        let Refused { reason, passing, message, whose } = worker.connection.refused(status);
        let id = whose.map_or(worker.id, WorkerId);
        Self { id, address: worker.address.clone(), reason, message, passing }
    }

    /// A worker that broke the protocol.
    pub fn protocol(worker: &Worker, message: impl fmt::Display) -> Self {
        let message = format!("broke the protocol: {message}");
        let reason = Reason::Malformed;
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing: false }
    }

    /// A worker whose stream ended too early.
    pub fn gone(worker: &Worker) -> Self {
        let message = "ended the stream".to_owned();
        let reason = Reason::Broken;
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing: true }
    }

    /// A worker that says that it is about to end.
    pub fn closing(worker: &Worker) -> Self {
        let (reason, message) = (Reason::Closing, "is about to end".to_owned());
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing: true }
    }

    /// A worker that does not answer what it was asked for.
    pub fn late(worker: &Worker) -> Self {
        let message = format!("no answer for {} s", worker.connection.silence().duration().as_secs());
        let reason = Reason::Silent;
        Self { id: worker.id, address: worker.address.clone(), reason, message, passing: true }
    }

    /// The same, with what the worker was doing where it does not say so itself.
    #[must_use]
    pub fn during(self, doing: impl fmt::Display) -> Self {
        match self.reason {
            Reason::Silent | Reason::Stuck | Reason::Broken => {
                Self { message: format!("{}, {doing}", self.message), ..self }
            }
            _ => self,
        }
    }
}
