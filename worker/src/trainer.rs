//! The thread of one training session: it owns the layer and the kept activations, and carries out orders.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use ndarray::Array2;
use ndarray::parallel::prelude::*;
use proto::rows::Precision;
use proto::state::{Header, decode_state, encode_state, parts};
use proto::wire::train_reply::Reply;
use proto::{WireError, wire};
use scff::batch::SampleKey;
use scff::train::{StepReport, TrainingLayer, TrainingStage};
use tokio::sync::mpsc::{Receiver, Sender};

use crate::cache::Cache;
use crate::compute::{Compute, catch};
use crate::refusal::Refusal;
use crate::session::{ArrivedBatch, Order};
use crate::slot::Turn;
use crate::stage::StagePlan;

/// More steps than this were never taken; counting on from here cannot overflow.
const STEPS: u64 = 1 << 53;

/// Carries out orders until there are no more or nobody listens. All memory is free before the last reply.
pub fn run(
    plan: StagePlan,
    compute: &Compute,
    turn: Turn,
    orders: Receiver<Order>,
    replies: &Sender<Result<Reply, Refusal>>,
) {
    let result = catch(|| obey(plan, compute, orders, replies)).and_then(|result| result);
    drop(turn);
    if let Err(refusal) = result {
        let _ = replies.blocking_send(Err(refusal));
    }
}

fn obey(
    plan: StagePlan,
    compute: &Compute,
    mut orders: Receiver<Order>,
    replies: &Sender<Result<Reply, Refusal>>,
) -> Result<(), Refusal> {
    let Some(Order::Open(state)) = orders.blocking_recv() else { return Ok(()) };
    let mut trainer = Trainer::open(plan, compute, state)?;
    let mut listening = replies.blocking_send(Ok(Reply::Ready(wire::Ready {}))).is_ok();
    while listening {
        let waiting = Instant::now();
        let order = orders.blocking_recv();
        let waiting_seconds = waiting.elapsed().as_secs_f64();
        listening = match order {
            Some(Order::Step(batch)) => {
                let report = wire::StepReport { waiting_seconds, ..trainer.step(&batch)? };
                replies.blocking_send(Ok(Reply::Step(report))).is_ok()
            }
            Some(Order::Checkpoint) => {
                trainer.checkpoint().all(|part| replies.blocking_send(Ok(Reply::State(part))).is_ok())
            }
            Some(Order::Open(_)) => unreachable!("a session opens once"),
            None => false,
        };
    }
    Ok(())
}

struct Trainer<'a> {
    compute: &'a Compute,
    plan: StagePlan,
    stage: TrainingStage,
    cache: Cache,
}

impl<'a> Trainer<'a> {
    fn open(plan: StagePlan, compute: &'a Compute, bytes: Vec<u8>) -> Result<Self, Refusal> {
        let (state, _) = compute.install(|| decode_state(&bytes)).map_err(Refusal::undecodable("state"))?;
        drop(bytes);
        if state.step.0 > STEPS {
            return Err(WireError::new("state.step", state.step.0, format_args!("at most {STEPS}")).into());
        }
        let layer = TrainingLayer::new(plan.spec.clone(), plan.hyperparameters, &state)
            .map_err(Refusal::misshapen("state"))?;
        let stage = TrainingStage::new(plan.prefix.clone(), layer);
        let cache = Cache::new(plan.shape.row_bytes(), plan.kept_rows);
        Ok(Self { compute, plan, stage, cache })
    }

    fn step(&mut self, batch: &ArrivedBatch) -> Result<wire::StepReport, Refusal> {
        let ArrivedBatch { message, .. } = batch;
        let next = self.stage.layer().step_count();
        if message.batch.step != next {
            return Err(WireError::new("batch.step", message.batch.step.0, next.0).into());
        }
        self.plan.check_memory(message.batch.shifts.len())?;
        let arrivals = self.arrivals(batch)?;
        let rows = self.gather(batch, &arrivals)?;
        for &(key, _) in message.arriving.iter().filter(|(_, keep)| *keep) {
            self.cache.keep(key, arrivals[&key]).expect("room was checked");
        }
        let two_views = self.plan.shape.two_views;
        let report = self.compute.install(|| self.stage.step(rows, two_views, &message.batch.shifts));
        Ok(report_message(&report))
    }

    /// The activations that came with the batch, by key.
    fn arrivals<'b>(&self, batch: &'b ArrivedBatch) -> Result<HashMap<SampleKey, &'b [u8]>, WireError> {
        let arriving = &batch.message.arriving;
        let mut arrivals = HashMap::with_capacity(arriving.len());
        for (&(key, _), row) in arriving.iter().zip(batch.activations(self.plan.shape.row_bytes())) {
            if arrivals.insert(key, row).is_some() {
                let found = format_args!("{key} twice").to_string();
                return Err(WireError::new("batch.arriving", found, "every key once"));
            }
        }
        let new = arriving.iter().filter(|(key, keep)| *keep && !self.cache.contains(*key)).count();
        let kept = self.cache.len() + new;
        if kept > self.cache.capacity() {
            let expected = format_args!("at most {} (kept_rows)", self.cache.capacity()).to_string();
            return Err(WireError::new("batch.keep", format_args!("{kept} activations to keep"), expected));
        }
        Ok(arrivals)
    }

    /// The batch's rows in single precision, (rows, elements).
    fn gather(
        &self,
        batch: &ArrivedBatch,
        arrivals: &HashMap<SampleKey, &[u8]>,
    ) -> Result<Array2<f32>, WireError> {
        let find = |key| arrivals.get(&key).copied().or_else(|| self.cache.get(key));
        let sources = batch.message.batch.rows().map(|key| {
            find(key).ok_or_else(|| {
                WireError::new("batch.arriving", format_args!("no {key}"), "every key that is not kept")
            })
        });
        let sources: Vec<&[u8]> = sources.collect::<Result<_, _>>()?;
        let shape = &self.plan.shape;
        Ok(self.compute.install(|| decode(&sources, shape.elements, shape.precision)))
    }

    /// The state after the batches so far, cut into messages.
    fn checkpoint(&self) -> impl Iterator<Item = wire::StatePart> + use<> {
        let state = self.compute.install(|| self.stage.layer().state());
        let (step, bytes) = (state.step.0, Bytes::from(encode_state(&state, Header::new())));
        let length = bytes.len() as u64;
        parts(&bytes).map(move |part| wire::StatePart { step, length, part })
    }
}

fn decode(sources: &[&[u8]], elements: usize, precision: Precision) -> Array2<f32> {
    let mut rows = Array2::zeros((sources.len(), elements));
    rows.outer_iter_mut().into_par_iter().zip(sources).for_each(|(mut row, source)| {
        precision.decode(source, row.as_slice_mut().expect("rows are contiguous"));
    });
    rows
}

fn report_message(report: &StepReport) -> wire::StepReport {
    let StepReport { step, learning_rate, loss } = report;
    wire::StepReport {
        step: step.0,
        learning_rate: *learning_rate,
        loss_positive: loss.positive,
        loss_negative: loss.negative,
        loss_penalty: loss.penalty,
        goodness_pos: loss.goodness_pos,
        goodness_neg: loss.goodness_neg,
        waiting_seconds: 0.0,
    }
}
