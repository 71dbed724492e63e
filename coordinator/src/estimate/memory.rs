//! What a worker holds in memory.

use scff::layer::{Algorithm, LayerMap};
use scff::train::Exchanged;

use crate::grid::Grid;
use crate::plan::{Plan, Stage};

/// Bytes of a number.
const NUMBER: u64 = 4;
/// Numbers for each parameter of the layer in training: itself, its two moments, its gradient; and while a checkpoint is
/// made, a copy of the first three, and their bytes.
const TRAINED: u64 = 10;
/// Channels and tiles that Winograd's algorithm multiplies together.
const SET: usize = 192;
const TILES: usize = 400;
/// Batches that are under way.
const BATCHES: u64 = 4;
/// How often the numbers of a round are held by whoever exchanges them: own sums and those of others, totals, and letters of both.
const EXCHANGED: u64 = 6;

/// About how many bytes one of a stage's trainers, which stand in `grid`, holds besides kept activations: the layers, what a step
/// makes, and where they are several what they exchange, and the next batch, which is prepared meanwhile.
pub fn working_bytes(plan: &Plan, stage: &Stage, grid: Grid) -> u64 {
    let below = &plan.stages[..stage.layer.0 as usize];
    let parameters = |stage: &Stage| stage.spec.map.parameters() as u64;
    let layers = below.iter().map(hosted).sum::<u64>() + TRAINED * parameters(stage);
    let row_bytes = BATCHES * plan.row_bytes(stage) + 2 * NUMBER * stage.elements as u64;
    let batches = plan.mean_share() * (plan.rows_per_step() * row_bytes) as f64;
    let computed = below[stage.cut_point as usize..].iter().chain([stage]).map(|layer| {
        let mapped = plan.rows_of(stage, &layer.spec) * layer.spec.map.output().len() as u64;
        // Passed on, and standardised by the layer above.
        mapped + 2 * plan.pairs_per_step(stage) * layer.spec.outputs() as u64
    });
    let computed = plan.mean_share() * computed.sum::<u64>() as f64;
    let rows = plan.rows_of(stage, &stage.spec);
    let transformed = rows * stage.spec.map.transformed_inputs() as u64;
    let (ahead, exchanged) = match grid {
        Grid::ONE => (0, 0),
        _ => (rows * stage.spec.map.inputs() as u64 + transformed, exchanged_numbers(plan, stage, grid)),
    };
    let made = computed as u64 + transformed + of_sets(stage);
    NUMBER * (layers + made + ahead + EXCHANGED * exchanged) + batches as u64
}

/// Numbers of a frozen layer that a worker hosts: its parameters, and with Winograd's algorithm the transformed kernels.
fn hosted(stage: &Stage) -> u64 {
    let kernels = match &stage.spec.map {
        LayerMap::Conv(conv) if conv.algorithm == Algorithm::Winograd => {
            conv.products_of_weight() * conv.input.channels * conv.channels
        }
        _ => 0,
    };
    (stage.spec.map.parameters() + kernels) as u64
}

/// Numbers that Winograd's algorithm makes and uses up for one set of channels on each of two threads: kernels, and products of a part
/// of the batch.
fn of_sets(stage: &Stage) -> u64 {
    match &stage.spec.map {
        LayerMap::Conv(conv) if conv.algorithm == Algorithm::Winograd => {
            2 * (SET * conv.products_of_weight() * (conv.input.channels + TILES)) as u64
        }
        _ => 0,
    }
}

/// Numbers of the larger round.
fn exchanged_numbers(plan: &Plan, stage: &Stage, grid: Grid) -> u64 {
    let pairs = plan.pairs_per_step(stage) as usize;
    let Exchanged { goodness, gradient } = stage.hyperparameters.sharing.exchanged(&stage.spec, pairs);
    (goodness / grid.rows).max(gradient / grid.columns) as u64
}
