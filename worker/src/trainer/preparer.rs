//! The beginning of a step, as far as it needs neither the layer's weights nor anything of others.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use proto::{WireError, wire};
use scff::batch::Step;
use scff::train::{Preparation, Prepared};

use super::feed::Feeding;
use crate::refusal::Refusal;
use crate::session::ArrivedBatch;
use crate::stage::StagePlan;

/// Prepares batches, in order: what one brings may be kept for later ones.
pub struct Preparer {
    plan: Arc<StagePlan>,
    preparation: Preparation,
    feeding: Feeding,
}

/// A batch with which a step can begin.
pub struct PreparedBatch {
    /// Its pairs.
    pub pairs: Prepared,
    /// How far the second halves of its negative pairs are from the first.
    pub shifts: Vec<usize>,
    /// Bytes that are sent to hand it on to all below.
    pub forwarded_bytes: u64,
    /// Bytes of activations that are kept, those among them that came with it.
    pub kept_bytes: u64,
}

impl Preparer {
    /// Batches of `plan`, for the layer that `preparation` is of.
    pub fn new(plan: Arc<StagePlan>, preparation: Preparation) -> Self {
        let feeding = Feeding::new(plan.shape, plan.kept_bytes);
        Self { plan, preparation, feeding }
    }

    /// Prepares the batch of step `expected`.
    pub fn prepare(&mut self, arrived: &ArrivedBatch, expected: Step) -> Result<PreparedBatch, Refusal> {
        let batch = &arrived.message.batch;
        if batch.step != expected {
            return Err(WireError::new("batch.step", batch.step.0, expected.0).into());
        }
        self.plan.check_memory(batch.shifts.len())?;
        let rows = self.feeding.rows(arrived)?;
        let pairs = self.preparation.prepare(rows, self.plan.shape.two_views, &batch.shifts);
        let links = self.plan.share.below().len() as u64;
        let forwarded_bytes = links * forwarded_bytes(arrived, self.plan.hands_rows_on());
        let (shifts, kept_bytes) = (batch.shifts.clone(), self.feeding.kept_bytes() as u64);
        Ok(PreparedBatch { pairs, shifts, forwarded_bytes, kept_bytes })
    }
}

/// A batch that anybody may prepare who has the time.
pub struct Task {
    /// What prepares it.
    pub preparer: Preparer,
    /// What has arrived.
    pub arrived: ArrivedBatch,
    /// Of this step.
    pub expected: Step,
    /// The clock.
    pub now: fn() -> Duration,
}

/// What comes of it.
pub struct Done {
    /// For the batches that follow.
    pub preparer: Preparer,
    /// What is said of it belongs to its step, when that is to begin.
    pub batch: Result<PreparedBatch, Refusal>,
    /// Its step.
    pub step: Step,
    /// From when to when it was prepared.
    pub taken: Range<Duration>,
}

impl Task {
    /// Prepares the batch.
    pub fn run(self) -> Done {
        let Self { mut preparer, arrived, expected, now } = self;
        let began = now();
        let batch = preparer.prepare(&arrived, expected);
        drop(arrived);
        Done { preparer, batch, step: expected, taken: began..now() }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the batch of step {}, to be prepared", self.expected.0)
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the batch of step {}, prepared", self.step.0)
    }
}

/// Bytes of a batch's keys and of the activations that came with it, as far as they are handed on.
fn forwarded_bytes(batch: &ArrivedBatch, with_rows: bool) -> u64 {
    let rows = batch.rows.iter().filter(|_| with_rows).map(|rows| rows.payload().len()).sum::<usize>();
    (wire::Batch::from(&batch.message).encoded_len() + rows) as u64
}
