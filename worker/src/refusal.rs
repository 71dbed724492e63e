//! Why a request is not served.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use proto::refusal::{Reason, Refused, printable};
use proto::rows::Unfit;
use proto::state::StateError;
use proto::{WireError, wire};
use scff::layer::{RowLength, ShapeError};
use tonic::{Code, Status};

use crate::party::Shared;
use crate::run::RunName;

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
    /// A call was made, and nothing came.
    #[error("it said nothing for {} s, expected {expected}", waited.as_secs())]
    Late {
        /// How long was waited.
        waited: Duration,
        /// What for.
        expected: &'static str,
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
    #[error("run `{run}`: layer {layer} takes {inputs}, but the layer below passes on {outputs}")]
    Unchained {
        /// The run.
        run: RunName,
        /// The upper layer.
        layer: u32,
        /// What it takes.
        inputs: RowLength,
        /// What it would get.
        outputs: RowLength,
    },
    /// Another run has the worker.
    #[error("this worker is training layer {layer} of run `{run}`; it serves one run at a time")]
    Busy {
        /// The other run.
        run: RunName,
        /// Its layer in training.
        layer: u32,
    },
    /// Samples of a run pass through.
    #[error("samples of run `{run}` are passing through this worker")]
    Passing {
        /// The run.
        run: RunName,
    },
    /// There is no such kernel.
    #[error("this worker has no BLAS kernel `{name}`; it has {offered}")]
    NoKernel {
        /// What was asked for.
        name: String,
        /// What there is.
        offered: String,
    },
    /// Another worker that shares the layer, or trains the one below or above, failed: as it says itself, or the one above it in the
    /// chain.
    #[error("worker {address}, which {relation}: {refused}")]
    Sharer {
        /// What it does.
        relation: Relation,
        /// Where it listens.
        address: String,
        /// The number that it describes itself with.
        identity: u64,
        /// What it says.
        refused: Refused,
    },
    /// What another worker should send does not come, or it does not take what is sent. Whoever knows why is heard first.
    #[error("worker {address}, which {relation}: {refused}")]
    Unheard {
        /// What it does.
        relation: Relation,
        /// Where it listens.
        address: String,
        /// The number that it describes itself with.
        identity: u64,
        /// What was heard instead.
        refused: Refused,
    },
    /// Somebody calls for a layer whom no session expects.
    #[error("run `{run}`: nobody here expects who calls for layer {layer}")]
    Uninvited {
        /// The run.
        run: RunName,
        /// The layer; of a readout, how many are below it.
        layer: u32,
    },
    /// Nobody is left of the rest of the group, or of those who train another layer.
    #[error("nobody who {0} is there any more")]
    Deserted(Relation),
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
    /// Training has diverged.
    #[error(
        "layer {layer} (`{name}`): {what} is not finite any more in step {step}, at a learning rate of \
         {learning_rate:.2e}: try a lower layers.{layer}.lr. The last checkpoint is as good as it was"
    )]
    NotFinite {
        /// The layer.
        layer: u32,
        /// Its name.
        name: String,
        /// What of it is not finite.
        what: &'static str,
        /// The step, which is not taken.
        step: u64,
        /// The learning rate in that step.
        learning_rate: f64,
    },
    /// A layer passes on what does not survive the wire.
    #[error("layer {layer} (`{name}`) passes on {unfit}, or a lower layers.{layer}.lr")]
    Unfit {
        /// The layer.
        layer: u32,
        /// Its name.
        name: String,
        /// What it passes on.
        unfit: Unfit,
    },
    /// Only a coordinator may ask for it.
    #[error("{what} is for coordinators: the certificate of whoever asks is a worker's")]
    Forbidden {
        /// What was asked for.
        what: &'static str,
    },
    /// The same run began another attempt.
    #[error("another attempt of the same run has taken over")]
    Preempted,
    /// The worker is about to end.
    #[error("this worker is about to end, or to begin anew with another BLAS kernel")]
    Closing,
    /// Something is computed that does not end.
    #[error("it has computed for {} s without an end", taken.as_secs())]
    Stuck {
        /// How long.
        taken: Duration,
    },
    /// A bug of ours, caught.
    #[error("the computation failed: {0}")]
    Panicked(String),
    /// The stream itself failed.
    #[error(transparent)]
    Stream(Refused),
}

/// What another worker has to do with the layer that is trained here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It has another part of it, or of a readout.
    Shares(Shared),
    /// It trains the one below, and passes on what it makes.
    Feeds,
    /// It trains the one above, upon what this one passes on.
    Takes,
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shares(shared) => write!(f, "shares the {shared}"),
            Self::Feeds => f.write_str("trains the layer below"),
            Self::Takes => f.write_str("trains the layer above"),
        }
    }
}

impl Refusal {
    /// Bytes of `field` that cannot be decoded.
    pub fn undecodable(field: &'static str) -> impl Fn(StateError) -> Self {
        move |error| Self::Bytes { field, problem: error.to_string() }
    }

    /// What another who shares the same answered instead of what it was asked for. What is wrong with the layer is so for all.
    pub fn sharer(shared: Shared, shard: &wire::Shard, refused: Refused) -> Self {
        match refused.reason {
            Reason::NotFinite => Self::Stream(refused),
            _ => Self::by(Relation::Shares(shared), shard, refused),
        }
    }

    /// That what another who shares the same sent is not what it should be.
    pub fn malformed(shared: Shared, shard: &wire::Shard, error: &WireError) -> Self {
        let message = error.to_string();
        Self::sharer(
            shared,
            shard,
            Refused { reason: Reason::Malformed, passing: false, message, whose: None },
        )
    }

    /// What another sends that it should not.
    pub fn by(relation: Relation, shard: &wire::Shard, refused: Refused) -> Self {
        Self::Sharer { relation, address: shard.address.clone(), identity: shard.identity, refused }
    }

    /// That nothing is heard of another, or no more.
    pub fn unheard(relation: Relation, shard: &wire::Shard, refused: Refused) -> Self {
        Self::Unheard { relation, address: shard.address.clone(), identity: shard.identity, refused }
    }

    /// Whether others may know better.
    pub fn is_hearsay(&self) -> bool {
        matches!(self, Self::Unheard { .. } | Self::Deserted(_))
    }

    /// Which worker is the reason, where it is another.
    fn whose(&self) -> Option<u64> {
        match self {
            Self::Sharer { identity, refused, .. } | Self::Unheard { identity, refused, .. } => {
                Some(refused.whose.unwrap_or(*identity))
            }
            Self::Stream(refused) => refused.whose,
            _ => None,
        }
    }

    /// Tensors of `field` that do not fit their layer.
    pub fn misshapen(field: &'static str) -> impl Fn(ShapeError) -> Self {
        move |error| Self::Bytes { field, problem: error.to_string() }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let refused = Refused::read(&status);
        // Of what comes and is no message, the library says that by itself.
        if status.code() == Code::Internal && status.source().is_none() && status.details().is_empty() {
            let message = printable(status.message());
            return Self::Stream(Refused { reason: Reason::Malformed, passing: false, message, whose: None });
        }
        Self::Stream(refused)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let whose = refusal.whose();
        let (reason, passing) = match refusal {
            Refusal::Field(_) | Refusal::Bytes { .. } | Refusal::NoKernel { .. } => {
                (Reason::Malformed, false)
            }
            // Who was suspended, or whose network was, does better the next time.
            Refusal::Late { .. } => (Reason::Silent, true),
            Refusal::NotHosted { layer, .. } => (Reason::NotHosted { layer }, true),
            Refusal::Unchained { .. } => (Reason::Malformed, true),
            Refusal::Busy { run, layer } => (Reason::Busy { run: run.to_string(), layer }, true),
            Refusal::Passing { run } => (Reason::Busy { run: run.to_string(), layer: 0 }, true),
            Refusal::Sharer { refused, .. } | Refusal::Unheard { refused, .. } | Refusal::Stream(refused) => {
                (refused.reason, refused.passing)
            }
            Refusal::Deserted(_) | Refusal::Uninvited { .. } => (Reason::Deserted, true),
            Refusal::Memory { .. } => (Reason::Memory, false),
            Refusal::NotFinite { .. } | Refusal::Unfit { .. } => (Reason::NotFinite, false),
            Refusal::Forbidden { .. } => (Reason::Forbidden, false),
            Refusal::Preempted => (Reason::Preempted, true),
            Refusal::Closing => (Reason::Closing, true),
            Refusal::Stuck { .. } => (Reason::Stuck, true),
            Refusal::Panicked(_) => (Reason::Panicked, true),
        };
        Refused { reason, passing, message, whose }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(address: &str, identity: u64) -> wire::Shard {
        wire::Shard { address: address.to_owned(), identity, ..wire::Shard::default() }
    }

    #[test]
    fn what_a_worker_further_down_says_comes_up_as_it_said_it() {
        let run = RunName::parse("a".to_owned()).unwrap();
        let busy = Status::from(Refusal::Busy { run, layer: 3 });
        let above =
            Refused::read(&Refusal::sharer(Shared::Layer, &shard("b:1", 7), Refused::read(&busy)).into());
        assert_eq!(above.reason, Reason::Busy { run: "a".to_owned(), layer: 3 });
        assert!(above.passing && above.message.starts_with("worker b:1, which shares the layer: "));
        assert_eq!(above.whose, Some(7));
        let further = Refused::read(&Refusal::sharer(Shared::Layer, &shard("a:1", 5), above).into());
        assert_eq!(further.whose, Some(7), "the reason is who is furthest down");
        let wrong = Status::from(Refusal::from(WireError::new("spec", "nothing", "a value")));
        let above =
            Refused::read(&Refusal::sharer(Shared::Layer, &shard("b:1", 7), Refused::read(&wrong)).into());
        assert_eq!((above.reason, above.passing), (Reason::Malformed, false));
        let ended = Refused::passing(Reason::Broken, "it has ended its stream".to_owned());
        let unheard = Refusal::unheard(Relation::Shares(Shared::Readout), &shard("b:1", 7), ended);
        assert_eq!(unheard.to_string(), "worker b:1, which shares the readout: it has ended its stream");
        let (name, what) = ("dense".to_owned(), "its state");
        let diverged = Refusal::NotFinite { layer: 2, name, what, step: 7, learning_rate: 1e20 };
        let said = diverged.to_string();
        assert!(
            said.contains("layer 2 (`dense`)") && said.contains("step 7, at a learning rate of 1.00e20"),
            "{said}"
        );
        let above = Refused::read(
            &Refusal::sharer(Shared::Layer, &shard("b:1", 7), Refused::read(&diverged.into())).into(),
        );
        assert_eq!((above.reason, above.passing, above.message), (Reason::NotFinite, false, said));
    }
}
