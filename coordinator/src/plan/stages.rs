//! What each layer's training consists of.

use scff::batch::{LayerIndex, Step};
use scff::goodness::LossParameters;
use scff::layer::{ELEMENTS, LayerSpec, MapShape, PairSource};
use scff::optimizer::OptimizerParameters;
use scff::train::{HyperparameterError, HyperparameterField, Hyperparameters, Sharing};

use super::error::{PlanError, check};
use super::layers::spec;
use crate::config::{Config, LayerConfig, Shards, TrainingSchedule};
use source::Shape;

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
        if let Some(below) = stages.last().map(|below: &Stage| &below.spec) {
            check_upon(index, &spec, below)?;
        }
        input = spec.output();
        stages.push(Stage {
            layer: LayerIndex(index as u32),
            hyperparameters: hyperparameters(index, layer, config, &spec)?,
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

/// Sequences are read by recurrent layers, and by no others.
fn check_upon(index: usize, spec: &LayerSpec, below: &LayerSpec) -> Result<(), PlanError> {
    let (reads, passed_on) = (spec.reads(), below.passes_on());
    let expected = format!("one that reads {passed_on}, as layer {} passes on", index - 1);
    let found = format!("a kind that reads {reads}");
    check(reads == passed_on, &format!("layers[{index}].kind"), found, expected)
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

/// How a layer learns.
fn hyperparameters(
    index: usize,
    layer: &LayerConfig,
    config: &Config,
    spec: &LayerSpec,
) -> Result<Hyperparameters, PlanError> {
    let LayerConfig { theta_pos, theta_neg, lambda, weight_decay, gamma, period, .. } = *layer;
    let hyperparameters = Hyperparameters {
        loss: LossParameters { theta_pos, theta_neg, lambda },
        optimizer: OptimizerParameters { learning_rate: layer.lr, weight_decay, gamma, period },
        sharing: layer.sharing.unwrap_or_else(|| suitable(layer, config, spec)),
    };
    hyperparameters.checked(spec, config.data.views == 2).map_err(|error| unlearnable(index, error))
}

/// What the mathematics has against a layer's configured hyper-parameters.
fn unlearnable(
    index: usize,
    HyperparameterError { field, found, expected }: HyperparameterError,
) -> PlanError {
    let name = match field {
        HyperparameterField::LearningRate => "lr".to_owned(),
        field => field.to_string(),
    };
    PlanError { key: format!("layers[{index}].{name}"), found, expected }
}

/// What those divide who share a layer. Upon a pair prefix both: of channels alone, each would take all pairs through the layers
/// below, and two workers of CIFAR-10's second layer would do half of a step twice. Elsewhere that of which less is exchanged.
fn suitable(layer: &LayerConfig, config: &Config, spec: &LayerSpec) -> Sharing {
    if Sharing::Grid.is_possible(spec, config.data.views == 2) {
        return Sharing::Grid;
    }
    let pairs = config.training.batch as usize * (1 + layer.negatives as usize);
    let [channels, samples] =
        [Sharing::Channels, Sharing::Samples].map(|sharing| sharing.exchanged(spec, pairs).total());
    let possible = Sharing::Samples.is_possible(spec, config.data.views == 2);
    if possible && samples < channels { Sharing::Samples } else { Sharing::Channels }
}

fn check_layer(index: usize, layer: &LayerConfig, batch: u32) -> Result<(), PlanError> {
    let key = |name: &str| format!("layers[{index}].{name}");
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
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::plan::tests::plan;
    use proto::wire;
    use source::TrainingSamples;

    #[test]
    fn pairs_are_shared_in_a_grid_and_else_what_is_smaller_is_exchanged_unless_the_configuration_says_otherwise()
     {
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
        let [channels, samples, grid] = [Sharing::Channels, Sharing::Samples, Sharing::Grid];
        assert_eq!(sharing(&[]), Ok(vec![samples, grid, channels]));
        assert_eq!(sharing(&["layers.0.sharing=channels"]), Ok(vec![channels, grid, channels]));
        assert_eq!(sharing(&["layers.1.sharing=channels"]), Ok(vec![samples, channels, channels]));
        assert_eq!(sharing(&["layers.2.sharing=samples"]), Ok(vec![samples, grid, samples]));
        let takes = refusal(&["layers.1.sharing=samples"]);
        assert!(takes.starts_with("layers[1].sharing = samples: expected channels"), "{takes}");
        let large = ["layers.2.sharing=samples", "layers.2.units=6144"];
        assert_eq!(sharing(&large), Ok(vec![samples, grid, samples]), "a gradient of any size");
        let makes = refusal(&["layers.2.sharing=grid"]);
        assert!(makes.starts_with("layers[2].sharing = grid: expected channels: a grid only"), "{makes}");
        let row = refusal(&["layers.0.units=20000"]);
        assert!(row.starts_with("layers[0].units = 20000: expected fewer: a map of 32x32x20000"), "{row}");
        let views = refusal(&["layers.0.sharing=samples", "data.views=2"]);
        assert!(views.contains("of one view"), "{views}");
    }

    /// Both ends refuse the same values, each by its own name.
    #[test]
    fn what_no_layer_can_learn_by_is_refused_in_configurations_and_in_messages() {
        type Change = fn(&mut wire::Hyperparameters);
        let cases: [(&str, &str, &str, Change); 15] = [
            ("theta_pos", "nan", "theta_pos", |message| message.theta_pos = f32::NAN),
            ("theta_pos", "inf", "theta_pos", |message| message.theta_pos = f32::INFINITY),
            ("theta_neg", "-inf", "theta_neg", |message| message.theta_neg = f32::NEG_INFINITY),
            ("lambda", "-0.1", "lambda", |message| message.lambda = -0.1),
            ("lambda", "inf", "lambda", |message| message.lambda = f32::INFINITY),
            ("lr", "0.0", "learning_rate", |message| message.learning_rate = 0.0),
            ("lr", "-1.0", "learning_rate", |message| message.learning_rate = -1.0),
            ("lr", "nan", "learning_rate", |message| message.learning_rate = f64::NAN),
            ("weight_decay", "-0.1", "weight_decay", |message| message.weight_decay = -0.1),
            ("weight_decay", "inf", "weight_decay", |message| message.weight_decay = f64::INFINITY),
            ("gamma", "0.0", "gamma", |message| message.gamma = 0.0),
            ("gamma", "inf", "gamma", |message| message.gamma = f64::INFINITY),
            ("period", "0", "period", |message| message.period = 0),
            ("sharing", "samples", "sharing", |message| message.sharing = wire::Sharing::Samples.into()),
            ("sharing", "grid", "sharing", |message| message.sharing = wire::Sharing::Grid.into()),
        ];
        let good = plan(&[]).unwrap();
        for (key, value, field, change) in cases {
            let refused = plan(&[&format!("layers.0.{key}={value}")]).unwrap_err();
            assert_eq!(refused.key, format!("layers[0].{key}"));
            let stage = &good.stages[0];
            let mut message = wire::Hyperparameters::from(&stage.hyperparameters);
            change(&mut message);
            let error = proto::layer::hyperparameters(message, &stage.spec, good.two_views).unwrap_err();
            assert_eq!(error.field, format!("hyperparameters.{field}"));
            assert_eq!((error.found, error.expected), (refused.found, refused.expected), "{key}={value}");
        }
    }
}
