//! Training a layer, or a share of one: a state machine from instructions and sums to what is sent, without a thread, a
//! socket or a clock of its own.
//!
//! A step has two halves. Between them come the sums over all who share the layer: those of the workers below go up the chain,
//! and each adds its own; the first has the totals, which go down. Whoever has a layer for itself needs nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::state::{Header, decode_state, encode_state, parts};
use proto::wire::train_reply::Reply;
use proto::{WireError, wire};
use scff::batch::{SampleKey, Step};
use scff::samples::Samples;
use scff::train::{
    Half, PairedSamples, Partial, Progress, Sharing, StepReport, Sums, TrainingLayer, TrainingStage,
};

use crate::cache::Cache;
use crate::compute::Compute;
use crate::group::Link;
use crate::refusal::Refusal;
use crate::samples::{decode, encode};
use crate::session::{ArrivedBatch, Instruction};
use crate::stage::{Feed, StagePlan};
use crate::sums::{ArrivingSums, messages};

/// More steps than this were never taken; counting on from here cannot overflow.
const STEPS: u64 = 1 << 53;

/// A layer in training, or a share of one, with what is kept of its samples.
pub struct Trainer {
    compute: Arc<Compute>,
    now: fn() -> Duration,
    plan: StagePlan,
    stage: TrainingStage,
    cache: Cache,
    doing: Doing,
    /// Steps taken, and how long they took without waiting for anybody.
    busy: (u32, Duration),
}

/// Something that happens to a trainer.
#[derive(Debug)]
pub enum Event {
    /// The session says what to do.
    Told(Instruction),
    /// The worker below has sent sums.
    Below(wire::Sums),
}

/// What a trainer sends.
#[derive(Debug)]
pub enum Outgoing {
    /// To the client, or to the worker above.
    Up(Reply),
    /// To all below.
    Totals(wire::Sums),
}

/// What a trainer can go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// A batch, or a request for a checkpoint.
    Instruction,
    /// Sums of the worker below.
    Below,
    /// Totals of the first worker.
    Totals,
}

/// Where in a step it is.
enum Doing {
    /// Between steps.
    Nothing,
    /// Sums over those below are arriving.
    Adding(Box<(Halfway, Partial)>, ArrivingSums),
    /// Totals are arriving.
    Awaiting(Box<Halfway>, ArrivingSums),
}

/// A step between its halves.
struct Halfway {
    step: Step,
    input: PairedSamples,
    passed_on: Vec<wire::Rows>,
    /// How long the batch was waited for.
    waited: Duration,
    forwarded_bytes: u64,
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
        let (spec, shard) = (plan.spec.clone(), plan.shard());
        let layer = TrainingLayer::shard(spec, plan.hyperparameters, &state, Some(shard))
            .map_err(Refusal::misshapen("state"))?;
        let stage = TrainingStage::new(plan.prefix.clone(), layer);
        let cache = Cache::new(plan.kept_bytes);
        Ok(Self { compute, now, plan, stage, cache, doing: Doing::Nothing, busy: (0, Duration::ZERO) })
    }

    /// What it waits for: anything else is refused.
    pub fn wants(&self) -> Wants {
        match self.doing {
            Doing::Nothing => Wants::Instruction,
            Doing::Adding(..) => Wants::Below,
            Doing::Awaiting(..) => Wants::Totals,
        }
    }

    /// What is sent because of `event`, which took so long to come. After an error it is of no more use.
    pub fn handle(&mut self, event: Event, waited: Duration) -> Result<Vec<Outgoing>, Refusal> {
        let began = (self.now)();
        let outgoing = match (std::mem::replace(&mut self.doing, Doing::Nothing), event) {
            (Doing::Nothing, Event::Told(Instruction::Checkpoint)) => return self.checkpoint(),
            (Doing::Nothing, Event::Told(Instruction::Step(batch))) => self.begin(&batch, waited)?,
            (Doing::Adding(begun, mut arriving), Event::Below(message)) => match arriving.take(&message)? {
                Some(sums) => self.add(*begun, sums)?,
                None => self.go_on(Doing::Adding(begun, arriving)),
            },
            (Doing::Awaiting(half, mut arriving), Event::Told(Instruction::Totals(message))) => {
                match arriving.take(&message)? {
                    Some(totals) => self.finish(*half, totals)?,
                    None => self.go_on(Doing::Awaiting(half, arriving)),
                }
            }
            (doing, event) => return Err(WireError::new("request", event.name(), doing.expects()).into()),
        };
        self.busy.1 += (self.now)().saturating_sub(began);
        Ok(outgoing)
    }

    fn go_on(&mut self, doing: Doing) -> Vec<Outgoing> {
        self.doing = doing;
        Vec::new()
    }

    /// The first half of a step.
    fn begin(&mut self, batch: &ArrivedBatch, waited: Duration) -> Result<Vec<Outgoing>, Refusal> {
        let ArrivedBatch { message, .. } = batch;
        let step = self.stage.layer().step_count();
        if message.batch.step != step {
            return Err(WireError::new("batch.step", message.batch.step.0, step.0).into());
        }
        self.plan.check_memory(message.batch.shifts.len())?;
        let rows = match self.plan.shape.feed {
            Feed::Keys => self.keyed(batch)?,
            Feed::LiveSamples | Feed::LivePairs => self.decoded(&batch.activations().collect::<Vec<_>>()),
        };
        let StagePlan { shape, pass_on, .. } = self.plan;
        let Self { compute, stage, .. } = self;
        let (input, partial, passed_on) = compute.install(|| {
            let Half { input, partial, passed_on } =
                stage.forward(rows, shape.two_views, &message.batch.shifts, pass_on);
            (input, partial, encode(&passed_on, shape.precision))
        });
        let passed_on = passed_on.map_err(|unfit| self.plan.unfit(unfit))?;
        let links = self.plan.share.below.len() as u64;
        let forwarded_bytes = links * forwarded_bytes(batch);
        let half = Halfway { step, input, passed_on, waited, forwarded_bytes };
        let numbers = partial.numbers();
        match self.plan.share.link {
            Link::First | Link::Middle => {
                let arriving = ArrivingSums::new(step.0, numbers);
                Ok(self.go_on(Doing::Adding(Box::new((half, partial)), arriving)))
            }
            Link::Alone => self.finish(half, partial.total()),
            Link::Last => {
                let zeros = Sums { numbers: vec![0.0; numbers], ..Sums::default() };
                self.add((half, partial), zeros)
            }
        }
    }

    /// Adds its own to the sums over those below.
    fn add(&mut self, (half, partial): (Halfway, Partial), mut sums: Sums) -> Result<Vec<Outgoing>, Refusal> {
        let own = partial.node_sums();
        for node in own.numbers.outer_iter() {
            sums.numbers.iter_mut().zip(node).for_each(|(sum, number)| *sum += number);
        }
        own.losses.iter().for_each(|loss| sums.loss += *loss);
        drop((partial, own));
        let messages = || messages(half.step.0, &sums).into_iter();
        match self.plan.share.link {
            Link::Alone => self.finish(half, sums),
            Link::First => {
                let totals: Vec<_> = messages().map(Outgoing::Totals).collect();
                Ok(totals.into_iter().chain(self.finish(half, sums)?).collect())
            }
            Link::Middle | Link::Last => {
                let outgoing = messages().map(|message| Outgoing::Up(Reply::Sums(message))).collect();
                let arriving = ArrivingSums::new(half.step.0, sums.numbers.len());
                // The next step's maps need the weights that the totals lead to: nothing of it can be done meanwhile.
                self.doing = Doing::Awaiting(Box::new(half), arriving);
                Ok(outgoing)
            }
        }
    }

    /// The second half of a step, unless it would spoil the layer: all who share it have the same totals, so all or none.
    fn finish(&mut self, half: Halfway, totals: Sums) -> Result<Vec<Outgoing>, Refusal> {
        if !totals.is_finite() {
            let what = match self.plan.hyperparameters.sharing {
                Sharing::Channels | Sharing::Grid => "goodness",
                Sharing::Samples => "a gradient or the loss",
            };
            return Err(self.plan.not_finite(what, half.step));
        }
        let exchanged = 4 * totals.numbers.len() as u64;
        let Self { compute, stage, .. } = self;
        let report = match compute.install(|| stage.proceed(&half.input, totals)) {
            Progress::Done(report) => report,
            Progress::Exchange(partial) => return self.finish(half, partial.total()),
        };
        if !stage.layer().is_finite() {
            return Err(self.plan.not_finite("a weight", half.step));
        }
        self.busy.0 += 1;
        let report = wire::StepReport {
            waiting_seconds: half.waited.as_secs_f64(),
            // Up and down every link of the chain.
            exchanged_bytes: 2 * self.plan.share.below.len() as u64 * exchanged,
            forwarded_bytes: half.forwarded_bytes,
            kept_bytes: self.cache.used() as u64,
            ..report_message(&report)
        };
        let replies = std::iter::once(Reply::Step(report)).chain(half.passed_on.into_iter().map(Reply::Rows));
        Ok(replies.map(Outgoing::Up).collect())
    }

    /// The rows of a batch of sample keys; keeps what is to be kept of them.
    fn keyed(&mut self, batch: &ArrivedBatch) -> Result<Samples, Refusal> {
        let arrivals = self.arrivals(batch)?;
        let rows = self.gather(batch, &arrivals)?;
        for &(key, _) in batch.message.arriving.iter().filter(|(_, keep)| *keep) {
            self.cache.keep(key, arrivals[&key]).expect("room was checked");
        }
        Ok(rows)
    }

    /// The activations that came with the batch, by key.
    fn arrivals<'b>(&self, batch: &'b ArrivedBatch) -> Result<HashMap<SampleKey, &'b [u8]>, WireError> {
        let arriving = &batch.message.arriving;
        let mut arrivals = HashMap::with_capacity(arriving.len());
        for (&(key, _), row) in arriving.iter().zip(batch.activations()) {
            if arrivals.insert(key, row).is_some() {
                let found = format_args!("{key} twice").to_string();
                return Err(WireError::new("batch.arriving", found, "every key once"));
            }
        }
        let keeping = arriving.iter().filter(|(_, keep)| *keep);
        let new: usize = keeping.map(|(key, _)| self.cache.needs(*key, arrivals[key])).sum();
        let kept = self.cache.used() + new;
        if kept > self.cache.capacity() {
            let expected = format_args!("at most {} (kept_bytes)", self.cache.capacity()).to_string();
            return Err(WireError::new("batch.keep", format_args!("{kept} bytes to keep"), expected));
        }
        Ok(arrivals)
    }

    /// The batch's rows in single precision.
    fn gather(
        &self,
        batch: &ArrivedBatch,
        arrivals: &HashMap<SampleKey, &[u8]>,
    ) -> Result<Samples, WireError> {
        let find = |key| arrivals.get(&key).copied().or_else(|| self.cache.get(key));
        let sources = batch.message.batch.rows().map(|key| {
            find(key).ok_or_else(|| {
                WireError::new("batch.arriving", format_args!("no {key}"), "every key that is not kept")
            })
        });
        let sources: Vec<&[u8]> = sources.collect::<Result<_, _>>()?;
        Ok(self.decoded(&sources))
    }

    fn decoded(&self, sources: &[&[u8]]) -> Samples {
        let shape = &self.plan.shape;
        self.compute.install(|| decode(sources, shape.length, shape.precision))
    }

    /// The state after the batches so far, cut into messages.
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
        let block_seconds = busy.as_secs_f64() / f64::from(steps.max(1)) / share.parts as f64;
        let (length, start) = (bytes.len() as u64, share.own.start as u64);
        let part = |part| wire::StatePart { step, length, part, start, block_seconds };
        Ok(parts(&bytes).map(|bytes| Outgoing::Up(Reply::State(part(bytes)))).collect())
    }
}

impl Doing {
    fn expects(&self) -> &'static str {
        match self {
            Self::Nothing => "`batch` or `checkpoint`",
            Self::Adding(..) => "`sums` of the worker below",
            Self::Awaiting(..) => "`totals`",
        }
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Told(Instruction::Open(_)) => "another `state`",
            Self::Told(Instruction::Step(_)) => "`batch`",
            Self::Told(Instruction::Checkpoint) => "`checkpoint`",
            Self::Told(Instruction::Totals(_)) => "`totals`",
            Self::Below(_) => "`sums`",
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::VecDeque;

    use proto::batch::ArrivingBatch;
    use proto::row_bytes::RowBytes;
    use proto::rows::Precision;
    use scff::batch::{Batch, Epoch, LayerIndex, Variant};
    use scff::goodness::LossParameters;
    use scff::layer::{
        Algorithm, BiRnn, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource,
        SequencePadding, Summary, Tensors, Transmit,
    };
    use scff::optimizer::OptimizerParameters;
    use scff::seed::{Purpose, Seed};
    use scff::train::Hyperparameters;

    use super::*;
    use crate::hosted::Hosted;
    use crate::stage::Budget;

    /// A layer to be trained, by one or by several.
    #[derive(Clone, Copy)]
    struct Setting {
        map: LayerMap,
        block: usize,
        sharing: Sharing,
        learning_rate: f64,
        size: usize,
        negatives: usize,
    }

    const DENSE: Setting = Setting {
        map: LayerMap::Dense(Dense { inputs: 6, outputs: 12 }),
        block: 4,
        sharing: Sharing::Channels,
        learning_rate: 0.01,
        size: 5,
        negatives: 2,
    };
    const INPUT: MapShape = MapShape { height: 8, width: 8, channels: 1 };
    const CONV: Setting = Setting {
        map: LayerMap::Conv(Conv {
            input: INPUT,
            channels: 4,
            kernel: 3,
            padding: 1,
            algorithm: Algorithm::Direct,
        }),
        sharing: Sharing::Samples,
        size: 32,
        ..DENSE
    };
    /// Its sums take two messages.
    const TALL: Setting = Setting {
        map: LayerMap::Conv(Conv {
            input: MapShape { height: 28, width: 28, channels: 1 },
            channels: 2,
            kernel: 1,
            padding: 0,
            algorithm: Algorithm::Direct,
        }),
        block: 1,
        size: 40,
        negatives: 9,
        ..DENSE
    };

    /// Shared by directions, on sequences of different lengths.
    const BIRNN: Setting = Setting {
        map: LayerMap::BiRnn(BiRnn {
            input: MapShape { height: 7, width: 1, channels: 3 },
            hidden: 5,
            padding: SequencePadding::Masked,
            summary: Summary::Last,
        }),
        ..DENSE
    };

    impl Setting {
        fn spec(&self) -> LayerSpec {
            LayerSpec {
                name: "layer".into(),
                map: self.map,
                pairs: PairSource::Makes,
                transmit: match self.map {
                    LayerMap::BiRnn(_) => Transmit::Standardized,
                    LayerMap::Dense(_) | LayerMap::Conv(_) => Transmit::Relu,
                },
                pool: None,
                readout_pool: None,
                block: self.block,
            }
        }

        /// Elements of each row of a batch, where they differ.
        fn lengths(&self, step: u64) -> Vec<u32> {
            let Some(birnn) = self.map.recurrent() else { return Vec::new() };
            let frames = |index: usize| 1 + (3 * index + step as usize) % birnn.frames();
            (0..self.size).map(|index| (frames(index) * birnn.features()) as u32).collect()
        }

        fn state(&self) -> LayerState {
            let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(0), Epoch(0), Step(0));
            LayerState::initial(&self.map, &mut random)
        }

        /// A trainer of `group`, whose first member it is.
        fn trainer(&self, group: &[(u64, u64)], state: &LayerState) -> Trainer {
            scff::blas::use_one_thread_per_call();
            let hyperparameters = Hyperparameters {
                loss: LossParameters { theta_pos: 1.0, theta_neg: 2.0, lambda: 0.03 },
                optimizer: OptimizerParameters {
                    learning_rate: self.learning_rate,
                    weight_decay: 0.001,
                    gamma: 0.7,
                    period: 2,
                },
                sharing: self.sharing,
            };
            let shard =
                |&(start, end)| wire::Shard { address: "a:1".into(), start, end, ..wire::Shard::default() };
            let begin = wire::TrainBegin {
                run: "run".into(),
                spec: Some((&self.spec()).into()),
                hyperparameters: Some((&hyperparameters).into()),
                batch: self.size as u32,
                elements: self.map.inputs() as u64,
                wire: wire::Wire::F32.into(),
                group: group.iter().map(shard).collect(),
                silence_seconds: 30,
                ..wire::TrainBegin::default()
            };
            let budget = Budget { memory_bytes: u64::MAX, cache_bytes: 0 };
            let plan = StagePlan::parse(begin, &Hosted::default(), budget).unwrap();
            let compute = Arc::new(Compute::new(1, Duration::from_mins(1)).unwrap());
            Trainer::open(plan, compute, ticking, &encode_state(state, Header::new())).unwrap()
        }

        /// All members of a group.
        fn chain(&self, group: &[(u64, u64)]) -> Vec<Trainer> {
            (0..group.len().max(1)).map(|place| self.trainer(&group[place..], &self.state())).collect()
        }

        fn batch(&self, step: u64) -> Instruction {
            let keys = (0..self.size as u32).map(|index| SampleKey { index, variant: Variant(0) });
            let lengths = self.lengths(step);
            let numbers = if lengths.is_empty() {
                self.size * self.map.inputs()
            } else {
                lengths.iter().map(|&length| length as usize).sum()
            };
            let values: Vec<f32> = (0..numbers)
                .map(|i| ((i as u64 * 7919 + step * 104_729) % 1009) as f32 / 504.0 - 1.0)
                .collect();
            let mut payload = Vec::new();
            Precision::F32.encode(&values, &mut payload).unwrap();
            let length = self.map.reads();
            let rows =
                wire::Rows { rows: self.size as u32, payload: payload.into(), lengths: self.lengths(step) };
            Instruction::Step(ArrivedBatch {
                message: ArrivingBatch {
                    batch: Batch {
                        step: Step(step),
                        first: keys.clone().collect(),
                        second: None,
                        shifts: (1..=self.negatives).collect(),
                    },
                    arriving: keys.map(|key| (key, false)).collect(),
                },
                rows: vec![RowBytes::parse(rows, length, Precision::F32, self.size).unwrap()],
            })
        }

        /// The state after some steps of a group, and the losses.
        fn train(
            &self,
            group: &[(u64, u64)],
            steps: u64,
        ) -> Result<(LayerState, Vec<wire::StepReport>), Refusal> {
            let mut chain = self.chain(group);
            let mut reports = Vec::new();
            for step in 0..steps {
                let replies = tell(&mut chain, || self.batch(step))?;
                let [Reply::Step(report)] = &replies[..] else { panic!("{replies:?} is no report") };
                reports.push(wire::StepReport { exchanged_bytes: 0, forwarded_bytes: 0, ..*report });
            }
            let mut parts: Vec<wire::StatePart> = tell(&mut chain, || Instruction::Checkpoint)?
                .into_iter()
                .map(|reply| match reply {
                    Reply::State(part) => part,
                    reply => panic!("{reply:?} is no state"),
                })
                .collect();
            parts.sort_by_key(|part| part.start);
            let specs = self.map.tensors();
            let states: Vec<_> =
                parts.iter().map(|part| decode_state(&part.part, &specs).unwrap().0).collect();
            match self.sharing {
                Sharing::Channels | Sharing::Grid => Ok((LayerState::assemble(&states), reports)),
                Sharing::Samples => {
                    assert!(states.iter().all(|state| *state == states[0]), "all come to the same state");
                    Ok((states[0].clone(), reports))
                }
            }
        }
    }

    /// A clock that goes on by a millisecond whenever somebody looks.
    fn ticking() -> Duration {
        thread_local!(static TICKS: Cell<u64> = const { Cell::new(0) });
        Duration::from_millis(TICKS.replace(TICKS.get() + 1))
    }

    fn wanted(event: &Event) -> Wants {
        match event {
            Event::Below(_) => Wants::Below,
            Event::Told(Instruction::Totals(_)) => Wants::Totals,
            Event::Told(_) => Wants::Instruction,
        }
    }

    /// Tells all members the same, and brings each what the others send; returns what reaches the client.
    fn tell(chain: &mut [Trainer], instruction: impl Fn() -> Instruction) -> Result<Vec<Reply>, Refusal> {
        let mut inboxes: Vec<VecDeque<Event>> =
            chain.iter().map(|_| VecDeque::from([Event::Told(instruction())])).collect();
        let mut replies = Vec::new();
        loop {
            let next = chain.iter().zip(&inboxes).enumerate().find_map(|(place, (trainer, inbox))| {
                let event = inbox.iter().position(|event| wanted(event) == trainer.wants())?;
                Some((place, event))
            });
            let Some((place, event)) = next else { break };
            let event = inboxes[place].remove(event).expect("just found");
            for outgoing in chain[place].handle(event, Duration::from_secs(3))? {
                match outgoing {
                    Outgoing::Up(Reply::Sums(sums)) => inboxes[place - 1].push_back(Event::Below(sums)),
                    Outgoing::Up(Reply::Step(_)) if place > 0 => {}
                    Outgoing::Up(reply) => replies.push(reply),
                    Outgoing::Totals(sums) => inboxes[place + 1..]
                        .iter_mut()
                        .for_each(|inbox| inbox.push_back(Event::Told(Instruction::Totals(sums.clone())))),
                }
            }
        }
        assert!(inboxes.iter().all(VecDeque::is_empty), "everything sent is wanted");
        Ok(replies)
    }

    #[test]
    fn a_group_comes_to_the_weights_of_one_alone() {
        for (setting, group) in [
            (DENSE, &[(8, 12), (4, 8), (0, 4)][..]),
            (DENSE, &[(4, 12), (0, 4)]),
            (CONV, &[(16, 32), (8, 16), (0, 8)]),
            (TALL, &[(1, 2), (0, 1)]),
            (BIRNN, &[(5, 10), (0, 5)]),
        ] {
            let (state, reports) = setting.train(&[], 4).unwrap();
            assert_eq!(state.step, Step(4));
            assert_eq!(setting.train(group, 4).unwrap(), (state, reports), "{group:?}");
        }
    }

    #[test]
    fn what_is_out_of_turn_is_refused_with_what_was_expected() {
        let sums = |step| wire::Sums { step, ..wire::Sums::default() };
        let totals = |step| Event::Told(Instruction::Totals(sums(step)));
        let group: &[(u64, u64)] = &[(8, 12), (4, 8), (0, 4)];
        let refusal = |place: usize, events: Vec<Event>| {
            let mut trainer = DENSE.chain(group).remove(place);
            let mut results = events.into_iter().map(|event| trainer.handle(event, Duration::ZERO));
            results.find_map(Result::err).expect("one of them is refused").to_string()
        };
        let step = |step| Event::Told(DENSE.batch(step));
        let idle = "expected `batch` or `checkpoint`";
        assert_eq!(refusal(0, vec![Event::Below(sums(0))]), format!("request: found `sums`, {idle}"));
        assert_eq!(refusal(2, vec![totals(0)]), format!("request: found `totals`, {idle}"));
        assert_eq!(refusal(0, vec![step(1)]), "batch.step: found 1, expected 0");
        for place in [0, 1] {
            let expected = "expected `sums` of the worker below";
            assert_eq!(
                refusal(place, vec![step(0), totals(0)]),
                format!("request: found `totals`, {expected}")
            );
            assert_eq!(refusal(place, vec![step(0), step(1)]), format!("request: found `batch`, {expected}"));
            assert_eq!(
                refusal(place, vec![step(0), Event::Below(sums(1))]),
                "sums.step: found 1, expected 0"
            );
        }
        let early = refusal(2, vec![step(0), Event::Told(Instruction::Checkpoint)]);
        assert_eq!(early, "request: found `checkpoint`, expected `totals`");
        assert_eq!(refusal(2, vec![step(0), totals(1)]), "sums.step: found 1, expected 0");
    }

    #[test]
    fn training_that_diverges_stops_at_that_step_and_says_what_to_try() {
        for (setting, group, what) in [
            (DENSE, &[(8, 12), (4, 8), (0, 4)][..], "goodness"),
            (CONV, &[(16, 32), (8, 16), (0, 8)], "a gradient or the loss"),
        ] {
            let setting = Setting { learning_rate: 1e20, ..setting };
            setting.train(&[], 1).unwrap();
            let said = setting.train(&[], 2).unwrap_err().to_string();
            let expected = format!(
                "layer 0 (`layer`): {what} is not finite any more in step 1, at a learning rate of 7.00e19: try a lower \
                 layers.0.lr"
            );
            assert!(said.starts_with(&expected), "{said}");
            assert_eq!(setting.train(group, 2).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_seen_in_the_step_that_makes_them() {
        for (setting, group) in
            [(DENSE, &[(4, 12), (0, 4)][..]), (CONV, &[(16, 32), (0, 16)]), (BIRNN, &[(5, 10), (0, 5)])]
        {
            let setting = Setting { learning_rate: 1e39, ..setting };
            for group in [&[], group] {
                let said = setting.train(group, 1).unwrap_err().to_string();
                assert!(
                    said.starts_with("layer 0 (`layer`): a weight is not finite any more in step 0"),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn a_state_that_is_not_finite_stays_where_it_is() {
        let mut state = DENSE.state();
        let mut moments = state.second_moments.weight().to_owned();
        moments[(3, 1)] = f32::INFINITY;
        state.second_moments = Tensors::linear(moments, state.second_moments.bias().to_owned());
        let mut trainer = DENSE.trainer(&[], &state);
        trainer.handle(Event::Told(DENSE.batch(0)), Duration::ZERO).unwrap();
        let refusal = trainer.handle(Event::Told(Instruction::Checkpoint), Duration::ZERO).unwrap_err();
        assert!(
            refusal.to_string().starts_with("layer 0 (`layer`): its state is not finite any more in step 0")
        );
    }

    #[test]
    fn time_is_what_the_clock_says() {
        let mut chain = DENSE.chain(&[]);
        for step in 0..2 {
            let replies = tell(&mut chain, || DENSE.batch(step)).unwrap();
            assert!(
                matches!(&replies[..], [Reply::Step(report)] if (report.waiting_seconds - 3.0).abs() < 1e-9)
            );
        }
        let replies = tell(&mut chain, || Instruction::Checkpoint).unwrap();
        let [Reply::State(part)] = &replies[..] else { panic!("one part") };
        // A millisecond for each step, in three blocks.
        assert!((part.block_seconds - 0.001 / 3.0).abs() < 1e-9, "{}", part.block_seconds);
    }
}
