//! By which algorithm convolutions are computed of which a configuration does not say so.

use scff::layer::Algorithm;
use scff::train::Sharing;

use super::layer::{LayerConfig, LayerKind};

/// Channels in and out with which Winograd's algorithm pays: of fewer, transforms take what products gain.
const TRANSFORMED: u32 = 64;

/// Convolutions of such shapes are computed by Winograd's algorithm where nothing else is said.
pub fn choose_algorithms(layers: &mut [LayerConfig]) {
    for index in 1..layers.len() {
        let (below, layer) = (&layers[index - 1], &layers[index]);
        let wide = |layer: &LayerConfig| {
            layer.kind == LayerKind::Conv && layer.units.is_some_and(|units| units >= TRANSFORMED)
        };
        let possible = layer.kernel == Some(3) && layer.sharing != Some(Sharing::Samples);
        if layer.algorithm.is_none() && possible && wide(below) && wide(layer) {
            layers[index].algorithm = Some(Algorithm::Winograd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{load, parse};
    use super::*;

    #[test]
    fn wide_convolutions_of_3x3_are_computed_by_winograd_where_nothing_else_is_said() {
        let file = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/cifar10.toml"));
        let algorithms = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
            let layers = load(file, &set).unwrap().layers;
            layers.into_iter().map(|layer| layer.algorithm).collect::<Vec<_>>()
        };
        let winograd = Some(Algorithm::Winograd);
        assert_eq!(algorithms(&[]), [None, winograd, winograd]);
        assert_eq!(algorithms(&["layers.1.algorithm=direct"]), [None, Some(Algorithm::Direct), winograd]);
        assert_eq!(algorithms(&["layers.2.sharing=samples"]), [None, winograd, None]);
        assert_eq!(algorithms(&["layers.1.units=32"]), [None; 3]);
        assert_eq!(algorithms(&["layers.1.kernel=5"]), [None, None, winograd]);
        let of_a_run = parse("config.toml", include_str!("../../../configs/cifar10.toml"), &[]).unwrap();
        assert!(of_a_run.layers.iter().all(|layer| layer.algorithm.is_none()));
    }
}
