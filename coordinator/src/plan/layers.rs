//! What is fixed about each layer, by what the configuration says of it.

use scff::layer::{
    BiRnn, Conv, Dense, ELEMENTS, LayerMap, LayerSpec, MapShape, Pool, SequencePadding, SpecError, SpecField,
};

use super::error::{PlanError, check};
use crate::config::{LayerConfig, LayerKind, Padding, PoolConfig};

/// What is fixed about a layer that reads `input`.
pub fn spec(index: usize, layer: &LayerConfig, input: MapShape, block: u32) -> Result<LayerSpec, PlanError> {
    check_keys(index, layer)?;
    let units = if layer.kind == LayerKind::BiRnn { layer.hidden } else { layer.units };
    let outputs = units.unwrap_or(0) as usize;
    let map = match layer.kind {
        LayerKind::Dense => LayerMap::Dense(Dense { inputs: input.len(), outputs }),
        LayerKind::Conv => {
            let kernel = layer.kernel.unwrap_or(0) as usize;
            let padding = match layer.padding {
                None => 0,
                Some(Padding::Positions(number)) => number as usize,
                Some(Padding::Sequences(_)) => {
                    return Err(wrong_padding(index, layer, "a number of positions"));
                }
            };
            let algorithm = layer.algorithm.unwrap_or_default();
            LayerMap::Conv(Conv { input, channels: outputs, kernel, padding, algorithm })
        }
        LayerKind::BiRnn => {
            let padding = match layer.padding {
                None => SequencePadding::default(),
                Some(Padding::Sequences(padding)) => padding,
                Some(Padding::Positions(_)) => {
                    return Err(wrong_padding(index, layer, "\"masked\" or \"counts\""));
                }
            };
            let summary = layer.summary.unwrap_or_default();
            LayerMap::BiRnn(BiRnn { input, hidden: outputs, padding, summary })
        }
    };
    let spec = LayerSpec {
        name: layer.name.clone(),
        map,
        pairs: layer.pairs,
        transmit: layer.transmit,
        pool: layer.pool.map(pool),
        readout_pool: layer.readout_pool.map(pool),
        block: layer.block.unwrap_or(block) as usize,
    };
    spec.checked().map_err(|error| refused(index, layer, error))
}

/// A layer has the keys of its kind, and no others.
fn check_keys(index: usize, layer: &LayerConfig) -> Result<(), PlanError> {
    use LayerKind::{BiRnn, Conv, Dense};
    let keys: [(&str, bool, &[LayerKind]); 8] = [
        ("units", layer.units.is_some(), &[Dense, Conv]),
        ("hidden", layer.hidden.is_some(), &[BiRnn]),
        ("kernel", layer.kernel.is_some(), &[Conv]),
        ("padding", layer.padding.is_some(), &[Conv, BiRnn]),
        ("algorithm", layer.algorithm.is_some(), &[Conv]),
        ("summary", layer.summary.is_some(), &[BiRnn]),
        ("pool", layer.pool.is_some(), &[Conv]),
        ("readout_pool", layer.readout_pool.is_some(), &[Conv]),
    ];
    for (name, given, kinds) in keys {
        let key = format!("layers[{index}].{name}");
        let expected = format!("nothing: only {} layers have it", words(kinds));
        check(!given || kinds.contains(&layer.kind), &key, "given", expected)?;
    }
    let (needed, given) = match layer.kind {
        BiRnn => ("hidden", layer.hidden),
        Dense | Conv => ("units", layer.units),
    };
    let key = format!("layers[{index}].{needed}");
    check(given.is_some(), &key, "nothing", "how many there are")
}

fn words(kinds: &[LayerKind]) -> String {
    let word = |kind: &LayerKind| match kind {
        LayerKind::Dense => "dense",
        LayerKind::Conv => "conv",
        LayerKind::BiRnn => "birnn",
    };
    kinds.iter().map(word).collect::<Vec<_>>().join(" and ")
}

fn wrong_padding(index: usize, layer: &LayerConfig, expected: &str) -> PlanError {
    let found = match layer.padding {
        Some(Padding::Positions(number)) => number.to_string(),
        padding => format!("{padding:?}"),
    };
    PlanError { key: format!("layers[{index}].padding"), found, expected: expected.to_owned() }
}

fn pool(PoolConfig { kind, size, stride, padding }: PoolConfig) -> Pool {
    let [size, stride, padding] = [size, stride.unwrap_or(size), padding].map(|number| number as usize);
    Pool { kind, size, stride, padding }
}

/// What the mathematics has against a configured layer.
fn refused(index: usize, layer: &LayerConfig, SpecError { field, found, expected }: SpecError) -> PlanError {
    let (units, number) = match layer.kind {
        LayerKind::BiRnn => ("hidden", layer.hidden),
        LayerKind::Dense | LayerKind::Conv => ("units", layer.units),
    };
    let (name, found, expected) = match field {
        SpecField::Channels => (units.to_owned(), found, expected),
        SpecField::Output => {
            let fewer = format!("fewer: {found} is more than {ELEMENTS} elements");
            (units.to_owned(), number.unwrap_or(0).to_string(), fewer)
        }
        // What the layer reads follows from the samples and the layers below.
        SpecField::Inputs | SpecField::Input => {
            ("kind".to_owned(), format!("of a layer that reads {found}"), expected)
        }
        SpecField::Kernel if layer.kernel.is_none() => (field.to_string(), "nothing".to_owned(), expected),
        field => (field.to_string(), found, expected),
    };
    PlanError { key: format!("layers[{index}].{name}"), found, expected }
}

#[cfg(test)]
mod tests {
    use scff::layer::Summary;
    use source::{Shape, TrainingSamples};

    use super::*;
    use crate::config;
    use crate::plan::Plan;

    #[test]
    fn what_the_mathematics_refuses_is_told_by_the_configurations_key() {
        const CIFAR_10: &str = include_str!("../../../configs/cifar10.toml");
        let refusal = |text: &str, changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
            let shape = Shape { height: 32, width: 32, channels: 3 };
            let config = config::parse("cifar10.toml", text, &changes).unwrap();
            Plan::new(&config, shape, TrainingSamples::labelled(50_000)).unwrap_err().to_string()
        };
        for (change, says) in [
            ("layers.0.kernel=40", "layers[0].kernel = 40: expected 1 to 36 on a padded map of 32x32x3"),
            (
                "layers.0.padding=32",
                "layers[0].padding = 32: expected less than the sides of a map of 32x32x3",
            ),
            (
                "layers.0.algorithm=winograd",
                "layers[0].algorithm = winograd: expected direct: only kernels of 3x3 are computed otherwise",
            ),
            ("layers.0.units=0", "layers[0].units = 0: expected 1 to 1048576"),
            ("layers.0.pool.padding=3", "layers[0].pool.padding = 3: expected at most half the size"),
            ("layers.1.pool.stride=0", "layers[1].pool.stride = 0: expected 1 to 16"),
            (
                "layers.1.readout_pool.size=50",
                "layers[1].readout_pool.size = 50: expected 1 to 8 on a map of 8x8x384",
            ),
            (
                "layers.2.units=1048576",
                "layers[2].units = 1048576: expected fewer: a map of 8x8x1048576 is more than 16777200 elements",
            ),
        ] {
            let error = refusal(CIFAR_10, &[change]);
            assert!(error.starts_with(says), "{change}: {error}");
        }
        let without = refusal(&CIFAR_10.replacen("kernel = 5\n", "", 1), &[]);
        assert!(without.starts_with("layers[0].kernel = nothing: expected 1 to 36"), "{without}");
    }

    const RECURRENT: &str = r#"
        seed = 1
        data = { name = "mnist" }
        training = { batch = 50, block = 20 }
        readout = { lr = 0.001, batch = 1, epochs = 2, dropout = 0.0 }

        [[layers]]
        name = "birnn1"
        kind = "birnn"
        hidden = 30
        pairs = "makes"
        transmit = "standardized"
        epochs = 2
        lr = 1e-4
        weight_decay = 0.0
        gamma = 0.7
        period = 10
        theta_pos = 0.0
        theta_neg = 1.0
        lambda = 0.01

        [[layers]]
        name = "birnn2"
        kind = "birnn"
        hidden = 20
        padding = "counts"
        summary = "thirds"
        pairs = "takes"
        transmit = "standardized"
        epochs = 2
        lr = 1e-4
        weight_decay = 0.0
        gamma = 0.7
        period = 10
        theta_pos = 0.0
        theta_neg = 1.0
        lambda = 0.01
    "#;

    fn recurrent(changes: &[&str]) -> Result<Plan, PlanError> {
        let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
        let shape = Shape { height: 28, width: 28, channels: 1 };
        let config = config::parse("birnn.toml", RECURRENT, &changes).unwrap();
        Plan::new(&config, shape, TrainingSamples::labelled(600))
    }

    /// Rows of an image are as good as frames of anything else.
    #[test]
    fn recurrent_layers_read_frames_and_pass_on_the_units_of_both_directions() {
        let plan = recurrent(&[]).unwrap();
        let [first, second] = &plan.stages[..] else { panic!("two layers") };
        let shapes = [first, second].map(|stage| {
            let birnn = *stage.spec.map.recurrent().unwrap();
            (birnn.frames(), birnn.features(), birnn.hidden, birnn.padding, birnn.summary)
        });
        let masked = SequencePadding::Masked;
        let expected =
            [(28, 28, 30, masked, Summary::Last), (28, 60, 20, SequencePadding::Counts, Summary::Thirds)];
        assert_eq!(shapes, expected);
        assert_eq!(plan.features(), 60 + 3 * 40);
        // One map of each sample, the states of each pair, and as much for the gradients.
        let first_operations = 4 * 28 * 60 * (50 * 28 + 100 * 30);
        assert_eq!(plan.operations(first), first_operations);
        let again = config::parse("again", &config::parse("", RECURRENT, &[]).unwrap().to_toml(), &[]);
        assert_eq!(again.unwrap(), config::parse("", RECURRENT, &[]).unwrap());
    }

    #[test]
    fn keys_of_other_kinds_of_layers_are_refused() {
        for (change, says) in [
            (
                "layers.0.units=9",
                "layers[0].units = given: expected nothing: only dense and conv layers have it",
            ),
            ("layers.0.kernel=3", "layers[0].kernel = given: expected nothing: only conv layers have it"),
            ("layers.0.padding=2", "layers[0].padding = 2: expected \"masked\" or \"counts\""),
            ("layers.0.hidden=0", "layers[0].hidden = 0: expected 1 to"),
            ("layers.0.transmit=relu", "layers[0].transmit = relu: expected standardized"),
            ("layers.0.sharing=samples", "layers[0].sharing = samples: expected channels"),
        ] {
            let error = recurrent(&[change]).unwrap_err().to_string();
            assert!(error.starts_with(says), "{change}: {error}");
        }
        let dense = ["layers.1.kind=dense", "layers.1.summary=mean"];
        let says = "layers[1].hidden = given: expected nothing: only birnn layers have it";
        assert!(recurrent(&dense).unwrap_err().to_string().starts_with(says));
        let word = config::parse("birnn.toml", RECURRENT, &["layers.0.padding=zeros".to_owned()]);
        let error = word.unwrap_err().to_string();
        assert!(error.contains("layers[0].padding") && error.contains("`masked` or `counts`"), "{error}");
    }

    #[test]
    fn other_layers_do_not_read_sequences() {
        let text = RECURRENT
            .replace("hidden = 20\n        padding = \"counts\"\n        summary = \"thirds\"", "units = 5")
            .replacen("kind = \"birnn\"\n        units", "kind = \"dense\"\n        units", 1);
        let config = config::parse("birnn.toml", &text, &["layers.1.transmit=relu".to_owned()]).unwrap();
        let shape = Shape { height: 28, width: 28, channels: 1 };
        let error = Plan::new(&config, shape, TrainingSamples::labelled(600)).unwrap_err().to_string();
        let says = "layers[1].kind = a kind that reads 1680 elements: expected one that reads 1 to 28 frames of 60 elements";
        assert!(error.starts_with(says), "{error}");
    }
}
