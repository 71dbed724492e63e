//! What each layer's training consists of.

use proto::limits::ELEMENTS;
use scff::batch::{LayerIndex, Step};
use scff::goodness::LossParameters;
use scff::layer::{Conv, Dense, LayerSpec, LinearMap, MapShape, PairSource, Pool};
use scff::optimizer::OptimizerParameters;
use scff::train::{Hyperparameters, Sharing};

use super::error::{PlanError, check};
use crate::config::{Config, LayerConfig, LayerKind, PoolConfig, Shards, TrainingSchedule};
use source::Shape;

/// The longest name of a layer: it is repeated in messages and logs.
const NAME_BYTES: usize = 256;
/// A layer may have as many units.
pub const UNITS: u32 = 1 << 20;

/// Training one layer.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Which layer.
    pub layer: LayerIndex,
    /// What is fixed about it.
    pub spec: LayerSpec,
    /// How it learns.
    pub hyperparameters: Hyperparameters,
    /// Negative pairs per sample and step.
    pub negatives: usize,
    /// Epochs.
    pub epochs: u32,
    /// Steps of an epoch; samples that fill no batch sit the epoch out (another few each time).
    pub steps_per_epoch: u64,
    /// The last place below the layer where pairs are made: what is streamed are this many layers' outputs.
    pub cut_point: u32,
    /// Elements of an activation at the cut point.
    pub elements: usize,
    /// Whether the readout reads the layer.
    pub tapped: bool,
    /// How many workers the configuration lets share it.
    pub shards: Option<Shards>,
    /// The layer whose order and views of samples the stage goes by: in a joint schedule, all have the first one's.
    pub samples_of: LayerIndex,
    /// The layer whose negative pairs the stage goes by: in a joint schedule, the one that makes them.
    pub pairs_of: LayerIndex,
}

impl Stage {
    /// Steps in all.
    pub fn steps(&self) -> Step {
        Step(self.steps_per_epoch * u64::from(self.epochs))
    }
}

/// The stages of all layers, on samples of the given shape.
pub fn stages(config: &Config, shape: Shape, steps_per_epoch: u64) -> Result<Vec<Stage>, PlanError> {
    let Shape { channels, height, width } = shape;
    let joint = config.training.schedule == TrainingSchedule::Joint;
    let mut input = MapShape { height, width, channels };
    let mut cut_point = 0;
    let mut elements = input.len();
    let mut stages = Vec::new();
    for (index, layer) in config.layers.iter().enumerate() {
        check_layer(index, layer, config.training.batch)?;
        if layer.pairs == PairSource::Makes {
            cut_point = index as u32;
            elements = input.len();
        }
        let spec = spec(index, layer, input, config.training.block)?;
        check_row(index, layer, &spec)?;
        input = spec.output();
        stages.push(Stage {
            layer: LayerIndex(index as u32),
            hyperparameters: Hyperparameters {
                loss: LossParameters {
                    theta_pos: layer.theta_pos,
                    theta_neg: layer.theta_neg,
                    lambda: layer.lambda,
                },
                optimizer: OptimizerParameters {
                    learning_rate: layer.lr,
                    weight_decay: layer.weight_decay,
                    gamma: layer.gamma,
                    period: layer.period,
                },
                sharing: sharing(index, layer, config, &spec)?,
            },
            spec,
            negatives: layer.negatives as usize,
            epochs: layer.epochs,
            steps_per_epoch,
            cut_point,
            elements,
            tapped: layer.readout,
            shards: layer.shards,
            samples_of: LayerIndex(if joint { 0 } else { index as u32 }),
            pairs_of: LayerIndex(if joint { cut_point } else { index as u32 }),
        });
    }
    check_taps(&stages)?;
    Ok(stages)
}

/// The readout reads something, and what it reads of a sample fits a message.
fn check_taps(stages: &[Stage]) -> Result<(), PlanError> {
    let tapped = || stages.iter().filter(|stage| stage.tapped);
    check(tapped().next().is_some(), "layers[..].readout", "false everywhere", "true for a layer")?;
    let features: usize = tapped().map(|stage| stage.spec.features()).sum();
    check(
        features <= ELEMENTS,
        "layers[..].readout",
        format!("true for {features} features"),
        format!("at most {ELEMENTS}: those of a sample travel in one message"),
    )
}

/// An activation of the layer, and its map, fit a message.
fn check_row(index: usize, layer: &LayerConfig, spec: &LayerSpec) -> Result<(), PlanError> {
    let map = spec.map.output();
    check(
        map.len().max(spec.outputs()) <= ELEMENTS,
        &format!("layers[{index}].units"),
        layer.units,
        format!("fewer: a map of {map} is more than the {ELEMENTS} elements of a message"),
    )
}

/// What is fixed about a layer that reads `input`.
fn spec(index: usize, layer: &LayerConfig, input: MapShape, block: u32) -> Result<LayerSpec, PlanError> {
    let key = |name: &str| format!("layers[{index}].{name}");
    let outputs = layer.units as usize;
    let map = match layer.kind {
        LayerKind::Dense => {
            let given = [
                ("kernel", layer.kernel.is_some()),
                ("padding", layer.padding.is_some()),
                ("pool", layer.pool.is_some()),
                ("readout_pool", layer.readout_pool.is_some()),
            ];
            for (name, given) in given {
                check(!given, &key(name), "given", "nothing: only convolutions have it")?;
            }
            LinearMap::Dense(Dense { inputs: input.len(), outputs })
        }
        LayerKind::Conv => {
            let side = input.height.min(input.width);
            let padding = layer.padding.unwrap_or(0) as usize;
            check(
                padding < side,
                &key("padding"),
                padding,
                format!("less than the sides of a map of {input}"),
            )?;
            let kernel = layer.kernel.unwrap_or(0) as usize;
            let most = side + 2 * padding;
            check(
                (1..=most).contains(&kernel),
                &key("kernel"),
                layer.kernel.map_or("nothing".to_owned(), |kernel| kernel.to_string()),
                format!("1 to {most} on a padded map of {input}"),
            )?;
            LinearMap::Conv(Conv { input, channels: outputs, kernel, padding })
        }
    };
    let block = layer.block.unwrap_or(block);
    check((1..=UNITS).contains(&block), &key("block"), block, format!("1 to {UNITS}"))?;
    let spec = LayerSpec {
        name: layer.name.clone(),
        map,
        pairs: layer.pairs,
        transmit: layer.transmit,
        pool: pool(&key("pool"), layer.pool, map.output())?,
        readout_pool: None,
        block: block as usize,
    };
    let readout_pool = pool(&key("readout_pool"), layer.readout_pool, spec.output())?;
    Ok(LayerSpec { readout_pool, ..spec })
}

/// What those divide who share a layer.
fn sharing(
    index: usize,
    layer: &LayerConfig,
    config: &Config,
    spec: &LayerSpec,
) -> Result<Sharing, PlanError> {
    let suits =
        |sharing: Sharing| sharing.suits(spec) && (sharing == Sharing::Channels || config.data.views == 1);
    let pairs = config.training.batch as usize * (1 + layer.negatives as usize);
    if let Some(given) = layer.sharing {
        let key = format!("layers[{index}].sharing");
        let found = if given == Sharing::Samples { "samples" } else { "channels" };
        check(
            suits(given),
            &key,
            found,
            "channels: samples only of convolutions that make pairs of one view",
        )?;
        return Ok(given);
    }
    let [channels, samples] =
        [Sharing::Channels, Sharing::Samples].map(|sharing| sharing.exchanged(spec, pairs));
    Ok(if suits(Sharing::Samples) && samples < channels { Sharing::Samples } else { Sharing::Channels })
}

fn pool(key: &str, pool: Option<PoolConfig>, shape: MapShape) -> Result<Option<Pool>, PlanError> {
    let Some(PoolConfig { kind, size, stride, padding }) = pool else { return Ok(None) };
    let stride = stride.unwrap_or(size);
    let side = shape.height.min(shape.width) as u32;
    check(padding <= size / 2, &format!("{key}.padding"), padding, "at most half the size")?;
    let most = side + 2 * padding;
    let fits = format!("1 to {most} on a map of {shape}");
    check((1..=most).contains(&size), &format!("{key}.size"), size, fits)?;
    check((1..=side).contains(&stride), &format!("{key}.stride"), stride, format!("1 to {side}"))?;
    let [size, stride, padding] = [size, stride, padding].map(|number| number as usize);
    Ok(Some(Pool { kind, size, stride, padding }))
}

fn check_layer(index: usize, layer: &LayerConfig, batch: u32) -> Result<(), PlanError> {
    let key = |name: &str| format!("layers[{index}].{name}");
    check(!layer.name.trim().is_empty(), &key("name"), "\"\"", "a name")?;
    let length = layer.name.len();
    check(length <= NAME_BYTES, &key("name"), format!("{length} bytes"), format!("at most {NAME_BYTES}"))?;
    check((1..=UNITS).contains(&layer.units), &key("units"), layer.units, format!("1 to {UNITS}"))?;
    let takes = layer.pairs == PairSource::Takes;
    check(
        index > 0 || !takes,
        &key("pairs"),
        "takes",
        "`makes`: below the first layer there is none to take pairs from",
    )?;
    let most = batch - 1;
    check(
        (1..=most).contains(&layer.negatives),
        &key("negatives"),
        layer.negatives,
        format!("1 to {most}: a batch of {batch} has no more distinct shifts"),
    )?;
    check(layer.period > 0, &key("period"), layer.period, "1 or more batches")?;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    check(positive(layer.lr), &key("lr"), layer.lr, "a positive number")?;
    check(positive(layer.gamma), &key("gamma"), layer.gamma, "a positive number")?;
    let not_negative = |value: f64| value.is_finite() && value >= 0.0;
    check(not_negative(layer.weight_decay), &key("weight_decay"), layer.weight_decay, "0 or more")?;
    check(not_negative(f64::from(layer.lambda)), &key("lambda"), layer.lambda, "0 or more")?;
    check(layer.theta_pos.is_finite(), &key("theta_pos"), layer.theta_pos, "a finite number")?;
    check(layer.theta_neg.is_finite(), &key("theta_neg"), layer.theta_neg, "a finite number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use source::TrainingSamples;

    #[test]
    fn what_is_smaller_is_exchanged_unless_the_configuration_says_otherwise() {
        const CIFAR_10: &str = include_str!("../../../configs/cifar10.toml");
        let sharing = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
            let shape = Shape { height: 32, width: 32, channels: 3 };
            let config = config::parse("cifar10.toml", CIFAR_10, &changes).unwrap();
            let plan = Plan::new(&config, shape, TrainingSamples::labelled(50_000))?;
            Ok(plan.stages.iter().map(|stage| stage.hyperparameters.sharing).collect::<Vec<_>>())
        };
        let refusal = |changes: &[&str]| -> String {
            let refused: Result<_, PlanError> = sharing(changes);
            refused.unwrap_err().to_string()
        };
        let [channels, samples] = [Sharing::Channels, Sharing::Samples];
        assert_eq!(sharing(&[]), Ok(vec![samples, channels, channels]));
        assert_eq!(sharing(&["layers.0.sharing=channels"]), Ok(vec![channels; 3]));
        assert_eq!(sharing(&["layers.2.sharing=samples"]), Ok(vec![samples, channels, samples]));
        let takes = refusal(&["layers.1.sharing=samples"]);
        assert!(takes.starts_with("layers[1].sharing = samples: expected channels"), "{takes}");
        let large = ["layers.2.sharing=samples", "layers.2.units=6144"];
        assert_eq!(sharing(&large), Ok(vec![samples, channels, samples]), "a gradient of any size");
        let row = refusal(&["layers.0.units=20000"]);
        assert!(row.starts_with("layers[0].units = 20000: expected fewer: a map of 32x32x20000"), "{row}");
        let views = refusal(&["layers.0.sharing=samples", "data.views=2"]);
        assert!(views.contains("of one view"), "{views}");
    }
}
