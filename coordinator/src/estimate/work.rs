//! What steps and transforms consist of, and how long that takes at given rates.

use scff::layer::{Algorithm, LayerMap, LayerSpec, SequencePadding};
use scff::train::{PassOn, Sharing};

use super::rates::{LayerRates, Rates};
use crate::plan::{Member, Plan, Stage};

/// Seconds of one core for the loss at one position of one pair: an exponential and a logarithm of libm.
const LOSS: f64 = 25e-9;
/// Seconds of a step for handing it from thread to thread.
const STEP: f64 = 100e-6;

/// The share of a step that passes take at least, whatever is measured.
const LEAST_PASSES: f64 = 0.01;
/// Bytes that standardising moves for each element of a row: moments and two passes over the row.
const STANDARDIZE: f64 = 24.0;
/// Bytes that lowering moves for each element of a patch, which mostly stays in cache.
const LOWER: f64 = 4.0;
/// Bytes that transmitting moves for each element of a pair's z: both halves' U, z itself, and pooling.
const TRANSMIT: f64 = 20.0;
/// Bytes of a number.
const NUMBER: f64 = 4.0;

/// Some work, for one layer.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// Floating-point operations of products.
    operations: f64,
    /// Bytes that elementwise passes move.
    bytes: f64,
    /// Parameters to update.
    updates: f64,
    /// Positions of pairs whose loss is computed.
    losses: f64,
}

impl Work {
    fn seconds(&self, layer: LayerRates, cores: f64) -> f64 {
        self.operations / layer.operations
            + self.bytes / layer.bytes
            + self.updates / layer.updates
            + LOSS * self.losses / cores
    }
}

/// The rate of a layer's passes, in bytes a second: what is left of a measured step of it, in seconds, once its products and
/// updates are done at their rates.
pub fn pass_rate(plan: &Plan, stage: &Stage, step: f64, others: LayerRates, threads: usize) -> f64 {
    let step_work = training(plan, stage);
    let others = LayerRates { bytes: f64::INFINITY, ..others };
    let done: f64 = step_work.all().iter().map(|work| work.seconds(others, threads as f64)).sum();
    let bytes: f64 = step_work.all().iter().map(|work| work.bytes).sum();
    bytes / (step - done).max(LEAST_PASSES * step)
}

/// Seconds of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSeconds {
    /// What rows and columns both share out among them: products, and passes over z.
    pub both: f64,
    /// What only rows do, for each row has its own samples: the loss, and lowering to patches.
    pub by_rows: f64,
    /// What only columns do, for each column has its own channels: updates, and Winograd's transforms of kernels.
    pub by_columns: f64,
    /// What everybody does all of.
    pub repeated: f64,
    /// Preparing a batch, for which no weight of the layer is needed.
    pub preparation: Preparation,
    /// Where samples are shared: mapping one sample, which each does for the partners of its own too.
    pub partner: f64,
}

/// Seconds of preparing a batch: those who share a layer do it while sums of the step before are on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// What only rows do: frozen layers that run on what arrives, standardising, and Winograd's transforms of inputs.
    pub by_rows: f64,
    /// What everybody does all of: where samples are shared, standardising.
    pub repeated: f64,
}

impl Preparation {
    /// Of whoever has this share of the samples.
    pub fn of_row(self, row: f64) -> f64 {
        row * self.by_rows + self.repeated
    }
}

impl StepSeconds {
    /// Of a worker that has the layer for itself.
    pub fn total(self) -> f64 {
        self.both + self.by_rows + self.by_columns + self.repeated + self.preparation.of_row(1.0)
    }
}

/// Seconds of one training step of a member of a phase: the frozen layers that run on what arrives, the layer itself, and
/// passing on.
pub fn step_seconds(plan: &Plan, member: &Member, rates: &Rates) -> StepSeconds {
    let stage = plan.stage(member);
    let prefix = member.from as usize..stage.layer.0 as usize;
    let below = plan.stages[prefix.clone()].iter().zip(&rates.layers[prefix]);
    let below: f64 =
        below.map(|(below, rate)| passing_pairs(plan, stage, below).seconds(*rate, rates.cores())).sum();
    let mut work = training(plan, stage);
    let passed_on = plan.mean_share() * passed_on(plan, member) as f64;
    work.both.bytes += TRANSMIT * passed_on * stage.spec.map.output().len() as f64;
    let own = rates.layers[stage.layer.0 as usize];
    let seconds = |work: Work| work.seconds(own, rates.cores());
    StepSeconds {
        both: seconds(work.both),
        by_rows: seconds(work.by_rows),
        by_columns: seconds(work.by_columns),
        repeated: STEP / rates.speed,
        preparation: Preparation {
            by_rows: below + seconds(work.prepared_by_rows),
            repeated: seconds(work.prepared_by_all),
        },
        partner: seconds(work.partner),
    }
}

/// Rows that a member passes on in each step.
pub fn passed_on(plan: &Plan, member: &Member) -> u64 {
    match member.pass_on {
        PassOn::Nothing => 0,
        PassOn::Positives => plan.batch as u64,
        PassOn::Pairs => plan.pairs_per_step(plan.stage(member)),
    }
}

/// Seconds of taking one sample through the first `layers` layers.
pub fn transform_seconds(plan: &Plan, layers: usize, rates: &Rates) -> f64 {
    let stages = plan.stages[..layers].iter().zip(&rates.layers);
    let share = plan.mean_share();
    stages.map(|(stage, rate)| passing(&stage.spec, share, share).seconds(*rate, rates.cores())).sum()
}

/// A step of the layer in training, by who shares what out, as [`StepSeconds`] has it.
struct StepWork {
    both: Work,
    by_rows: Work,
    by_columns: Work,
    prepared_by_rows: Work,
    prepared_by_all: Work,
    /// A sample's map, which is not of the step itself.
    partner: Work,
}

impl StepWork {
    fn all(&self) -> [&Work; 5] {
        [&self.both, &self.by_rows, &self.by_columns, &self.prepared_by_rows, &self.prepared_by_all]
    }
}

/// Lowering and products twice, and passes over U for z of every pair.
fn training(plan: &Plan, stage: &Stage) -> StepWork {
    let spec = &stage.spec;
    // Of sequences, each costs what its frames do.
    let share = plan.mean_share();
    let of_pair = padded_share(spec, share);
    let (rows, pairs) =
        (share * plan.rows_of(stage, spec) as f64, of_pair * plan.pairs_per_step(stage) as f64);
    // Forward, z of every pair is computed of one or two rows of U; backward again for each row that it depends on,
    // and added to that row's gradient.
    let (halves, dependent) = if spec.makes_pairs() {
        let positives = of_pair * plan.batch as f64;
        (2.0, (if plan.two_views { 2.0 } else { 1.0 }) * positives + 2.0 * (pairs - positives))
    } else {
        (1.0, pairs)
    };
    let z = spec.map.output();
    let passes = z.len() as f64 * NUMBER * (rows + halves * pairs + (halves + 2.0) * dependent);
    let mut both = mapped(spec, rows, pairs);
    both.operations *= 2.0;
    both.bytes += passes + spectra(spec, rows);
    let kernels = 2.0 * kernel_spectra(spec);
    let by_columns = Work { updates: spec.map.parameters() as f64, bytes: kernels, ..Work::default() };
    let nothing = Work::default();
    // Made twice of patches, which stay in cache, forward and backward; Winograd's transforms are kept.
    let lowered = 2.0 * lowering(spec, rows);
    let (patches, transformed) =
        if spec.map.algorithm() == Some(Algorithm::Winograd) { (0.0, lowered) } else { (lowered, 0.0) };
    let by_rows = Work { losses: pairs * z.positions() as f64, bytes: patches, ..nothing };
    let prepared = Work { bytes: standardizing(spec, rows) + transformed, ..nothing };
    let (prepared_by_rows, prepared_by_all, partner) = match stage.hyperparameters.sharing {
        Sharing::Channels | Sharing::Grid => (prepared, nothing, nothing),
        // All standardise all, and map partners.
        Sharing::Samples => {
            let mut partner = mapped(spec, 1.0, 0.0);
            partner.bytes += lowering(spec, 1.0);
            (nothing, prepared, partner)
        }
    };
    StepWork { both, by_rows, by_columns, prepared_by_rows, prepared_by_all, partner }
}

/// How long a pair is in training, as a share of the longest sequence, where sequences are `share` of it on average. Where padding
/// counts it is as long as the longest of its batch: of that no more is known than that it lies between the two. Their geometric mean
/// is 81 frames for spoken digits (36 on average, 183 at most), of which batches of 64 have 79.
fn padded_share(spec: &LayerSpec, share: f64) -> f64 {
    match spec.map.recurrent() {
        Some(birnn) if birnn.padding == SequencePadding::Counts => share.sqrt(),
        _ => share,
    }
}

/// A frozen layer of a stage's pair prefix, on the pairs of a step.
fn passing_pairs(plan: &Plan, stage: &Stage, below: &Stage) -> Work {
    let share = plan.mean_share();
    let rows = share * plan.rows_of(stage, &below.spec) as f64;
    passing(&below.spec, rows, share * plan.pairs_per_step(stage) as f64)
}

/// A frozen layer on so many rows that so many pairs are read from.
fn passing(spec: &LayerSpec, rows: f64, pairs: f64) -> Work {
    let own = mapped(spec, rows, pairs);
    let transmitted = TRANSMIT * pairs * spec.map.output().len() as f64;
    // Kernels of a frozen layer are transformed once.
    let bytes = own.bytes + standardizing(spec, rows) + lowering(spec, rows) + transmitted;
    Work { bytes, ..own }
}

/// U of rows; of recurrent layers, the states of pairs as well.
fn mapped(spec: &LayerSpec, rows: f64, pairs: f64) -> Work {
    Work {
        operations: 2.0 * rows * spec.map.multiply_adds() as f64
            + 2.0 * pairs * spec.map.multiply_adds_of_pair() as f64,
        bytes: rows * NUMBER * spec.map.output().len() as f64 + spectra(spec, rows),
        ..Work::default()
    }
}

/// Bytes that standardising so many rows moves.
fn standardizing(spec: &LayerSpec, rows: f64) -> f64 {
    rows * STANDARDIZE * spec.map.inputs() as f64
}

/// Bytes that lowering, or transforming, them once moves.
fn lowering(spec: &LayerSpec, rows: f64) -> f64 {
    match &spec.map {
        LayerMap::Dense(_) | LayerMap::BiRnn(_) => 0.0,
        LayerMap::Conv(conv) => {
            let elements = match conv.algorithm {
                Algorithm::Direct => conv.output().positions() * conv.fan_in(),
                Algorithm::Winograd => conv.products() * conv.input.channels,
            };
            LOWER * rows * elements as f64
        }
    }
}

/// What Winograd's algorithm writes and reads between its products and U, or the gradient.
fn spectra(spec: &LayerSpec, rows: f64) -> f64 {
    match &spec.map {
        LayerMap::Conv(conv) if conv.algorithm == Algorithm::Winograd => {
            2.0 * NUMBER * rows * (conv.products() * conv.channels) as f64
        }
        _ => 0.0,
    }
}

/// The same of the kernels of a layer in training.
fn kernel_spectra(spec: &LayerSpec) -> f64 {
    match &spec.map {
        LayerMap::Conv(conv) if conv.algorithm == Algorithm::Winograd => {
            2.0 * NUMBER * (conv.products_of_weight() * conv.input.channels * conv.channels) as f64
        }
        _ => 0.0,
    }
}
