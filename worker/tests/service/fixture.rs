//! Small layers and samples that all tests use.

use std::collections::HashSet;
use std::sync::Arc;

use ndarray::Array2;
use proto::batch::ArrivingBatch;
use proto::rows::Precision;
use proto::state::{Header, decode_state, encode_state};
use proto::wire;
use proto::wire::train_request::Request;
use scff::batch::{Batch, Epoch, LayerIndex, SampleKey, Step, Variant};
use scff::frozen::FrozenLayer;
use scff::goodness::LossParameters;
use scff::layer::{Dense, LayerMap, LayerSpec, LayerState, PairSource, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::seed::{Purpose, Seed};
use scff::train::{Hyperparameters, Sharing, StepReport, TrainingLayer, TrainingStage};

/// Elements at the bottom and above each layer.
pub const WIDTHS: [usize; 4] = [12, 10, 9, 8];
/// Samples of a batch.
pub const BATCH: usize = 5;
/// Shifts of negative pairs.
pub const SHIFTS: [usize; 2] = [1, 3];
/// Different samples.
const SAMPLES: u32 = 16;

pub fn spec(layer: u32) -> LayerSpec {
    let layer = layer as usize;
    LayerSpec {
        name: format!("dense{layer}"),
        map: LayerMap::Dense(Dense { inputs: WIDTHS[layer], outputs: WIDTHS[layer + 1] }),
        pairs: if layer == 0 { PairSource::Makes } else { PairSource::Takes },
        transmit: if layer == 1 { Transmit::Relu } else { Transmit::Triangle },
        pool: None,
        readout_pool: None,
        block: 4,
    }
}

/// The state of a layer before the first step.
pub fn initial(spec: &LayerSpec, layer: u32) -> LayerState {
    let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(layer), Epoch(0), Step(0));
    LayerState::initial(&spec.map, &mut random)
}

/// The state of a layer as it was sent; all have tensors of the same names.
pub fn state_of(bytes: &[u8]) -> LayerState {
    decode_state(bytes, &spec(0).map.tensors()).unwrap().0
}

pub fn frozen(layer: u32) -> FrozenLayer {
    FrozenLayer::new(spec(layer), initial(&spec(layer), layer).parameters).unwrap()
}

/// Some numbers, the same for every call.
pub fn values(seed: u32, count: usize) -> Vec<f32> {
    (0..count as u32)
        .map(|i| ((seed % 1009 * 7919 + i % 1009 * 104_729) % 1009) as f32 / 127.0 - 3.0)
        .collect()
}

/// A training stage as both ends know it.
#[derive(Clone)]
pub struct Stage {
    pub run: String,
    pub spec: LayerSpec,
    pub layer: u32,
    pub cut_point: u32,
    pub two_views: bool,
    pub precision: Precision,
    pub kept_rows: usize,
    pub state: Vec<u8>,
    pub first_step: u64,
    pub attempt: u64,
}

impl Stage {
    /// Trains layer 0, or layer 2 upon two frozen layers where there is a `prefix`.
    pub fn new(prefix: bool, two_views: bool, precision: Precision, kept_rows: usize) -> Self {
        let layer = if prefix { 2 } else { 0 };
        let state = encode_state(&initial(&spec(layer), layer), Header::new());
        let (run, spec) = ("test".to_owned(), spec(layer));
        Self {
            run,
            spec,
            layer,
            cut_point: 0,
            two_views,
            precision,
            kept_rows,
            state,
            first_step: 0,
            attempt: 1,
        }
    }

    pub fn plain() -> Self {
        Self::new(false, false, Precision::F32, 4)
    }

    /// One unit upon activations of so many elements.
    pub fn wide(elements: usize, kept_rows: usize) -> Self {
        let map = LayerMap::Dense(Dense { inputs: elements, outputs: 1 });
        let spec = LayerSpec { map, ..spec(0) };
        let state = encode_state(&initial(&spec, 0), Header::new());
        Self { spec, kept_rows, state, ..Self::plain() }
    }

    /// A step on samples that no other step has, in one message each.
    pub fn distinct_samples(&self, step: u64, kept: &mut HashSet<SampleKey>) -> Vec<Request> {
        let key = |i: u32| SampleKey { index: step as u32 * BATCH as u32 + i, variant: Variant(0) };
        self.requests_of(Batch { first: (0..BATCH as u32).map(key).collect(), ..self.batch(step) }, kept)
    }

    pub fn of_run(self, run: &str) -> Self {
        Self { run: run.to_owned(), ..self }
    }

    fn elements(&self) -> usize {
        if self.cut_point == self.layer { self.spec.map.inputs() } else { WIDTHS[self.cut_point as usize] }
    }

    pub fn hyperparameters() -> Hyperparameters {
        Hyperparameters {
            loss: LossParameters { theta_pos: 1.0, theta_neg: 2.0, lambda: 0.03 },
            optimizer: OptimizerParameters {
                learning_rate: 0.01,
                weight_decay: 0.001,
                gamma: 0.7,
                period: 2,
            },
            sharing: Sharing::Channels,
        }
    }

    pub fn begin(&self) -> wire::TrainBegin {
        wire::TrainBegin {
            run: self.run.clone(),
            layer: self.layer,
            spec: Some((&self.spec).into()),
            hyperparameters: Some((&Self::hyperparameters()).into()),
            cut_point: self.cut_point,
            batch: BATCH as u32,
            two_views: self.two_views,
            elements: self.elements() as u64,
            wire: wire::Wire::from(self.precision).into(),
            kept_bytes: (self.kept_rows * self.elements() * self.precision.bytes()) as u64,
            state_length: self.state.len() as u64,
            attempt: self.attempt,
            live: false,
            pass_on: wire::PassOn::Nothing.into(),
            feeders: None,
            takers: None,
            group: Vec::new(),
            place: 0,
            silence_seconds: 30,
        }
    }

    /// The samples of a step.
    pub fn batch(&self, step: u64) -> Batch {
        let key = |i: usize, variant| SampleKey {
            index: (step as u32 * 3 + i as u32 * i as u32) % SAMPLES,
            variant: Variant(variant),
        };
        Batch {
            step: Step(step),
            first: (0..BATCH).map(|i| key(i, 0)).collect(),
            second: self.two_views.then(|| (0..BATCH).map(|i| key(i, 1)).collect()),
            shifts: SHIFTS.to_vec(),
        }
    }

    /// What a sample variant's row looks like on the wire.
    pub fn row(&self, key: SampleKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        let values = values(key.to_bits() as u32 ^ key.index, self.elements());
        self.precision.encode(&values, &mut bytes).unwrap();
        bytes
    }

    /// Messages of all steps, from a coordinator that lets the worker keep as much as it may.
    pub fn requests(&self, steps: u64) -> Vec<Request> {
        let mut kept = HashSet::new();
        (self.first_step..self.first_step + steps)
            .flat_map(|step| self.step_requests(step, &mut kept))
            .collect()
    }

    /// Messages of one step: the batch, then its rows in messages of one, two, three ... rows.
    pub fn step_requests(&self, step: u64, kept: &mut HashSet<SampleKey>) -> Vec<Request> {
        self.requests_of(self.batch(step), kept)
    }

    fn requests_of(&self, batch: Batch, kept: &mut HashSet<SampleKey>) -> Vec<Request> {
        let mut arriving: Vec<(SampleKey, bool)> = Vec::new();
        for key in batch.rows() {
            if !kept.contains(&key) && arriving.iter().all(|(other, _)| *other != key) {
                arriving.push((key, false));
            }
        }
        for (key, keep) in &mut arriving {
            *keep = kept.len() < self.kept_rows && kept.insert(*key);
        }
        let mut rows = arriving.iter().map(|(key, _)| self.row(*key)).collect::<Vec<_>>();
        let message = ArrivingBatch { batch, arriving };
        let mut requests = vec![Request::Batch((&message).into())];
        for count in 1.. {
            if rows.is_empty() {
                break;
            }
            let taken: Vec<_> = rows.drain(..count.min(rows.len())).collect();
            let message = wire::Rows::alike(taken.len(), taken.concat());
            requests.push(Request::Rows(message));
        }
        requests
    }

    /// What the mathematics says about so many steps: the reports, and the state after them.
    pub fn expect(&self, steps: u64) -> (Vec<wire::StepReport>, LayerState) {
        let prefix = (self.cut_point..self.layer).map(|layer| Arc::new(frozen(layer))).collect();
        let state = state_of(&self.state);
        let layer = TrainingLayer::new(self.spec.clone(), Self::hyperparameters(), &state).unwrap();
        let mut stage = TrainingStage::new(prefix, layer);
        let reports = (self.first_step..self.first_step + steps)
            .map(|step| {
                let batch = self.batch(step);
                let keys: Vec<_> = batch.rows().collect();
                let mut rows = Array2::zeros((keys.len(), self.elements()));
                for (mut row, key) in rows.outer_iter_mut().zip(keys) {
                    self.precision.decode(&self.row(key), row.as_slice_mut().unwrap());
                }
                let report = stage.step(rows, self.two_views, &batch.shifts);
                report_message(&report)
            })
            .collect();
        (reports, stage.layer().state())
    }
}

/// A report as it travels, from a worker that never waits.
pub fn report_message(report: &StepReport) -> wire::StepReport {
    wire::StepReport {
        step: report.step.0,
        learning_rate: report.learning_rate,
        loss_positive: report.loss.positive,
        loss_negative: report.loss.negative,
        loss_penalty: report.loss.penalty,
        goodness_pos: report.loss.goodness_pos,
        goodness_neg: report.loss.goodness_neg,
        ..wire::StepReport::default()
    }
}
