//! The thread of one training session: it owns the layer and the kept activations, and carries out instructions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};
use prost::Message;
use proto::limits::rows_per_message;
use proto::rows::Precision;
use proto::state::{Header, decode_state, encode_state, parts};
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use scff::batch::SampleKey;
use scff::goodness::Loss;
use scff::train::{Half, Partial, StepReport, Sums, TrainingLayer, TrainingStage};
use tokio::sync::mpsc::{Receiver, Sender};

use crate::cache::Cache;
use crate::compute::{Compute, catch};
use crate::refusal::Refusal;
use crate::session::{ArrivedBatch, Instruction};
use crate::slot::Turn;
use crate::stage::{Feed, StagePlan};

/// More steps than this were never taken; counting on from here cannot overflow.
const STEPS: u64 = 1 << 53;

/// Carries out instructions until there are no more or nobody listens. All memory is free before the last reply.
pub fn run(
    plan: StagePlan,
    compute: &Compute,
    turn: Turn,
    exchange: Exchange,
    instructions: Receiver<Instruction>,
    replies: &Sender<Result<Reply, Refusal>>,
) {
    let result = catch(|| obey(plan, compute, exchange, instructions, replies)).and_then(|result| result);
    drop(turn);
    if let Err(refusal) = result {
        let _ = replies.blocking_send(Err(refusal));
    }
}

fn obey(
    plan: StagePlan,
    compute: &Compute,
    exchange: Exchange,
    mut instructions: Receiver<Instruction>,
    replies: &Sender<Result<Reply, Refusal>>,
) -> Result<(), Refusal> {
    let Some(Instruction::Open(state)) = instructions.blocking_recv() else { return Ok(()) };
    let mut trainer = Trainer::open(plan, compute, exchange, state)?;
    let mut listening = replies.blocking_send(Ok(Reply::Ready(wire::Ready {}))).is_ok();
    while listening {
        let waiting = Instant::now();
        let instruction = instructions.blocking_recv();
        let waiting_seconds = waiting.elapsed().as_secs_f64();
        listening = match instruction {
            Some(Instruction::Step(batch)) => {
                let (report, passed_on) = trainer.step(&batch, replies)?;
                let report = Reply::Step(wire::StepReport { waiting_seconds, ..report });
                std::iter::once(report)
                    .chain(passed_on.into_iter().map(Reply::Rows))
                    .all(|reply| replies.blocking_send(Ok(reply)).is_ok())
            }
            Some(Instruction::Checkpoint) => {
                trainer.checkpoint().all(|part| replies.blocking_send(Ok(Reply::State(part))).is_ok())
            }
            Some(Instruction::Open(_) | Instruction::Totals(_)) => {
                unreachable!("a session opens once; totals go another way")
            }
            None => false,
        };
    }
    Ok(())
}

/// What a step needs of the others that share the layer.
pub struct Exchange {
    /// Sums over those below come from here, and totals are sent there by the first worker.
    pub below: Option<(Receiver<wire::Sums>, Sender<wire::TrainRequest>)>,
    /// Totals come from here, except to the first worker, which makes them.
    pub totals: Option<Receiver<wire::Sums>>,
}

impl Exchange {
    /// The sums over all who share the layer for a step, of this worker's part.
    fn total(
        &mut self,
        step: u64,
        partial: &Partial,
        replies: &Sender<Result<Reply, Refusal>>,
    ) -> Result<Sums, Refusal> {
        let mut sums = partial.zeros();
        if let Some((below, _)) = &mut self.below {
            read_sums(below, step, &mut sums)?;
        }
        partial.add_to(&mut sums);
        if let Some(totals) = &mut self.totals {
            let own = Reply::Sums(sums_message(step, &sums));
            replies.blocking_send(Ok(own)).map_err(|_| Refusal::Deserted)?;
            read_sums(totals, step, &mut sums)?;
        } else if let Some((_, down)) = &self.below {
            let request = Some(Request::Totals(sums_message(step, &sums)));
            down.blocking_send(wire::TrainRequest { request }).map_err(|_| Refusal::Deserted)?;
        }
        Ok(sums)
    }
}

fn sums_message(step: u64, Sums { numbers, loss }: &Sums) -> wire::Sums {
    let mut payload = Vec::with_capacity(4 * numbers.len());
    Precision::F32.encode(numbers, &mut payload);
    let Loss { positive, negative, penalty, goodness_pos, goodness_neg } = *loss;
    let loss = vec![positive, negative, penalty, goodness_pos, goodness_neg];
    wire::Sums { step, payload: payload.into(), loss }
}

fn read_sums(from: &mut Receiver<wire::Sums>, step: u64, sums: &mut Sums) -> Result<(), Refusal> {
    let message = from.blocking_recv().ok_or(Refusal::Deserted)?;
    if message.step != step {
        return Err(WireError::new("sums.step", message.step, step).into());
    }
    let expected = 4 * sums.numbers.len();
    if message.payload.len() != expected {
        let found = format_args!("{} bytes", message.payload.len()).to_string();
        return Err(WireError::new("sums.payload", found, format_args!("{expected} bytes")).into());
    }
    let [positive, negative, penalty, goodness_pos, goodness_neg] = message.loss[..] else {
        return Err(WireError::new("sums.loss", message.loss.len(), "5 numbers").into());
    };
    sums.loss = Loss { positive, negative, penalty, goodness_pos, goodness_neg };
    Precision::F32.decode(&message.payload, &mut sums.numbers);
    Ok(())
}

struct Trainer<'a> {
    compute: &'a Compute,
    plan: StagePlan,
    stage: TrainingStage,
    cache: Cache,
    exchange: Exchange,
    /// Steps taken, and how long they took without waiting for anybody.
    busy: (u32, Duration),
}

impl<'a> Trainer<'a> {
    fn open(
        plan: StagePlan,
        compute: &'a Compute,
        exchange: Exchange,
        bytes: Vec<u8>,
    ) -> Result<Self, Refusal> {
        let specs = plan.spec.map.tensors();
        let (state, _) =
            compute.install(|| decode_state(&bytes, &specs)).map_err(Refusal::undecodable("state"))?;
        drop(bytes);
        if state.step.0 > STEPS {
            return Err(WireError::new("state.step", state.step.0, format_args!("at most {STEPS}")).into());
        }
        let (spec, own) = (plan.spec.clone(), plan.share.own.clone());
        let layer = TrainingLayer::shard(spec, plan.hyperparameters, &state, Some(own))
            .map_err(Refusal::misshapen("state"))?;
        let stage = TrainingStage::new(plan.prefix.clone(), layer);
        let cache = Cache::new(plan.shape.row_bytes(), plan.kept_rows);
        Ok(Self { compute, plan, stage, cache, exchange, busy: (0, Duration::ZERO) })
    }

    /// One step: the report, and what is passed on.
    fn step(
        &mut self,
        batch: &ArrivedBatch,
        replies: &Sender<Result<Reply, Refusal>>,
    ) -> Result<(wire::StepReport, Vec<wire::Rows>), Refusal> {
        let ArrivedBatch { message, .. } = batch;
        let next = self.stage.layer().step_count();
        if message.batch.step != next {
            return Err(WireError::new("batch.step", message.batch.step.0, next.0).into());
        }
        self.plan.check_memory(message.batch.shifts.len())?;
        let began = Instant::now();
        let rows = match self.plan.shape.feed {
            Feed::Keys => self.keyed(batch)?,
            Feed::LiveSamples | Feed::LivePairs => self.decoded(&self.activations(batch).collect::<Vec<_>>()),
        };
        let StagePlan { shape, pass_on, .. } = self.plan;
        let Self { compute, stage, exchange, .. } = self;
        let (Half { input, partial, .. }, passed_on) = compute.install(|| {
            let mut half = stage.forward(rows, shape.two_views, &message.batch.shifts, pass_on);
            let passed_on = std::mem::take(&mut half.passed_on);
            (half, encode(&passed_on, shape.precision))
        });
        // The next step's maps need the weights that this step's totals lead to: nothing of it can be done meanwhile.
        let waiting = Instant::now();
        let sums = exchange.total(message.batch.step.0, &partial, replies)?;
        let waited = waiting.elapsed();
        let exchanged = 4 * sums.numbers.len() as u64;
        let report = compute.install(|| stage.backward(&input, sums));
        self.busy = (self.busy.0 + 1, self.busy.1 + began.elapsed().saturating_sub(waited));
        let links = self.plan.share.below.len() as u64;
        let report = wire::StepReport {
            // Up and down every link of the chain.
            exchanged_bytes: 2 * links * exchanged,
            forwarded_bytes: links * forwarded_bytes(batch),
            ..report_message(&report)
        };
        Ok((report, passed_on))
    }

    /// The rows of a batch of sample keys; keeps what is to be kept of them.
    fn keyed(&mut self, batch: &ArrivedBatch) -> Result<Array2<f32>, Refusal> {
        let arrivals = self.arrivals(batch)?;
        let rows = self.gather(batch, &arrivals)?;
        for &(key, _) in batch.message.arriving.iter().filter(|(_, keep)| *keep) {
            self.cache.keep(key, arrivals[&key]).expect("room was checked");
        }
        Ok(rows)
    }

    fn activations<'b>(&self, batch: &'b ArrivedBatch) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        batch.activations(self.plan.shape.row_bytes())
    }

    /// The activations that came with the batch, by key.
    fn arrivals<'b>(&self, batch: &'b ArrivedBatch) -> Result<HashMap<SampleKey, &'b [u8]>, WireError> {
        let arriving = &batch.message.arriving;
        let mut arrivals = HashMap::with_capacity(arriving.len());
        for (&(key, _), row) in arriving.iter().zip(self.activations(batch)) {
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
        Ok(self.decoded(&sources))
    }

    fn decoded(&self, sources: &[&[u8]]) -> Array2<f32> {
        let shape = &self.plan.shape;
        self.compute.install(|| decode(sources, shape.elements, shape.precision))
    }

    /// The state after the batches so far, cut into messages.
    fn checkpoint(&self) -> impl Iterator<Item = wire::StatePart> + use<> {
        let state = self.compute.install(|| self.stage.layer().state());
        let (step, bytes) = (state.step.0, Bytes::from(encode_state(&state, Header::new())));
        let share = &self.plan.share;
        let (steps, busy) = self.busy;
        let block_seconds = busy.as_secs_f64() / f64::from(steps.max(1)) / share.parts as f64;
        let (length, start) = (bytes.len() as u64, share.own.start as u64);
        parts(&bytes).map(move |part| wire::StatePart { step, length, part, start, block_seconds })
    }
}

fn decode(sources: &[&[u8]], elements: usize, precision: Precision) -> Array2<f32> {
    let mut rows = Array2::zeros((sources.len(), elements));
    rows.outer_iter_mut().into_par_iter().zip(sources).for_each(|(mut row, source)| {
        precision.decode(source, row.as_slice_mut().expect("rows are contiguous"));
    });
    rows
}

/// Rows as they are passed on, cut into messages.
fn encode(rows: &Array2<f32>, precision: Precision) -> Vec<wire::Rows> {
    let row_bytes = rows.ncols() * precision.bytes();
    let chunks: Vec<_> = rows.axis_chunks_iter(Axis(0), rows_per_message(row_bytes)).collect();
    chunks
        .into_par_iter()
        .map(|rows| {
            let mut payload = Vec::with_capacity(rows.nrows() * row_bytes);
            for row in rows.outer_iter() {
                precision.encode(row.to_slice().expect("rows are contiguous"), &mut payload);
            }
            wire::Rows { rows: rows.nrows() as u32, payload: payload.into() }
        })
        .collect()
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
        ..wire::StepReport::default()
    }
}

/// Bytes of a batch's keys and of the activations that came with it, as they are handed on.
fn forwarded_bytes(batch: &ArrivedBatch) -> u64 {
    let rows = batch.rows.iter().map(|rows| rows.payload.len()).sum::<usize>();
    (wire::Batch::from(&batch.message).encoded_len() + rows) as u64
}
