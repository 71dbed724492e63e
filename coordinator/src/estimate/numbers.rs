//! Estimates for programs.

use serde::Serialize;

use super::{Estimate, GroupStep, Limit, Rates, Workers};
use crate::plan::Plan;

/// What a number of workers is expected to make of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// How many workers.
    pub workers: usize,
    /// Seconds of the whole run.
    pub seconds: f64,
    /// The layers in training, phase by phase.
    pub layers: Vec<LayerNumbers>,
}

/// What they are expected to make of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerNumbers {
    /// Its name.
    pub name: String,
    /// In which phase it trains.
    pub phase: usize,
    /// How many of the workers share it, ...
    pub shards: usize,
    /// ... in so many rows of samples ...
    pub rows: usize,
    /// ... and columns of channels.
    pub columns: usize,
    /// Its steps a second, on workers that do nothing else.
    pub steps_per_second: f64,
    /// How much faster it is than on one, divided by how many there are.
    pub efficiency: f64,
    /// What most of the rest is lost to.
    pub limited_by: Limit,
}

impl Numbers {
    /// Of an estimate for these workers.
    pub fn new(plan: &Plan, rates: &Rates, workers: Workers, estimate: &Estimate) -> Self {
        let members = plan.phases.iter().enumerate().flat_map(|(phase, what)| {
            let steps = GroupStep::all(plan, what, rates, workers);
            what.members.iter().zip(steps).map(move |(member, (step, _))| {
                let GroupStep { grid, seconds, efficiency, limit, .. } = step;
                let name = plan.stage(member).spec.name.clone();
                LayerNumbers {
                    name,
                    phase,
                    shards: grid.workers(),
                    rows: grid.rows,
                    columns: grid.columns,
                    steps_per_second: seconds.recip(),
                    efficiency,
                    limited_by: limit,
                }
            })
        });
        Self { workers: workers.count, seconds: estimate.seconds(), layers: members.collect() }
    }
}
