//! Groups of trainers, whose letters a test carries.

use std::cell::Cell;
use std::collections::VecDeque;

use proto::batch::ArrivingBatch;
use proto::row_bytes::RowBytes;
use proto::rows::Precision;
use scff::batch::SampleKey;
use scff::batch::{Batch, Epoch, LayerIndex, Variant};
use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, BiRnn, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource, SequencePadding,
    Summary, Tensors, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::seed::{Purpose, Seed};
use scff::train::{Hyperparameters, Sharing};

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
/// Its slices take two messages.
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

    /// The trainer at a place of `group`.
    fn trainer(&self, group: &[Owned], place: usize, state: &LayerState) -> Trainer {
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
            ..wire::TrainBegin::default()
        };
        let budget = Budget { memory_bytes: u64::MAX, cache_bytes: 0 };
        let plan = StagePlan::parse(begin, &Hosted::default(), budget).unwrap();
        let compute = Arc::new(Compute::new(1, Duration::from_mins(1)).unwrap());
        Trainer::open(plan, compute, ticking, &encode_state(state, Header::new())).unwrap()
    }

    /// All members of a group.
    fn group(&self, group: &[Owned]) -> Vec<Trainer> {
        (0..group.len().max(1)).map(|place| self.trainer(group, place, &self.state())).collect()
    }

    fn batch(&self, step: u64) -> Instruction {
        let keys = (0..self.size as u32).map(|index| SampleKey { index, variant: Variant(0) });
        let lengths = self.lengths(step);
        let numbers = if lengths.is_empty() {
            self.size * self.map.inputs()
        } else {
            lengths.iter().map(|&length| length as usize).sum()
        };
        let values: Vec<f32> =
            (0..numbers).map(|i| ((i as u64 * 7919 + step * 104_729) % 1009) as f32 / 504.0 - 1.0).collect();
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
    fn train(&self, group: &[Owned], steps: u64) -> Result<(LayerState, Vec<wire::StepReport>), Refusal> {
        let mut trainers = self.group(group);
        let mut reports = Vec::new();
        for step in 0..steps {
            let replies = tell(&mut trainers, || self.batch(step))?;
            let [Reply::Step(report)] = &replies[..] else { panic!("{replies:?} is no report") };
            reports.push(wire::StepReport { exchanged_bytes: 0, forwarded_bytes: 0, ..*report });
        }
        let parts = tell(&mut trainers, || Instruction::Checkpoint)?;
        let parts = parts.into_iter().map(|reply| match reply {
            Reply::State(part) => part,
            reply => panic!("{reply:?} is no state"),
        });
        let (mut first_row, others): (Vec<_>, Vec<_>) = parts.partition(|part| part.first_sample == 0);
        first_row.sort_by_key(|part| part.start);
        for other in others {
            let same = first_row.iter().find(|part| part.start == other.start).expect("in the same column");
            assert!(other.part.is_empty());
            assert_eq!(other.sha256, sha256(&same.part), "all of a column come to the same state");
        }
        let specs = self.map.tensors();
        let states: Vec<_> =
            first_row.iter().map(|part| decode_state(&part.part, &specs).unwrap().0).collect();
        Ok((if states.len() > 1 { LayerState::assemble(&states) } else { states[0].clone() }, reports))
    }
}

/// A clock that goes on by a millisecond whenever somebody looks.
fn ticking() -> Duration {
    thread_local!(static TICKS: Cell<u64> = const { Cell::new(0) });
    Duration::from_millis(TICKS.replace(TICKS.get() + 1))
}

/// Tells all members the same, and brings each what the others send; returns what reaches the client.
fn tell(trainers: &mut [Trainer], instruction: impl Fn() -> Instruction) -> Result<Vec<Reply>, Refusal> {
    let mut told = vec![true; trainers.len()];
    // From each member to each other.
    let mut mail = vec![vec![VecDeque::new(); trainers.len()]; trainers.len()];
    let mut replies = Vec::new();
    loop {
        let next = trainers.iter().enumerate().find_map(|(place, trainer)| {
            Some((
                place,
                match trainer.wants() {
                    Wants::Instruction => {
                        std::mem::take(&mut told[place]).then(|| Event::Told(instruction()))?
                    }
                    Wants::Slice(from) => Event::Slice(from, mail[from][place].pop_front()?),
                },
            ))
        });
        let Some((place, event)) = next else { break };
        for outgoing in trainers[place].handle(event, Duration::from_secs(3))? {
            match outgoing {
                Outgoing::Letter(Letter { to, slice }) => mail[place][to].push_back(slice),
                Outgoing::Up(Reply::Step(_)) if place > 0 => {}
                Outgoing::Up(reply) => replies.push(reply),
            }
        }
    }
    assert!(mail.iter().flatten().all(VecDeque::is_empty), "everything sent is wanted");
    Ok(replies)
}

/// What a member owns: channels from and to, samples from and to.
type Owned = [u64; 4];

const THREE: &[Owned] = &[[8, 12, 0, 5], [4, 8, 0, 5], [0, 4, 0, 5]];

#[test]
fn a_group_comes_to_the_weights_of_one_alone() {
    for (setting, group) in [
        (DENSE, THREE),
        (DENSE, &[[0, 4, 0, 5], [4, 12, 0, 5]]),
        (CONV, &[[0, 4, 16, 32], [0, 4, 0, 8], [0, 4, 8, 16]]),
        (TALL, &[[0, 1, 0, 40], [1, 2, 0, 40]]),
        (BIRNN, &[[0, 5, 0, 5], [5, 10, 0, 5]]),
    ] {
        let (state, reports) = setting.train(&[], 4).unwrap();
        assert_eq!(state.step, Step(4));
        assert_eq!(setting.train(group, 4).unwrap(), (state, reports), "{group:?}");
    }
}

#[test]
fn what_is_out_of_turn_is_refused_with_what_was_expected() {
    let slice = |step| wire::Slice { step, ..wire::Slice::default() };
    let refusal = |place: usize, events: Vec<Event>| {
        let mut trainer = DENSE.group(THREE).remove(place);
        let mut results = events.into_iter().map(|event| trainer.handle(event, Duration::ZERO));
        results.find_map(Result::err).expect("one of them is refused").to_string()
    };
    let step = |step| Event::Told(DENSE.batch(step));
    let idle = "expected `batch` or `checkpoint`";
    assert_eq!(refusal(0, vec![Event::Slice(1, slice(0))]), format!("request: found a `slice`, {idle}"));
    assert_eq!(refusal(0, vec![step(1)]), "batch.step: found 1, expected 0");
    let exchanging = "expected a `slice` of another member of the group";
    assert_eq!(refusal(1, vec![step(0), step(1)]), format!("request: found `batch`, {exchanging}"));
    let early = refusal(2, vec![step(0), Event::Told(Instruction::Checkpoint)]);
    assert_eq!(early, format!("request: found `checkpoint`, {exchanging}"));
    // The member with the highest channels begins with that of the lowest.
    assert_eq!(
        refusal(0, vec![step(0), Event::Slice(1, slice(0))]),
        format!("request: found a `slice`, {exchanging}")
    );
    assert_eq!(
        refusal(0, vec![step(0), Event::Slice(2, slice(1))]),
        "worker a:2, which shares the layer: slice.step: found 1, expected 0"
    );
}

#[test]
fn training_that_diverges_stops_at_that_step_and_says_what_to_try() {
    for (setting, group, what) in [
        (DENSE, THREE, "goodness"),
        (CONV, &[[0, 4, 16, 32], [0, 4, 8, 16], [0, 4, 0, 8]], "a gradient or the loss"),
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
        [(DENSE, THREE), (CONV, &[[0, 4, 16, 32], [0, 4, 0, 16]]), (BIRNN, &[[0, 5, 0, 5], [5, 10, 0, 5]])]
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
    let mut trainer = DENSE.trainer(&[], 0, &state);
    trainer.handle(Event::Told(DENSE.batch(0)), Duration::ZERO).unwrap();
    let refusal = trainer.handle(Event::Told(Instruction::Checkpoint), Duration::ZERO).unwrap_err();
    assert!(refusal.to_string().starts_with("layer 0 (`layer`): its state is not finite any more in step 0"));
}

#[test]
fn time_is_what_the_clock_says() {
    let mut trainers = DENSE.group(&[]);
    for step in 0..2 {
        let replies = tell(&mut trainers, || DENSE.batch(step)).unwrap();
        assert!(matches!(&replies[..], [Reply::Step(report)] if (report.waiting_seconds - 3.0).abs() < 1e-9));
    }
    let replies = tell(&mut trainers, || Instruction::Checkpoint).unwrap();
    let [Reply::State(part)] = &replies[..] else { panic!("one part") };
    // A millisecond for each step, in three parts.
    assert!((part.part_seconds - 0.001 / 3.0).abs() < 1e-9, "{}", part.part_seconds);
}
