//! What comes from the trainer of a member: reports and states.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use proto::wire;
use proto::wire::train_reply::Reply;
use scff::batch::Step;
use tokio::sync::{mpsc, watch};

use crate::clock::Stopwatch;
use crate::cluster::{Worker, WorkerFailure};
use crate::events::{Event, Events};
use crate::pace::{Pace, Slow};
use crate::plan::Stage;
use crate::run_dir::{RunDirError, TrainedLayer};
use crate::totals::Carried;
use crate::worker_id::WorkerId;

use super::culprit;
use super::error::PhaseError;
use super::reporter::Reporter;
use super::shares::WorkerRates;
use super::states::{Sharer, States};
use super::under_way::UnderWay;

/// Seconds that a worker may say it computes for a part of a layer.
const MEASURABLE: std::ops::Range<f64> = 1e-9..1e9;

/// More than any number of a report.
const LARGEST: f64 = 1e100;

/// Reports of the first of a group that the state of another may overtake, while it waits that what it hands on is taken: one is on its
/// way, one in a queue, and its thread has one more.
const OVERTAKEN: u64 = 3;

/// A member's state, as it has come.
pub struct Arrived {
    pub place: usize,
    pub trained: TrainedLayer,
}

/// Hears a trainer's replies, and those of the others of its group.
pub struct Listener {
    pub trainer: Worker,
    /// It, who shares the layer with it, and whose outputs they wait for.
    pub awaited: Vec<Worker>,
    /// What it has been asked for and has not answered yet.
    pub under_way: Arc<UnderWay>,
    pub place: usize,
    pub stage: Stage,
    /// Steps in the end: fewer, once batches have ended early.
    pub end: Arc<AtomicU64>,
    /// Steps of the last state that has come.
    pub reached: Step,
    pub replies: tonic::Streaming<wire::TrainReply>,
    pub reporter: Reporter,
    pub events: Events,
    pub bytes_sent: Arc<AtomicU64>,
    pub began: Stopwatch,
    /// Seconds of training in earlier sittings.
    pub seconds_before: f64,
    /// The states that are arriving.
    pub states: States,
    /// How long each of those who share the layer computes in a step, by the last that it said.
    pub paces: BTreeMap<WorkerId, Pace>,
    /// Whether it has been told that one of them is slow.
    pub slow_told: bool,
    pub rates: WorkerRates,
    /// After how many steps a state is asked for, now and then.
    pub checkpoint_every: u64,
    /// Whether the worker has said that it is ready.
    pub ready: bool,
    /// Whether there is no other member.
    pub trains_alone: bool,
    /// How many steps have been taken, for the members below and above.
    pub taken: watch::Sender<u64>,
    pub arrived: mpsc::Sender<Arrived>,
}

impl Listener {
    /// Listens until the last state has come.
    pub async fn listen(mut self) -> Result<(), PhaseError> {
        let limit = self.trainer.connection.silence().duration() + culprit::PATIENCE;
        loop {
            // Whoever takes what comes may have kept it waiting: that is not the trainer's doing.
            self.under_way.moved();
            let reply = self.heard(limit).await?;
            let reply = reply.map_err(|status| self.failed(WorkerFailure::of(&self.trainer, &status)))?;
            match reply.map(|reply| reply.reply) {
                Some(Some(Reply::Ready(_))) if !self.ready => {
                    self.ready = true;
                    self.under_way.answered();
                }
                Some(Some(Reply::Ready(_))) => {
                    return Err(WorkerFailure::protocol(&self.trainer, "that it is ready, twice").into());
                }
                Some(Some(Reply::Step(report))) => self.step(&report)?,
                Some(Some(Reply::State(part))) => {
                    if self.state(part).await? {
                        return Ok(());
                    }
                }
                Some(None) => {
                    return Err(WorkerFailure::protocol(&self.trainer, "a reply that says nothing").into());
                }
                None if self.over() => return Ok(()),
                None => return Err(self.failed(WorkerFailure::gone(&self.trainer)).into()),
            }
        }
    }

    /// The trainer's next message, or the failure of whoever keeps it from answering.
    async fn heard(
        &mut self,
        limit: Duration,
    ) -> Result<Result<Option<wire::TrainReply>, tonic::Status>, WorkerFailure> {
        // Whoever computes in pieces that each end in time may take twice as long in all.
        for (limit, last) in [(limit, false), (2 * limit, true)] {
            tokio::select! {
                biased;
                reply = self.replies.message() => return Ok(reply),
                () = self.under_way.late(limit) => {}
            }
            if let Some(worker) = culprit::find(&self.awaited, last).await {
                return Err(self.failed(WorkerFailure::late(worker)));
            }
        }
        unreachable!("in the end somebody is the reason")
    }

    /// A failure, with what its worker was doing.
    fn failed(&self, failure: WorkerFailure) -> WorkerFailure {
        let (name, taken) = (&self.stage.spec.name, self.reporter.taken());
        failure.during(format_args!("while it trained {name}, after step {}", taken.0))
    }

    fn step(&mut self, report: &wire::StepReport) -> Result<(), PhaseError> {
        let taken = self.reporter.taken().0;
        if report.step != taken {
            let message = format!("a report on step {} after {taken} steps", report.step);
            return Err(WorkerFailure::protocol(&self.trainer, message).into());
        }
        let end = self.end.load(Ordering::Relaxed);
        if taken >= end {
            let message = format!("a report on step {taken}, of {end} that there are");
            return Err(WorkerFailure::protocol(&self.trainer, message).into());
        }
        if !finite(report) {
            let message = format!("step {} with numbers that are not finite", report.step);
            return Err(WorkerFailure::protocol(&self.trainer, message).into());
        }
        // The members below and above are sent batches as far ahead as this one says that it is.
        if !self.trains_alone && self.under_way.reports() == 0 {
            let message = format!("a report on step {taken}, whose batch was not sent");
            return Err(WorkerFailure::protocol(&self.trainer, message).into());
        }
        let metrics = self.reporter.step(report);
        self.events.tell(&Event::Step { layer: self.stage.layer, taken: Step(report.step + 1) })?;
        if let Some(metrics) = metrics {
            self.events.tell(&Event::Report(metrics))?;
        }
        self.under_way.reported();
        self.taken.send_replace(report.step + 1);
        Ok(())
    }

    /// Whether the last state has come.
    fn over(&self) -> bool {
        self.reached.0 >= self.end.load(Ordering::Relaxed)
    }

    /// Batches that were sent, of all steps so far.
    fn sent(&self) -> u64 {
        self.reporter.taken().0 + self.under_way.reports()
    }

    /// Whether a state after so many steps was asked for.
    fn asked_for(&self, step: u64) -> Result<(), String> {
        let (taken, end) = (self.reporter.taken().0, self.end.load(Ordering::Relaxed));
        let due = self.reached.0 < step && step <= self.sent().min(taken + OVERTAKEN);
        if due && (step.is_multiple_of(self.checkpoint_every) || step == end) {
            return Ok(());
        }
        Err(format!("a state after step {step} that was not asked for"))
    }

    /// Takes in a part of the state; returns whether it was the last part of the last state.
    async fn state(&mut self, part: wire::StatePart) -> Result<bool, PhaseError> {
        let taken = self.asked_for(part.step).and_then(|()| self.states.take(&part));
        let (complete, state) = taken.map_err(|error| WorkerFailure::protocol(&self.trainer, error))?;
        if complete
            && let Some(Sharer { id, address, parts }) =
                self.states.sharer(&part).filter(|_| MEASURABLE.contains(&part.part_seconds))
        {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.insert((self.stage.layer, *id), part.part_seconds);
            drop(rates);
            let seconds = part.part_seconds * *parts as f64;
            self.paces.insert(*id, Pace { worker: address.clone(), seconds });
        }
        let Some(state) = state else { return Ok(false) };
        let carried = Carried {
            seconds: self.seconds_before + self.began.seconds(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            ..self.reporter.carried()
        };
        self.reached = state.step;
        self.under_way.answered();
        self.tell_slow()?;
        // Nobody takes it where the phase has failed already.
        let _ =
            self.arrived.send(Arrived { place: self.place, trained: TrainedLayer { state, carried } }).await;
        Ok(self.over())
    }
}

impl Listener {
    /// Tells once which of those who share the layer the others wait for.
    fn tell_slow(&mut self) -> Result<(), RunDirError> {
        if self.slow_told {
            return Ok(());
        }
        let Some(slow) = Slow::of(self.paces.values().cloned().collect()) else { return Ok(()) };
        self.slow_told = true;
        self.events.tell(&Event::SlowWorker { layer: self.stage.spec.name.clone(), slow })
    }
}

/// Whether a report can be added up, kept and read back.
fn finite(report: &wire::StepReport) -> bool {
    let wire::StepReport {
        learning_rate,
        loss_positive,
        loss_negative,
        loss_penalty,
        goodness_pos,
        goodness_neg,
        waiting_seconds,
        ..
    } = *report;
    [learning_rate, loss_positive, loss_negative, loss_penalty, goodness_pos, goodness_neg, waiting_seconds]
        .iter()
        .all(|number| number.abs() < LARGEST)
}
