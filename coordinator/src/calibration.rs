//! How fast this machine is at what a plan's layers need: measured in about a second.
//!
//! All threads work at once, and of each the round counts that a quarter of its rounds were faster than: so the rates are
//! about those of a machine that does nothing else, whatever it does at the moment.

use std::time::{Duration, Instant};

use scff::batch::Step;
use scff::optimizer::Update;
use scff::train::ProductTrial;

use crate::estimate::{LayerRates, Rates};
use crate::plan::{Plan, Stage};

/// All layers' products together.
const PRODUCTS: Duration = Duration::from_millis(700);
/// All layers' updates together.
const UPDATES: Duration = Duration::from_millis(200);
const COPIES: Duration = Duration::from_millis(100);

/// Operations of a thread in a round of products, at least: a millisecond.
const ROUND: u64 = 200_000_000;
/// So many parameters lie beyond the caches: more are updated no slower.
const PARAMETERS: usize = 8 << 20;
/// Numbers that a thread copies.
const COPIED: usize = 4 << 20;

/// Measures the rates of the layers of `plan`, on so many threads. Blocks.
pub fn calibrate(plan: &Plan, threads: usize) -> Rates {
    let count = plan.stages.len() as u32;
    let layer = |stage| LayerRates {
        operations: products(plan, stage, threads, PRODUCTS / count),
        updates: updates(stage, threads, UPDATES / count),
    };
    Rates { threads, layers: plan.stages.iter().map(layer).collect(), bytes: copies(threads) }
}

/// Floating-point operations a second of products in a layer's shapes.
fn products(plan: &Plan, stage: &Stage, threads: usize, budget: Duration) -> f64 {
    let rows = plan.rows_of(stage, &stage.spec) as usize;
    let trials = (0..threads).map(|_| ProductTrial::new(&stage.spec, rows, threads)).collect::<Vec<_>>();
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

/// Bytes a second that a copy reads and writes.
fn copies(threads: usize) -> f64 {
    let arrays = (0..threads).map(|_| [(); 2].map(|()| vec![0.1_f32; COPIED])).collect();
    let rounds = rounds(COPIES, arrays, |[to, from]| to.copy_from_slice(from));
    (2 * size_of::<f32>() * COPIED) as f64 * rounds
}

/// Rounds a second of all threads together, each doing `work` on a part of its own until the time is up, and at least a few
/// times.
fn rounds<T: Send>(budget: Duration, parts: Vec<T>, work: impl Fn(&mut T) + Sync) -> f64 {
    const LEAST: usize = 4;
    let end = Instant::now() + budget;
    let typical = |mut part| {
        let mut seconds = Vec::new();
        while seconds.len() < LEAST || Instant::now() < end {
            let began = Instant::now();
            work(&mut part);
            seconds.push(began.elapsed().as_secs_f64());
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
    use crate::source::{Shape, TrainingSamples};

    #[test]
    fn every_rate_is_that_of_a_computer() {
        let config = config::parse("iris", include_str!("../../configs/iris.toml"), &[]).unwrap();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let plan = Plan::new(&config, shape, TrainingSamples::labelled(120)).unwrap();
        let Rates { layers, bytes, .. } = calibrate(&plan, 1);
        assert_eq!(layers.len(), 2);
        for rate in layers.iter().flat_map(|layer| [layer.operations, layer.updates]).chain([bytes]) {
            assert!((1e6..1e15).contains(&rate), "{rate} a second");
        }
    }
}
