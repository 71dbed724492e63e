//! A network that fits the data, and numbers that work untuned.

use scff::layer::{PairSource, PoolKind, SequencePadding, Summary, Transmit};
use scff::seed::Seed;
use source::{ImageOptions, InputKind, Lengths, Shape};

use super::survey::Survey;
use crate::config::{
    Config, DataConfig, LayerConfig, LayerKind, Padding, PoolConfig, ReadoutConfig, TrainingConfig,
    TrainingSchedule, WireFormat,
};

/// Sides below which an image is taken for a row of pixels.
const SMALLEST_MAP: usize = 8;
/// The side of the map that a readout gets of a convolution, at most.
const READ_SIDE: usize = 8;
/// Samples of a batch where there are many.
const BATCH: usize = 100;
/// Of recordings, whose steps take longer.
const RECORDINGS: usize = 64;
/// Batches that few samples are cut into.
const BATCHES: usize = 8;
/// The share of labelled samples that tests.
const TEST: f64 = 0.1;

/// A configuration for the data.
pub fn suggest(survey: &Survey) -> Config {
    let labelled = survey.labelled();
    let learned = if labelled { (survey.samples as f64 * (1.0 - TEST)) as usize } else { survey.samples };
    let kind = kind(survey);
    let most = if kind == LayerKind::BiRnn { RECORDINGS } else { BATCH };
    let batch = (learned / BATCHES).clamp(2, most);
    let steps = (learned / batch).max(1);
    let (layers, block) = match kind {
        LayerKind::Dense => dense(survey.shape(), steps),
        LayerKind::Conv => convolutions(survey.shape(), steps),
        LayerKind::BiRnn => recurrent(steps),
    };
    Config {
        seed: Seed(1),
        wire: WireFormat::F32,
        data: data(survey),
        training: TrainingConfig {
            schedule: TrainingSchedule::Greedy,
            batch: batch as u32,
            block,
            report_every: 10,
            checkpoint_every: 200,
        },
        layers,
        readout: labelled.then_some(ReadoutConfig { lr: 0.001, batch: 64, epochs: 50, dropout: 0.2 }),
    }
}

fn kind(survey: &Survey) -> LayerKind {
    let Shape { height, width, .. } = survey.shape();
    match survey.layout.lengths {
        Lengths::Frames { .. } => LayerKind::BiRnn,
        Lengths::Alike if height.min(width) >= SMALLEST_MAP => LayerKind::Conv,
        Lengths::Alike => LayerKind::Dense,
    }
}

/// The data as they are taken, with what a look has found where nothing is said.
fn data(survey: &Survey) -> DataConfig {
    let mut data = survey.data.clone();
    if survey.labelled() && data.test.is_none() && data.test_path.is_none() {
        data.test = Some(TEST);
    }
    if let InputKind::Images(input) = &survey.input.kind {
        let Shape { height, width, channels } = input.shape;
        let said = data.images.unwrap_or_default();
        data.images = Some(ImageOptions {
            height: said.height.or(Some(height as u32)),
            width: said.width.or(Some(width as u32)),
            channels: said.channels.or(Some(channels as u32)),
            ..said
        });
    }
    data
}

/// Epochs in which a layer takes about so many steps: a few where there are many samples, for then all have been seen, and no
/// more than forty where there are few, for then they are known by heart.
fn epochs(wanted: usize, steps_per_epoch: usize) -> u32 {
    const MOST: usize = 40;
    const FEW: usize = 4;
    let enough = wanted.div_ceil(steps_per_epoch).clamp(1, MOST);
    // With many samples, a few epochs, as long as that is no more than several times as many steps.
    enough.max(FEW.min(6 * wanted / steps_per_epoch)) as u32
}

/// What the layers of all networks have in common.
fn layer(name: &str, kind: LayerKind) -> LayerConfig {
    LayerConfig {
        name: name.to_owned(),
        kind,
        units: None,
        hidden: None,
        kernel: None,
        algorithm: None,
        padding: None,
        summary: None,
        block: None,
        pairs: PairSource::Makes,
        shards: None,
        sharing: None,
        transmit: Transmit::Triangle,
        negatives: 1,
        readout: true,
        epochs: 1,
        lr: 0.01,
        weight_decay: 1e-4,
        gamma: 0.9,
        period: 100,
        theta_pos: 1.0,
        theta_neg: 2.0,
        lambda: 1e-4,
        pool: None,
        readout_pool: None,
    }
}

/// Two layers of four units for each number, from 64 to 1,024.
fn dense(shape: Shape, steps: usize) -> (Vec<LayerConfig>, u32) {
    const BLOCK: usize = 64;
    let units = (4 * shape.len()).next_multiple_of(BLOCK).clamp(BLOCK, 1024) as u32;
    // The wider a layer, the more weights a step moves.
    let lr = if shape.len() > 100 { 0.003 } else { 0.01 };
    let dense = |name| LayerConfig {
        units: Some(units),
        epochs: epochs(500, steps),
        lr,
        ..layer(name, LayerKind::Dense)
    };
    (vec![dense("dense1"), dense("dense2")], BLOCK as u32)
}

/// One convolution of small images, two of larger ones, with the paper's first two layers in mind: kernels of 5 and of 3, and
/// maxima over windows that overlap.
fn convolutions(shape: Shape, steps: usize) -> (Vec<LayerConfig>, u32) {
    const CHANNELS: u32 = 96;
    let Shape { height, width, .. } = shape;
    let kernel = if height.min(width) < 16 { 3 } else { 5 };
    let halved = PoolConfig { kind: PoolKind::Max, size: 4, stride: Some(2), padding: 1 };
    // The map after this many halvings, and what brings it to what a readout can take in.
    let read = |halvings: u32| {
        let side = height.max(width).div_ceil(1 << halvings);
        let size = side.div_ceil(READ_SIDE).max(if side >= 4 { 2 } else { 1 }) as u32;
        (size > 1).then_some(PoolConfig { kind: PoolKind::Average, size, stride: None, padding: 0 })
    };
    let conv = |name, units, kernel: u32, halvings| LayerConfig {
        units: Some(units),
        kernel: Some(kernel),
        padding: Some(Padding::Positions(kernel / 2)),
        pool: Some(halved),
        readout_pool: read(halvings),
        ..layer(name, LayerKind::Conv)
    };
    let first = LayerConfig {
        epochs: epochs(600, steps),
        lr: 0.01,
        gamma: 0.7,
        period: 1000,
        theta_pos: 0.0,
        theta_neg: 1.0,
        lambda: 0.0012,
        ..conv("conv1", CHANNELS, kernel, 1)
    };
    let second = LayerConfig {
        pairs: PairSource::Takes,
        epochs: epochs(200, steps),
        lr: 0.002,
        gamma: 0.8,
        period: 100,
        theta_pos: 5.0,
        theta_neg: 9.0,
        lambda: 0.0007,
        ..conv("conv2", 2 * CHANNELS, 3, 2)
    };
    let layers = if height.min(width) < 24 { vec![first] } else { vec![first, second] };
    (layers, CHANNELS)
}

/// The paper's layer of spoken digits, read by thirds.
fn recurrent(steps: usize) -> (Vec<LayerConfig>, u32) {
    let birnn = LayerConfig {
        hidden: Some(500),
        padding: Some(Padding::Sequences(SequencePadding::Masked)),
        summary: Some(Summary::Thirds),
        transmit: Transmit::Standardized,
        epochs: epochs(400, steps),
        lr: 2e-5,
        weight_decay: 0.0,
        gamma: 0.7,
        period: 42,
        theta_pos: 0.0,
        theta_neg: 1.0,
        lambda: 0.0075,
        ..layer("birnn1", LayerKind::BiRnn)
    };
    (vec![birnn], 250)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_are_seen_often_and_many_a_few_times() {
        // Steps of an epoch, of 2,000, 7,000, 50,000 and a million samples.
        let epochs = [20, 70, 500, 10_000].map(|steps| epochs(600, steps));
        assert_eq!(epochs, [30, 9, 4, 1]);
        assert_eq!(super::epochs(600, 2), 40);
    }
}
