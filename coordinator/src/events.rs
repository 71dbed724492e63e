//! What happens in a run, told to whoever listens: facts and numbers, which a [`Listener`] words, draws or keeps.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use proto::address::Address;
use scff::batch::{Epoch, LayerIndex, Step};

use crate::cluster::{WaitedFor, WorkerFailure};
use crate::estimate::{Benchmark, Network};
use crate::location::Location;
use crate::pace::Slow;
use crate::run_dir::RunDirError;
use crate::summary::{LayerSummary, ReadoutSummary, Summary, WithoutLabels};
use crate::totals::Metrics;
use crate::version::Program;

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A sitting begins.
    Started {
        /// The run directory.
        run_dir: Location,
        /// Layers that earlier sittings have frozen.
        frozen: usize,
    },
    /// A build of Strata goes on with a run that another one has worked on.
    OtherBuild {
        /// The one before, where the run directory says.
        before: Option<Program>,
        /// This one.
        now: Program,
    },
    /// No worker is there that takes part.
    Waiting(WaitedFor),
    /// A worker that is to take part is measured, and something new is known of it.
    WorkerMeasured {
        /// Where it listens.
        worker: Address,
        /// What the link to it is like, where that is new.
        link: Option<Network>,
        /// How fast it computes, likewise.
        benchmark: Option<Benchmark>,
    },
    /// Layers begin or go on with their training, together.
    PhaseStarted {
        /// From the input up.
        layers: Vec<LayerStarted>,
    },
    /// A layer has taken a step.
    Step {
        /// Which layer.
        layer: LayerIndex,
        /// How many it has taken by now.
        taken: Step,
    },
    /// The steps since the last report of a layer.
    Report(Metrics),
    /// The layers in training are kept as they are after so many steps.
    Checkpoint {
        /// Which layers.
        layers: Vec<LayerIndex>,
        /// How many steps.
        step: Step,
    },
    /// The layers in training have come to their end or to a halt.
    PhaseEnded,
    /// A layer's training is over.
    LayerFrozen {
        /// Which layer.
        layer: LayerIndex,
        /// What came out.
        summary: LayerSummary,
    },
    /// A worker is there that was not, and takes part from the last checkpoint on.
    WorkerCame {
        /// Where it listens.
        address: String,
    },
    /// Of those who share a layer, one takes much longer in each step than the others, who wait for it.
    SlowWorker {
        /// The layer's name.
        layer: String,
        /// Who, and how much it holds up the others.
        slow: Slow,
    },
    /// A worker is about to end, and what it had under way is kept.
    WorkerLeft {
        /// Where it listens.
        address: Address,
        /// The step that is gone on from.
        step: Step,
    },
    /// A worker has failed. What it did is tried again.
    WorkerLost {
        /// Which one, and why.
        failure: WorkerFailure,
        /// What is gone on from.
        again_from: Step,
    },
    /// Features are about to be computed.
    FeaturesStarted {
        /// Of so many samples.
        samples: u64,
    },
    /// Features of more samples are here.
    Features {
        /// How many more.
        samples: u64,
    },
    /// No more features come: all are here, or a worker is gone.
    FeaturesEnded,
    /// A worker has left or failed. The features that have come are kept.
    FeaturesInterrupted {
        /// Which one, and why.
        failure: WorkerFailure,
        /// The sample, counted from 0, that is gone on from.
        again_from: u64,
    },
    /// The readout begins to learn.
    ReadoutStarted {
        /// For so many epochs.
        epochs: u32,
    },
    /// The readout has seen all samples once more.
    ReadoutEpoch {
        /// Which time, counted from 0.
        epoch: Epoch,
        /// Its mean loss.
        loss: f64,
    },
    /// The readout has learnt, and is measured.
    ReadOut(ReadoutSummary),
    /// What can be said of the layers without labels.
    WithoutLabels(WithoutLabels),
    /// The run ends early, for it was asked to. The same command continues it.
    Stopped {
        /// The layers that are in training; none where only the readout is left.
        layers: Vec<String>,
        /// The step that they go on from.
        step: Step,
    },
    /// All is done; or was, before this sitting.
    Finished {
        /// The run directory.
        run_dir: Location,
        /// What came out.
        summary: Box<Summary>,
        /// Whether an earlier sitting had finished it.
        before: bool,
    },
}

/// A layer whose training begins or goes on.
#[derive(Clone, Debug)]
pub struct LayerStarted {
    /// Which layer.
    pub layer: LayerIndex,
    /// Its name.
    pub name: String,
    /// Steps that it has taken already.
    pub from: Step,
    /// Steps after which it is frozen, or other layers train with it.
    pub until: Step,
    /// Its epochs.
    pub epochs: u32,
    /// All its steps.
    pub steps: Step,
    /// Who trains it.
    pub trainers: Vec<String>,
}

/// Somebody who is told what happens.
pub trait Listener: Send {
    /// Takes note. An error ends the run.
    fn hear(&mut self, event: &Event) -> Result<(), RunDirError>;
}

/// Tells listeners, each after the other.
#[derive(Clone)]
pub struct Events(Arc<Mutex<Vec<Box<dyn Listener>>>>);

impl Events {
    /// Events for these listeners.
    pub fn new(listeners: Vec<Box<dyn Listener>>) -> Self {
        Self(Arc::new(Mutex::new(listeners)))
    }

    /// Tells all listeners, up to the first that fails.
    pub fn tell(&self, event: &Event) -> Result<(), RunDirError> {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter_mut().try_for_each(|listener| listener.hear(event))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
