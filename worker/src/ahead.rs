//! What a training thread knows of what follows upon the step under way: an instruction that waits for its turn, or a batch that is
//! being prepared.

use std::sync::Arc;
use std::time::Duration;

use crate::busy::Busy;
use crate::compute::{Compute, Pending};
use crate::refusal::Refusal;
use crate::session::Instruction;
use crate::trainer::{Done, Task};

/// What is known. It goes only once all memory is free that a preparation takes.
pub struct Ahead {
    compute: Arc<Compute>,
    busy: Arc<Busy>,
    limit: Duration,
    known: Known,
}

enum Known {
    Nothing,
    /// An instruction that is no batch, or that there are no more.
    Told(Option<Instruction>),
    Preparing(Pending<Done>),
}

impl Ahead {
    /// Nothing. Batches are prepared by `compute`, each within `limit`; who waits for one is `busy`.
    pub fn new(compute: Arc<Compute>, busy: Arc<Busy>, limit: Duration) -> Self {
        Self { compute, busy, limit, known: Known::Nothing }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        matches!(self.known, Known::Nothing)
    }

    /// Keeps an instruction until its turn; none where there are no more.
    pub fn keep(&mut self, instruction: Option<Instruction>) {
        assert!(self.is_empty(), "one thing follows upon a step");
        self.known = Known::Told(instruction);
    }

    /// The instruction that was kept, or else the next one that comes.
    pub fn told(&mut self, next: impl FnOnce() -> Option<Instruction>) -> Option<Instruction> {
        match self.take() {
            Known::Told(instruction) => instruction,
            Known::Nothing => next(),
            Known::Preparing(_) => unreachable!("a trainer waits for the batch that is being prepared"),
        }
    }

    /// Has a batch prepared.
    pub fn prepare(&mut self, task: Task) {
        assert!(self.is_empty(), "one thing follows upon a step");
        self.known = Known::Preparing(self.compute.start_within(self.limit, move || task.run()));
    }

    /// Waits for the batch that is being prepared.
    pub fn prepared(&mut self) -> Result<Done, Refusal> {
        let Known::Preparing(pending) = self.take() else { unreachable!("a batch is being prepared") };
        self.busy.during(|| pending.wait_on_thread())
    }

    fn take(&mut self) -> Known {
        std::mem::replace(&mut self.known, Known::Nothing)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Known::Preparing(pending) = self.take() {
            let _ = self.busy.during(|| pending.wait_on_thread());
        }
    }
}
