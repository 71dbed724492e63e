//! Layers to be trained by groups, whose letters a test carries.

use std::cell::Cell;
use std::collections::VecDeque;

use proto::batch::ArrivingBatch;
use proto::row_bytes::RowBytes;
use proto::rows::Precision;
use scff::batch::{Batch, Epoch, LayerIndex, SampleKey, Variant};
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, BiRnn, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource, SequencePadding,
    Summary, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::seed::{Purpose, Seed};
use scff::train::{Hyperparameters, Sharing};

use super::*;
use crate::hosted::Hosted;
use crate::session::ArrivedBatch;
use crate::stage::Budget;

/// A layer to be trained, by one or by several.
#[derive(Clone, Copy)]
pub struct Setting {
    pub map: LayerMap,
    pub block: usize,
    pub sharing: Sharing,
    pub learning_rate: f64,
    pub size: usize,
    pub negatives: usize,
}

pub const DENSE: Setting = Setting {
    map: LayerMap::Dense(Dense { inputs: 6, outputs: 12 }),
    block: 4,
    sharing: Sharing::Channels,
    learning_rate: 0.01,
    size: 5,
    negatives: 2,
};
const INPUT: MapShape = MapShape { height: 8, width: 8, channels: 1 };
pub const CONV: Setting = Setting {
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
/// Its slices take two messages.
pub const TALL: Setting = Setting {
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

/// Takes pairs, of a layer that trains at the same time, and is shared by both samples and channels.
pub const GRID: Setting = Setting {
    map: LayerMap::Conv(Conv {
        input: MapShape { height: 8, width: 8, channels: 3 },
        channels: 8,
        kernel: 3,
        padding: 1,
        algorithm: Algorithm::Winograd,
    }),
    sharing: Sharing::Grid,
    ..DENSE
};

/// Shared by directions, on sequences of different lengths.
pub const BIRNN: Setting = Setting {
    map: LayerMap::BiRnn(BiRnn {
        input: MapShape { height: 7, width: 1, channels: 3 },
        hidden: 5,
        padding: SequencePadding::Masked,
        summary: Summary::Last,
    }),
    ..DENSE
};

/// What a member owns: channels from and to, samples from and to.
pub type Owned = [u64; 4];

impl Setting {
    fn spec(&self) -> LayerSpec {
        LayerSpec {
            name: "layer".into(),
            map: self.map,
            pairs: if self.is_live() { PairSource::Takes } else { PairSource::Makes },
            transmit: match self.map {
                LayerMap::BiRnn(_) => Transmit::Standardized,
                LayerMap::Dense(_) | LayerMap::Conv(_) => Transmit::Relu,
            },
            pool: None,
            readout_pool: None,
            block: self.block,
        }
    }

    /// Whether pairs arrive, of a layer below.
    fn is_live(&self) -> bool {
        self.sharing == Sharing::Grid
    }

    /// Rows that arrive with a batch.
    fn rows(&self) -> usize {
        if self.is_live() { self.size * (1 + self.negatives) } else { self.size }
    }

    /// Elements of each row of a batch, where they differ.
    fn lengths(&self, step: u64) -> Vec<u32> {
        let Some(birnn) = self.map.recurrent() else { return Vec::new() };
        let frames = |index: usize| 1 + (3 * index + step as usize) % birnn.frames();
        (0..self.size).map(|index| (frames(index) * birnn.features()) as u32).collect()
    }

    pub fn state(&self) -> LayerState {
        let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(0), Epoch(0), Step(0));
        LayerState::initial(&self.map, &mut random)
    }

    /// The trainer at a place of `group`.
    pub fn trainer(&self, group: &[Owned], place: usize, state: &LayerState) -> Trainer {
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
        let shard = |(place, &[start, end, first_sample, end_sample]): (usize, &Owned)| wire::Shard {
            address: format!("a:{place}"),
            start,
            end,
            first_sample,
            end_sample,
            ..wire::Shard::default()
        };
        let begin = wire::TrainBegin {
            run: "run".into(),
            spec: Some((&self.spec()).into()),
            hyperparameters: Some((&hyperparameters).into()),
            batch: self.size as u32,
            elements: self.map.inputs() as u64,
            wire: wire::Wire::F32.into(),
            group: group.iter().enumerate().map(shard).collect(),
            place: place as u32,
            silence_seconds: 30,
            live: self.is_live(),
            ..wire::TrainBegin::default()
        };
        let budget = Budget { memory_bytes: u64::MAX, cache_bytes: 0 };
        let plan = StagePlan::parse(begin, &Hosted::default(), budget).unwrap();
        let compute = Arc::new(Compute::new(1, Duration::from_mins(1)).unwrap());
        Trainer::open(plan, compute, ticking, &encode_state(state, Header::new())).unwrap()
    }

    /// All members of a group.
    pub fn group(&self, group: &[Owned]) -> Vec<Trainer> {
        (0..group.len().max(1)).map(|place| self.trainer(group, place, &self.state())).collect()
    }

    pub fn batch(&self, step: u64) -> Instruction {
        let keys = (0..self.size as u32).map(|index| SampleKey { index, variant: Variant(0) });
        let lengths = self.lengths(step);
        let numbers = if lengths.is_empty() {
            self.rows() * self.map.inputs()
        } else {
            lengths.iter().map(|&length| length as usize).sum()
        };
        let values: Vec<f32> =
            (0..numbers).map(|i| ((i as u64 * 7919 + step * 104_729) % 1009) as f32 / 504.0 - 1.0).collect();
        let mut payload = Vec::new();
        Precision::F32.encode(&values, &mut payload).unwrap();
        let length = self.map.reads();
        let rows =
            wire::Rows { rows: self.rows() as u32, payload: payload.into(), lengths: self.lengths(step) };
        let arriving = if self.is_live() { 0 } else { self.size };
        Instruction::Step(ArrivedBatch {
            message: ArrivingBatch {
                batch: Batch {
                    step: Step(step),
                    first: keys.clone().collect(),
                    second: None,
                    shifts: (1..=self.negatives).collect(),
                },
                arriving: keys.take(arriving).map(|key| (key, false)).collect(),
            },
            rows: vec![RowBytes::parse(rows, length, Precision::F32, self.rows()).unwrap()],
        })
    }

    /// The state after some steps of a group, and the losses; each step is told once the one before has ended.
    pub fn train(&self, group: &[Owned], steps: u64) -> Result<(LayerState, Vec<wire::StepReport>), Refusal> {
        let mut trainers = self.group(group);
        let mut replies = Vec::new();
        for step in 0..steps {
            replies.extend(tell(&mut trainers, || self.batch(step))?);
        }
        replies.extend(tell(&mut trainers, || Instruction::Checkpoint)?);
        Ok(self.outcome(replies))
    }

    /// The same where all is told at once, and the rounds in which batches were prepared.
    pub fn train_ahead(
        &self,
        group: &[Owned],
        steps: u64,
    ) -> ((LayerState, Vec<wire::StepReport>), Vec<wire::Round>) {
        let mut trainers = self.group(group);
        let told = || (0..steps).map(|step| self.batch(step)).chain([Instruction::Checkpoint]).collect();
        let told = trainers.iter().map(|_| told()).collect();
        let mut replies = Vec::new();
        let prepared = carry(&mut trainers, told, &mut replies).unwrap();
        (self.outcome(replies), prepared)
    }

    fn outcome(&self, replies: Vec<Reply>) -> (LayerState, Vec<wire::StepReport>) {
        let (mut reports, mut first_row, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for reply in replies {
            match reply {
                Reply::Step(report) => {
                    reports.push(wire::StepReport { exchanged_bytes: 0, forwarded_bytes: 0, ..report });
                }
                Reply::State(part) if part.first_sample == 0 => first_row.push(part),
                Reply::State(part) => others.push(part),
                reply @ Reply::Ready(_) => panic!("{reply:?} is no report and no state"),
            }
        }
        first_row.sort_by_key(|part| part.start);
        for other in others {
            let same = first_row.iter().find(|part| part.start == other.start).expect("in the same column");
            assert!(other.part.is_empty());
            assert_eq!(other.sha256, sha256(&same.part), "all of a column come to the same state");
        }
        let specs = self.map.tensors();
        let states: Vec<_> =
            first_row.iter().map(|part| decode_state(&part.part, &specs).unwrap().0).collect();
        (if states.len() > 1 { LayerState::assemble(&states) } else { states[0].clone() }, reports)
    }
}

/// A clock that goes on by a millisecond whenever somebody looks.
fn ticking() -> Duration {
    thread_local!(static TICKS: Cell<u64> = const { Cell::new(0) });
    Duration::from_millis(TICKS.replace(TICKS.get() + 1))
}

/// Tells all members the same, and brings each what the others send; returns what reaches the client.
pub fn tell(trainers: &mut [Trainer], instruction: impl Fn() -> Instruction) -> Result<Vec<Reply>, Refusal> {
    let told = trainers.iter().map(|_| VecDeque::from([instruction()])).collect();
    let mut replies = Vec::new();
    carry(trainers, told, &mut replies)?;
    Ok(replies)
}

/// Brings each member its instructions, batches as soon as it has time for them, and what the others send. Adds to `replies` what
/// reaches the client; returns the rounds in which batches were prepared.
pub fn carry(
    trainers: &mut [Trainer],
    mut told: Vec<VecDeque<Instruction>>,
    replies: &mut Vec<Reply>,
) -> Result<Vec<wire::Round>, Refusal> {
    // From each member to each other.
    let mut mail = vec![vec![VecDeque::new(); trainers.len()]; trainers.len()];
    let mut tasks: Vec<Option<Box<Task>>> = trainers.iter().map(|_| None).collect();
    let mut prepared = Vec::new();
    loop {
        let next = trainers.iter().enumerate().find_map(|(place, trainer)| {
            let is_step = matches!(told[place].front(), Some(Instruction::Step(_)));
            let event = match trainer.wants() {
                Wants::Slice(_) if trainer.has_time() && is_step => Event::Told(told[place].pop_front()?),
                Wants::Slice(from) => Event::Slice(from, mail[from][place].pop_front()?),
                Wants::Prepared => Event::Prepared(Box::new(tasks[place].take()?.run())),
                Wants::Instruction => Event::Told(told[place].pop_front()?),
            };
            Some((place, event))
        });
        let Some((place, event)) = next else { break };
        for outgoing in trainers[place].handle(event, Duration::from_secs(3))? {
            match outgoing {
                Outgoing::Letter(Letter { to, slice }) => mail[place][to].push_back(slice),
                Outgoing::Prepare(task) => {
                    let Doing::Exchanging(_, exchange) = &trainers[place].doing else { panic!("no round") };
                    prepared.push(exchange.round());
                    tasks[place] = Some(task);
                }
                Outgoing::Up(Reply::Step(_)) if place > 0 => {}
                Outgoing::Up(reply) => replies.push(reply),
                Outgoing::Output(output) => panic!("nobody takes {output:?}"),
            }
        }
    }
    assert!(mail.iter().flatten().all(VecDeque::is_empty), "everything sent is wanted");
    Ok(prepared)
}
