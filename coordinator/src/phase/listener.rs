//! What comes from the trainer of a member: reports, what its steps pass on, and states.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use proto::address::Address;
use proto::row_bytes::{RowBytes, RowLength};
use proto::rows::Precision;
use proto::state::decode_state;
use proto::wire;
use proto::wire::train_reply::Reply;
use scff::batch::Step;
use scff::layer::LayerState;
use scff::train::Sharing;
use tokio::sync::mpsc;

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
use super::sending::PassedOn;
use super::shares::WorkerRates;
use super::under_way::UnderWay;

/// Seconds that a worker may say it computes for a part of a layer.
const MEASURABLE: std::ops::Range<f64> = 1e-9..1e9;

/// More than any number of a report.
const LARGEST: f64 = 1e100;
/// Room for what stands in a state besides numbers.
const STATE_HEAD_BYTES: usize = 64 << 10;

/// A member's state, as it has come.
pub struct Arrived {
    pub place: usize,
    pub trained: TrainedLayer,
}

/// One of those who share a layer.
pub struct Sharer {
    pub id: WorkerId,
    pub address: Address,
    /// How many parts of the layer it has.
    pub parts: usize,
}

/// A shard's state.
pub enum Shard {
    /// Bytes of it are missing.
    Arriving(Vec<u8>),
    /// It is here.
    Whole(Box<LayerState>),
}

/// Hears a trainer's replies, and those of the others of its group.
pub struct Listener {
    pub trainer: Worker,
    /// It, and who shares the layer with it.
    pub group: Vec<Worker>,
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
    /// Who shares the layer, by where their parts begin; nobody where it is not shared.
    pub shards: HashMap<u64, Sharer>,
    /// How long each of them computes in a step, by the last that it said.
    pub paces: BTreeMap<u64, Pace>,
    /// Whether it has been told that one of them is slow.
    pub slow_told: bool,
    pub rates: WorkerRates,
    /// The states that are arriving: by step, and by where each shard begins.
    pub arriving: BTreeMap<u64, BTreeMap<u64, Shard>>,
    /// What the step at hand passes on, as far as it has come.
    pub rows: PassedOn,
    /// Rows of it that are missing.
    pub missing: u64,
    /// Rows that every step passes on.
    pub passed_on: u64,
    /// How long each of them is.
    pub row_length: RowLength,
    /// Their precision.
    pub precision: Precision,
    /// After how many steps a state is asked for, now and then.
    pub checkpoint_every: u64,
    /// Whether the worker has said that it is ready.
    pub ready: bool,
    pub above: mpsc::Sender<PassedOn>,
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
                Some(Some(Reply::Step(report))) => {
                    self.under_way.reported();
                    self.missing = self.passed_on;
                    self.step(&report)?;
                }
                Some(Some(Reply::Rows(rows))) => self.rows(rows).await?,
                Some(Some(Reply::State(part))) => {
                    if self.state(part).await? {
                        return Ok(());
                    }
                }
                Some(Some(Reply::Sums(_)) | None) => {
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
            if let Some(worker) = culprit::find(&self.group, last).await {
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
        let metrics = self.reporter.step(report);
        self.events.tell(&Event::Step { layer: self.stage.layer, taken: Step(report.step + 1) })?;
        if let Some(metrics) = metrics {
            self.events.tell(&Event::Report(metrics))?;
        }
        Ok(())
    }

    /// Whether the last state has come.
    fn over(&self) -> bool {
        self.reached.0 >= self.end.load(Ordering::Relaxed)
    }

    async fn rows(&mut self, rows: wire::Rows) -> Result<(), PhaseError> {
        let count = u64::from(rows.rows);
        if count == 0 || count > self.missing {
            let message = format!("{count} rows of a step that lacks {}", self.missing);
            return Err(WorkerFailure::protocol(&self.trainer, message).into());
        }
        let rows = RowBytes::parse(rows, self.row_length, self.precision, count as usize)
            .map_err(|error| WorkerFailure::protocol(&self.trainer, error.to_string()))?;
        self.missing -= count;
        self.rows.push(rows.into());
        if self.missing == 0 {
            // Where nobody takes them any more, the member above has failed, and says so itself.
            let _ = self.above.send(std::mem::take(&mut self.rows)).await;
        }
        Ok(())
    }

    /// Whether a part is of a state that was asked for, and no longer than that can be.
    fn asked_for(&self, part: &wire::StatePart) -> Result<(), String> {
        let wire::StatePart { step, length, start, part, .. } = part;
        let (taken, end) = (self.reporter.taken().0, self.end.load(Ordering::Relaxed));
        // Those further down a chain may be ahead of the report of who hands their states on.
        let due = self.reached.0 < *step && *step <= taken + 1;
        if !due || !(step.is_multiple_of(self.checkpoint_every) || *step == end) {
            return Err(format!("a state after step {step} that was not asked for"));
        }
        let known = if self.shards.is_empty() { *start == 0 } else { self.shards.contains_key(start) };
        if !known {
            return Err(format!("the state of a shard at {start}, which nobody has"));
        }
        let come = match self.arriving.get(step).and_then(|shards| shards.get(start)) {
            Some(Shard::Arriving(bytes)) => bytes.len(),
            Some(Shard::Whole(_)) | None => 0,
        };
        // Weights and two moments.
        let longest = (3 * size_of::<f32>() * self.stage.spec.map.parameters() + STATE_HEAD_BYTES) as u64;
        let bytes = (come + part.len()) as u64;
        if part.is_empty() || bytes > *length || *length > longest {
            return Err(format!("{bytes} bytes of a state of {length}, which has at most {longest}"));
        }
        Ok(())
    }

    /// Takes in a part of the state; returns whether it was the last part of the last state.
    async fn state(&mut self, part: wire::StatePart) -> Result<bool, PhaseError> {
        let broken = |error: &dyn std::fmt::Display| WorkerFailure::protocol(&self.trainer, error);
        self.asked_for(&part).map_err(|error| broken(&error))?;
        let shards = self.arriving.entry(part.step).or_default();
        let shard = shards.entry(part.start).or_insert_with(|| Shard::Arriving(Vec::new()));
        let Shard::Arriving(bytes) = shard else {
            return Err(broken(&format_args!("the state of the shard at {} twice", part.start)).into());
        };
        bytes.extend_from_slice(&part.part);
        if (bytes.len() as u64) < part.length {
            return Ok(false);
        }
        let (state, _) =
            decode_state(bytes, &self.stage.spec.map.tensors()).map_err(|error| broken(&error))?;
        *shard = Shard::Whole(Box::new(state));
        if let Some(Sharer { id, address, parts }) =
            self.shards.get(&part.start).filter(|_| MEASURABLE.contains(&part.block_seconds))
        {
            self.rates.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, part.block_seconds);
            let seconds = part.block_seconds * *parts as f64;
            self.paces.insert(part.start, Pace { worker: address.clone(), seconds });
        }
        let whole = |shard: &Shard| matches!(shard, Shard::Whole(_));
        if shards.len() < self.shards.len().max(1) || !shards.values().all(whole) {
            return Ok(false);
        }
        let shards = self.arriving.remove(&part.step).expect("just there");
        let states: Vec<LayerState> = shards
            .into_values()
            .filter_map(|shard| match shard {
                Shard::Whole(state) => Some(*state),
                Shard::Arriving(_) => None,
            })
            .collect();
        let same = states
            .iter()
            .all(|state| state.step.0 == part.step && state.check_shard(&self.stage.spec.map).is_ok());
        if !same {
            return Err(broken(&"states of another step or layer").into());
        }
        let state = match self.stage.hyperparameters.sharing {
            Sharing::Channels | Sharing::Grid if states.len() > 1 => LayerState::assemble(&states),
            _ => {
                if states.iter().any(|state| *state != states[0]) {
                    return Err(broken(&"workers that share samples have come to differ").into());
                }
                states.into_iter().next().expect("one")
            }
        };
        state.check(&self.stage.spec.map).map_err(|error| broken(&error))?;
        if !state.is_finite() {
            return Err(broken(&"a state with numbers that are not finite").into());
        }
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
