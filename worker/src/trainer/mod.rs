//! Training a layer, or a share of one: a state machine from instructions and slices to what is sent, without a thread, a
//! socket or a clock of its own.
//!
//! A step begins, goes through the rounds in which its sums are exchanged with those who share the layer, and ends with a report.
//! Whoever has a layer for itself needs nobody.

mod feed;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::refusal::{Reason, Refused};
use proto::state::{Header, decode_state, encode_state, parts, sha256};
use proto::wire::train_reply::Reply;
use proto::{WireError, wire};
use scff::batch::Step;
use scff::train::{Half, PairedSamples, Partial, Progress, StepReport, Sums, TrainingLayer, TrainingStage};

use crate::compute::Compute;
use crate::exchange::{Exchange, Letter, on_the_wire};
use crate::refusal::Refusal;
use crate::session::{ArrivedBatch, Instruction};
use crate::stage::StagePlan;

use feed::Feeding;

/// More steps than this were never taken; counting on from here cannot overflow.
const STEPS: u64 = 1 << 53;

/// A layer in training, or a share of one, with what is kept of its samples.
pub struct Trainer {
    compute: Arc<Compute>,
    now: fn() -> Duration,
    plan: StagePlan,
    stage: TrainingStage,
    feeding: Feeding,
    doing: Doing,
    /// Steps taken, and how long they took without waiting for anybody.
    busy: (u32, Duration),
}

/// Something that happens to a trainer.
#[derive(Debug)]
pub enum Event {
    /// The session says what to do.
    Told(Instruction),
    /// A member of the group, by its place, has sent this.
    Slice(usize, wire::Slice),
}

/// What a trainer sends.
#[derive(Debug)]
pub enum Outgoing {
    /// To the client, or to the worker above.
    Up(Reply),
    /// To another member of the group.
    Letter(Letter),
}

/// What a trainer can go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// A batch, or a request for a checkpoint.
    Instruction,
    /// A slice of the member at this place.
    Slice(usize),
}

/// Where in a step it is.
enum Doing {
    /// Between steps.
    Nothing,
    /// Slices of a round are arriving.
    Exchanging(Box<Begun>, Exchange),
}

/// A step that has begun.
struct Begun {
    step: Step,
    input: PairedSamples,
    passed_on: Vec<wire::PassedOn>,
    /// How long the batch was waited for.
    waited: Duration,
    /// Bytes that the whole group sends for it: of the batch, and of sums.
    forwarded_bytes: u64,
    exchanged_bytes: u64,
}

impl Trainer {
    /// Takes up training at the state that `bytes` hold.
    pub fn open(
        plan: StagePlan,
        compute: Arc<Compute>,
        now: fn() -> Duration,
        bytes: &[u8],
    ) -> Result<Self, Refusal> {
        let specs = plan.spec.map.tensors();
        let (state, _) =
            compute.install(|| decode_state(bytes, &specs)).map_err(Refusal::undecodable("state"))?;
        if state.step.0 > STEPS {
            return Err(WireError::new("state.step", state.step.0, format_args!("at most {STEPS}")).into());
        }
        let (spec, own) = (plan.spec.clone(), plan.share.own.clone());
        let layer = TrainingLayer::shard(spec, plan.hyperparameters, &state, Some(own))
            .map_err(Refusal::misshapen("state"))?;
        let stage = TrainingStage::new(plan.prefix.clone(), layer);
        let feeding = Feeding::new(plan.shape, plan.kept_bytes);
        Ok(Self { compute, now, plan, stage, feeding, doing: Doing::Nothing, busy: (0, Duration::ZERO) })
    }

    /// What it waits for: anything else is refused.
    pub fn wants(&self) -> Wants {
        match &self.doing {
            Doing::Nothing => Wants::Instruction,
            Doing::Exchanging(_, exchange) => Wants::Slice(exchange.wants().expect("it is not over")),
        }
    }

    /// What is sent because of `event`, which took so long to come. After an error it is of no more use.
    pub fn handle(&mut self, event: Event, waited: Duration) -> Result<Vec<Outgoing>, Refusal> {
        let began = (self.now)();
        let outgoing = match (std::mem::replace(&mut self.doing, Doing::Nothing), event) {
            (Doing::Nothing, Event::Told(Instruction::Checkpoint)) => return self.checkpoint(),
            (Doing::Nothing, Event::Told(Instruction::Step(batch))) => self.begin(&batch, waited)?,
            (Doing::Exchanging(begun, exchange), Event::Slice(from, slice))
                if exchange.wants() == Some(from) =>
            {
                self.take(begun, exchange, from, &slice)?
            }
            (doing, event) => return Err(WireError::new("request", event.name(), doing.expects()).into()),
        };
        self.busy.1 += (self.now)().saturating_sub(began);
        Ok(outgoing)
    }

    /// What needs nothing of others.
    fn begin(&mut self, batch: &ArrivedBatch, waited: Duration) -> Result<Vec<Outgoing>, Refusal> {
        let ArrivedBatch { message, .. } = batch;
        let step = self.stage.layer().step_count();
        if message.batch.step != step {
            return Err(WireError::new("batch.step", message.batch.step.0, step.0).into());
        }
        self.plan.check_memory(message.batch.shifts.len())?;
        let Self { compute, stage, feeding, .. } = self;
        let StagePlan { shape, pass_on, .. } = self.plan;
        let rows = compute.install(|| feeding.rows(batch))?;
        let (input, partial, passed_on) = compute.install(|| {
            let Half { input, partial, passed_on } =
                stage.forward(rows, shape.two_views, &message.batch.shifts, pass_on);
            (input, partial, self.plan.passed_on(step, &passed_on))
        });
        let passed_on = passed_on?;
        let links = self.plan.share.below().len() as u64;
        let forwarded_bytes = links * forwarded_bytes(batch);
        let begun = Begun { step, input, passed_on, waited, forwarded_bytes, exchanged_bytes: 0 };
        self.exchange(Box::new(begun), &partial)
    }

    /// Adds its own up with that of the others.
    fn exchange(&mut self, mut begun: Box<Begun>, partial: &Partial) -> Result<Vec<Outgoing>, Refusal> {
        let (share, round) = (&self.plan.share, partial.round);
        let circle = share.circle(round);
        if circle.is_alone() {
            let sums = self.compute.install(|| partial.total());
            return self.proceed(begun, on_the_wire(round), sums);
        }
        begun.exchanged_bytes += share.exchanged_bytes(round, partial.numbers()) as u64;
        let own = self.compute.install(|| partial.node_sums());
        let (exchange, letters) = Exchange::begin(circle.clone(), begun.step.0, on_the_wire(round), &own);
        // The next step's maps need the weights that the sums lead to: nothing of it can be done meanwhile.
        self.doing = Doing::Exchanging(begun, exchange);
        Ok(letters.into_iter().map(Outgoing::Letter).collect())
    }

    /// Takes in a slice of the member at a place.
    fn take(
        &mut self,
        begun: Box<Begun>,
        mut exchange: Exchange,
        from: usize,
        slice: &wire::Slice,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let letters = self.compute.install(|| exchange.take(slice)).map_err(|error| {
            let refused = Refused {
                reason: Reason::Malformed,
                passing: false,
                message: error.to_string(),
                whose: None,
            };
            Refusal::sharer(&self.plan.share.group[from], refused)
        })?;
        let mut outgoing: Vec<_> = letters.into_iter().map(Outgoing::Letter).collect();
        if exchange.wants().is_some() {
            self.doing = Doing::Exchanging(begun, exchange);
        } else {
            let round = exchange.round();
            outgoing.extend(self.proceed(begun, round, exchange.sums())?);
        }
        Ok(outgoing)
    }

    /// What follows upon the sums of a round, unless it would spoil the layer: all who take part have the same sums, so all or
    /// none.
    fn proceed(
        &mut self,
        begun: Box<Begun>,
        round: wire::Round,
        sums: Sums,
    ) -> Result<Vec<Outgoing>, Refusal> {
        if !sums.is_finite() {
            let what = match round {
                wire::Round::Goodness => "goodness",
                _ => "a gradient or the loss",
            };
            return Err(self.plan.not_finite(what, begun.step));
        }
        let Self { compute, stage, .. } = self;
        match compute.install(|| stage.proceed(&begun.input, sums)) {
            Progress::Exchange(partial) => self.exchange(begun, &partial),
            Progress::Done(report) => self.report(*begun, &report),
        }
    }

    /// The end of a step.
    fn report(&mut self, begun: Begun, report: &StepReport) -> Result<Vec<Outgoing>, Refusal> {
        if !self.stage.layer().is_finite() {
            return Err(self.plan.not_finite("a weight", begun.step));
        }
        self.busy.0 += 1;
        let report = wire::StepReport {
            waiting_seconds: begun.waited.as_secs_f64(),
            exchanged_bytes: begun.exchanged_bytes,
            forwarded_bytes: begun.forwarded_bytes,
            kept_bytes: self.feeding.kept_bytes() as u64,
            ..report_message(report)
        };
        let replies =
            std::iter::once(Reply::Step(report)).chain(begun.passed_on.into_iter().map(Reply::PassedOn));
        Ok(replies.map(Outgoing::Up).collect())
    }

    /// The state after the batches so far, cut into messages; or its checksum, where another member has the same state.
    fn checkpoint(&self) -> Result<Vec<Outgoing>, Refusal> {
        let (state, finite) = self.compute.install(|| {
            let state = self.stage.layer().state();
            let finite = state.is_finite();
            (state, finite)
        });
        if !finite {
            return Err(self.plan.not_finite("its state", Step(state.step.0.saturating_sub(1))));
        }
        let (step, bytes) = (state.step.0, Bytes::from(encode_state(&state, Header::new())));
        let share = &self.plan.share;
        let (steps, busy) = self.busy;
        let message = wire::StatePart {
            step,
            length: bytes.len() as u64,
            start: share.own.channels.start as u64,
            first_sample: share.own.samples.start as u64,
            part_seconds: busy.as_secs_f64() / f64::from(steps.max(1)) / share.parts as f64,
            ..wire::StatePart::default()
        };
        if message.first_sample > 0 {
            let sha256 = self.compute.install(|| sha256(&bytes));
            return Ok(vec![Outgoing::Up(Reply::State(wire::StatePart { sha256, ..message }))]);
        }
        let part = |part| wire::StatePart { part, ..message.clone() };
        Ok(parts(&bytes).map(|bytes| Outgoing::Up(Reply::State(part(bytes)))).collect())
    }
}

impl Doing {
    fn expects(&self) -> &'static str {
        match self {
            Self::Nothing => "`batch` or `checkpoint`",
            Self::Exchanging(..) => "a `slice` of another member of the group",
        }
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Told(Instruction::Open(_)) => "another `state`",
            Self::Told(Instruction::Step(_)) => "`batch`",
            Self::Told(Instruction::Checkpoint) => "`checkpoint`",
            Self::Slice(..) => "a `slice`",
        }
    }
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
    let rows = batch.rows.iter().map(|rows| rows.payload().len()).sum::<usize>();
    (wire::Batch::from(&batch.message).encoded_len() + rows) as u64
}
