//! Training a layer, or a share of one: a state machine from instructions and slices to what is sent, without a thread, a
//! socket or a clock of its own.
//!
//! A step begins, goes through the rounds in which its sums are exchanged with those who share the layer, and ends with a report.
//! Whoever has a layer for itself needs nobody. While others' sums are on their way, the next batch can be prepared elsewhere: at most
//! one, for the trainer hands out what prepares it ([`Outgoing::Prepare`]) and gets it back ([`Event::Prepared`]).

mod feed;
mod preparer;
mod contribution;
mod taken;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::state::{Header, decode_state, encode_state, parts, sha256};
use proto::wire::train_reply::Reply;
use proto::{WireError, wire};
use scff::batch::Step;
use scff::train::{Half, PairedSamples, Progress, Round, StepReport, Sums, TrainingLayer, TrainingStage};

use crate::compute::Compute;
use crate::exchange::{Exchange, Letter, on_the_wire};
use crate::party::Shared;
use crate::passed_rows::Output;
use crate::refusal::Refusal;
use crate::session::Instruction;
use crate::stage::StagePlan;

use contribution::{Contribution, longest_round};
pub use preparer::{Done, Task};
use preparer::{PreparedBatch, Preparer};
use taken::Taken;

/// More steps than this were never taken; counting on from here cannot overflow.
const STEPS: u64 = 1 << 53;

/// A layer in training, or a share of one, with what is kept of its samples.
pub struct Trainer {
    compute: Arc<Compute>,
    now: fn() -> Duration,
    plan: Arc<StagePlan>,
    stage: TrainingStage,
    /// Missing while it prepares a batch elsewhere.
    preparer: Option<Preparer>,
    doing: Doing,
    taken: Taken,
}

/// Something that happens to a trainer.
#[derive(Debug)]
pub enum Event {
    /// The session says what to do.
    Told(Instruction),
    /// A member of the group, by its place, has sent this.
    Slice(usize, wire::Slice),
    /// The next batch, which was prepared elsewhere.
    Prepared(Box<Done>),
}

/// What comes out of a trainer.
#[derive(Debug)]
pub enum Outgoing {
    /// To the client, or to the worker above.
    Up(Reply),
    /// To another member of the group.
    Letter(Letter),
    /// The next batch, to be prepared while others' slices arrive.
    Prepare(Box<Task>),
    /// To who trains the layer above.
    Output(Output),
}

/// What a trainer can go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// A batch, or a request for a checkpoint.
    Instruction,
    /// A slice of the member at this place; and, if it [has time](Trainer::has_time), a batch.
    Slice(usize),
    /// The batch that is being prepared elsewhere.
    Prepared,
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
    passed_on: Vec<Output>,
    /// How long the batch was waited for.
    waited: Duration,
    /// Bytes that the whole group sends for it: of the batch, and of sums.
    forwarded_bytes: u64,
    exchanged_bytes: u64,
    /// Bytes of activations that are kept.
    kept_bytes: u64,
    /// In which round most is sent and waited for.
    longest: wire::Round,
}

/// What follows upon the sums of a round.
enum Next {
    Exchange(Round, Contribution),
    Report(StepReport),
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
        let plan = Arc::new(plan);
        let preparer = Some(Preparer::new(plan.clone(), stage.preparation().clone()));
        Ok(Self { compute, now, plan, stage, preparer, doing: Doing::Nothing, taken: Taken::default() })
    }

    /// What it waits for: anything else is refused.
    pub fn wants(&self) -> Wants {
        match &self.doing {
            Doing::Nothing if self.preparer.is_none() => Wants::Prepared,
            Doing::Nothing => Wants::Instruction,
            Doing::Exchanging(_, exchange) => Wants::Slice(exchange.wants().expect("it is not over")),
        }
    }

    /// Whether the next batch can be prepared while slices arrive. In a step of two rounds only in the one in which more is waited
    /// for: what is not done by its end delays what follows upon it.
    pub fn has_time(&self) -> bool {
        match &self.doing {
            Doing::Nothing => false,
            Doing::Exchanging(begun, exchange) => {
                self.preparer.is_some() && exchange.round() == begun.longest
            }
        }
    }

    /// What comes out of it because of `event`, which took so long to come. After an error it is of no more use.
    pub fn handle(&mut self, event: Event, waited: Duration) -> Result<Vec<Outgoing>, Refusal> {
        let (began, has_time) = ((self.now)(), self.has_time());
        let outgoing = match (std::mem::replace(&mut self.doing, Doing::Nothing), self.preparer.take(), event)
        {
            (Doing::Nothing, Some(preparer), Event::Told(Instruction::Checkpoint)) => {
                self.preparer = Some(preparer);
                return self.checkpoint();
            }
            (Doing::Nothing, Some(mut preparer), Event::Told(Instruction::Step(arrived))) => {
                let step = self.stage.layer().step_count();
                let batch = self.compute.install(|| preparer.prepare(&arrived, step))?;
                drop(arrived);
                self.preparer = Some(preparer);
                self.begin(batch, waited)?
            }
            (Doing::Nothing, None, Event::Prepared(done)) => {
                let Done { preparer, batch, taken, .. } = *done;
                self.taken.prepared(&taken);
                self.preparer = Some(preparer);
                // It was there in time.
                self.begin(batch?, Duration::ZERO)?
            }
            (doing @ Doing::Exchanging(..), Some(preparer), Event::Told(Instruction::Step(arrived)))
                if has_time =>
            {
                self.doing = doing;
                self.taken.prepare();
                let expected = Step(self.stage.layer().step_count().0 + 1);
                let task = Task { preparer, arrived, expected, now: self.now };
                vec![Outgoing::Prepare(Box::new(task))]
            }
            (Doing::Exchanging(begun, exchange), preparer, Event::Slice(from, slice))
                if exchange.wants() == Some(from) =>
            {
                self.preparer = preparer;
                self.take(begun, exchange, from, &slice)?
            }
            (doing, preparer, event) => {
                let expected = doing.expects(preparer.is_some());
                return Err(WireError::new("request", event.name(), expected).into());
            }
        };
        self.taken.add(began..(self.now)());
        Ok(outgoing)
    }

    /// What needs nothing of others.
    fn begin(&mut self, batch: PreparedBatch, waited: Duration) -> Result<Vec<Outgoing>, Refusal> {
        let PreparedBatch { pairs, shifts, forwarded_bytes, kept_bytes } = batch;
        let Self { compute, stage, plan, .. } = self;
        let step = stage.layer().step_count();
        let (input, round, own, passed_on) = compute.install(|| {
            let Half { input, partial, passed_on } = stage.begin(pairs, plan.pass_on);
            let own = Contribution::new(&plan.share, &partial);
            (input, partial.round, own, plan.passed_on(step, &shifts, &passed_on))
        });
        let passed_on = passed_on?;
        let longest = longest_round(plan, round, &own);
        let exchanged_bytes = 0;
        let begun =
            Begun { step, input, passed_on, waited, forwarded_bytes, exchanged_bytes, kept_bytes, longest };
        self.exchange(Box::new(begun), round, own)
    }

    /// Adds its own up with that of the others.
    fn exchange(
        &mut self,
        mut begun: Box<Begun>,
        round: Round,
        own: Contribution,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let (share, on_the_wire) = (&self.plan.share, on_the_wire(round));
        let own = match own {
            Contribution::Whole(sums) => return self.proceed(begun, on_the_wire, sums),
            Contribution::Own(own) => own,
        };
        begun.exchanged_bytes += share.exchanged_bytes(round, own.numbers.ncols()) as u64;
        let circle = share.circle(round).clone();
        let (exchange, letters) = Exchange::begin(circle, begun.step.0, on_the_wire, &own);
        self.doing = Doing::Exchanging(begun, exchange);
        Ok(letters.into_iter().map(Outgoing::Letter).collect())
    }

    /// Takes in a slice of the member at a place. On this thread, for those that compute may be preparing a batch.
    fn take(
        &mut self,
        begun: Box<Begun>,
        mut exchange: Exchange,
        from: usize,
        slice: &wire::Slice,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let letters = exchange
            .take(slice)
            .map_err(|error| Refusal::malformed(Shared::Layer, &self.plan.share.group[from], &error))?;
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
        let Self { compute, stage, plan, .. } = self;
        let next = compute.install(|| match stage.proceed(&begun.input, sums) {
            Progress::Exchange(partial) => {
                Next::Exchange(partial.round, Contribution::new(&plan.share, &partial))
            }
            Progress::Done(report) => Next::Report(report),
        });
        match next {
            Next::Exchange(round, own) => self.exchange(begun, round, own),
            Next::Report(report) => self.report(*begun, &report),
        }
    }

    /// The end of a step.
    fn report(&mut self, begun: Begun, report: &StepReport) -> Result<Vec<Outgoing>, Refusal> {
        if !self.stage.layer().is_finite() {
            return Err(self.plan.not_finite("a weight", begun.step));
        }
        self.taken.step();
        let report = wire::StepReport {
            waiting_seconds: begun.waited.as_secs_f64(),
            exchanged_bytes: begun.exchanged_bytes,
            forwarded_bytes: begun.forwarded_bytes,
            kept_bytes: begun.kept_bytes,
            ..report_message(report)
        };
        // First: who is told of the step may count on it that its outputs are on their way.
        let outputs = begun.passed_on.into_iter().map(Outgoing::Output);
        Ok(outputs.chain([Outgoing::Up(Reply::Step(report))]).collect())
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
        let message = wire::StatePart {
            step,
            length: bytes.len() as u64,
            start: share.own.channels.start as u64,
            first_sample: share.own.samples.start as u64,
            part_seconds: self.taken.of_a_step().as_secs_f64() / share.parts as f64,
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
    /// Whether or not it could have a batch prepared.
    fn expects(&self, can_prepare: bool) -> &'static str {
        match self {
            Self::Nothing if !can_prepare => "the batch that is being prepared",
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
            Self::Prepared(_) => "a prepared batch",
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
