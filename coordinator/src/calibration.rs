//! How fast this machine is at what a plan's layers need: measured in a few seconds.
//!
//! All threads work at once. Of each, the round counts that a quarter of its rounds were faster than: so the rates are
//! about those of a machine that does nothing else, whatever it does at the moment.

use std::time::Duration;

use ndarray::Array2;
use rayon::ThreadPoolBuilder;
use scff::batch::{Epoch, Step};
use scff::layer::{LayerMap, LayerSpec, LayerState};
use scff::optimizer::Update;
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, Seed};
use scff::sequences::Sequences;
use scff::train::{ProductTrial, TrainingLayer, TrainingStage};

use crate::clock::Stopwatch;
use crate::estimate::{LayerRates, Rates, pass_rate};
use crate::plan::{Plan, Stage};

/// All layers' products together.
const PRODUCTS: Duration = Duration::from_millis(700);
/// All layers' updates together.
const UPDATES: Duration = Duration::from_millis(200);
/// All layers' steps together, unless a few steps take longer.
const STEPS: Duration = Duration::from_secs(1);
/// Seconds of a step's products, at most: of larger batches a part is tried.
const STEP: f64 = 0.15;

/// Operations of a thread in a round of products, at least: a millisecond.
const ROUND: u64 = 200_000_000;
/// So many parameters lie beyond the caches: more are updated no slower, and layers of more are tried with fewer channels.
const PARAMETERS: usize = 8 << 20;
/// Samples of a tried step, at least, and four times the negatives of each.
const SAMPLES: usize = 8;

/// Measures the rates of the layers of `plan`, on so many threads. Blocks.
pub fn calibrate(plan: &Plan, threads: usize) -> Rates {
    let count = plan.stages.len() as u32;
    let layer = |stage| {
        let rates = LayerRates {
            operations: products(plan, stage, threads, PRODUCTS / count),
            updates: updates(stage, threads, UPDATES / count),
            bytes: f64::INFINITY,
        };
        LayerRates { bytes: passes(plan, stage, rates, threads, STEPS / count), ..rates }
    };
    Rates { threads, speed: 1.0, layers: plan.stages.iter().map(layer).collect() }
}

/// Floating-point operations a second of products in a layer's shapes.
fn products(plan: &Plan, stage: &Stage, threads: usize, budget: Duration) -> f64 {
    let rows = plan.rows_of(stage, &stage.spec) as usize;
    let sharing = stage.hyperparameters.sharing;
    let trial = |_| ProductTrial::new(&stage.spec, sharing, rows, threads);
    let trials = (0..threads).map(trial).collect::<Vec<_>>();
    let operations = trials[0].operations();
    let times = ROUND.div_ceil(operations);
    (times * operations) as f64 * rounds(budget, trials, |trial| (0..times).for_each(|_| trial.run()))
}

/// Parameters a second that AdamW updates, of a layer's number.
fn updates(stage: &Stage, threads: usize, budget: Duration) -> f64 {
    let each = stage.spec.map.parameters().min(PARAMETERS).div_ceil(threads);
    let arrays = (0..threads).map(|_| [(); 4].map(|()| vec![0.1_f32; each])).collect();
    let update = Update::new(1e-3, 1e-4, Step(0));
    let rounds = rounds(budget, arrays, |[values, first, second, gradient]| {
        update.apply(values, first, second, gradient, 0.0);
    });
    each as f64 * rounds
}

/// Bytes a second of a layer's passes, of steps on noise.
fn passes(plan: &Plan, stage: &Stage, rates: LayerRates, threads: usize, budget: Duration) -> f64 {
    let (plan, stage) = trial(plan, stage, rates.operations);
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    let mut random = Seed(0).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let state = LayerState::initial(&stage.spec.map, &mut random);
    let layer = TrainingLayer::new(stage.spec.clone(), stage.hyperparameters, &state);
    let mut training = TrainingStage::new(Vec::new(), layer.expect("the state was made for the layer"));
    let rows = plan.rows_of(&stage, &stage.spec) as usize;
    let noise = |(row, column)| ((row * 7_919 + column * 104_729) % 1_009) as f32 / 1_009.0 - 0.5;
    let rows = Array2::from_shape_fn((rows, stage.spec.map.inputs()), noise);
    let samples: Samples = match stage.spec.map.recurrent() {
        Some(birnn) => {
            let lengths = vec![birnn.frames(); rows.nrows()];
            let shape = (lengths.iter().sum(), birnn.features());
            Sequences::new(rows.into_shape_with_order(shape).expect("whole frames"), lengths).into()
        }
        None => rows.into(),
    };
    let two_views = plan.two_views && stage.spec.makes_pairs();
    let shifts: Vec<usize> = (1..=stage.negatives).collect();
    // The first step makes its buffers.
    pool.install(|| training.step(samples.clone(), two_views, &shifts));
    let steps = rounds(budget, vec![training], |training| {
        pool.install(|| training.step(samples.clone(), two_views, &shifts));
    });
    pass_rate(&plan, &stage, steps.recip(), rates, threads)
}

/// A stage to be tried, with no more samples and channels than show how fast its steps are.
fn trial(plan: &Plan, stage: &Stage, operations: f64) -> (Plan, Stage) {
    let mut stage = stage.clone();
    let LayerSpec { map, block, .. } = &mut stage.spec;
    let most = (PARAMETERS / map.fan_in() / *block).max(1) * *block;
    let channels = map.channels().min(most);
    match map {
        LayerMap::Dense(dense) => dense.outputs = channels,
        LayerMap::Conv(conv) => conv.channels = channels,
        // All units of a direction belong together.
        LayerMap::BiRnn(_) => {}
    }
    let mut plan = plan.clone();
    let of_sample = plan.operations_of_layer(&stage) / plan.batch as u64;
    let samples = (STEP * operations / of_sample as f64) as usize;
    plan.batch = plan.batch.min(samples.max(SAMPLES).max(4 * stage.negatives));
    (plan, stage)
}

/// Rounds a second of all threads together, each doing `work` on a part of its own until the time is up, and at least a few
/// times.
fn rounds<T: Send>(budget: Duration, parts: Vec<T>, work: impl Fn(&mut T) + Sync) -> f64 {
    const LEAST: usize = 4;
    let watch = Stopwatch::start();
    let typical = |mut part| {
        let mut seconds = Vec::new();
        while seconds.len() < LEAST || watch.elapsed() < budget {
            let began = Stopwatch::start();
            work(&mut part);
            seconds.push(began.seconds());
        }
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 4].max(f64::MIN_POSITIVE)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| 1.0 / typical(part))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use source::{Shape, TrainingSamples};

    #[test]
    fn every_rate_is_that_of_a_computer() {
        let config = config::parse("iris", include_str!("../../configs/iris.toml"), &[]).unwrap();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let plan = Plan::new(&config, shape, TrainingSamples::labelled(120)).unwrap();
        let Rates { layers, .. } = calibrate(&plan, 1);
        assert_eq!(layers.len(), 2);
        for rate in layers.iter().flat_map(|layer| [layer.operations, layer.updates, layer.bytes]) {
            assert!((1e6..1e15).contains(&rate), "{rate} a second");
        }
    }
}
