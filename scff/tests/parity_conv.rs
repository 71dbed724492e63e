//! The engine against PyTorch: every golden tensor of convolutions, pooling and the chain of three layers.
//!
//! PyTorch's tensors are (n, channels, height, width), the engine's maps and weights channels last.

use std::sync::Arc;

use ndarray::{Array2, Axis};
use scff::frozen::{FrozenLayer, features, transform};
use scff::layer::{
    Algorithm, Conv, LayerMap, LayerSpec, MapShape, PairSource, Pool, PoolKind, Tensors, Transmit,
};
use scff::normalize::{Counting, standardize_rows};
use scff::pair::PairedRows;

use crate::fixture::Fixture;

#[path = "common/fixture.rs"]
mod fixture;
#[path = "common/golden.rs"]
mod golden;

const MAX: Pool = Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 };

fn map(side: usize, channels: usize) -> MapShape {
    MapShape { height: side, width: side, channels }
}

fn spec(conv: (usize, usize, usize, usize), pairs: PairSource) -> LayerSpec {
    let (side, inputs, channels, kernel) = conv;
    let map = LayerMap::Conv(Conv {
        input: map(side, inputs),
        channels,
        kernel,
        padding: kernel / 2,
        algorithm: Algorithm::Direct,
    });
    LayerSpec {
        name: "conv".into(),
        map,
        pairs,
        transmit: Transmit::Triangle,
        pool: None,
        readout_pool: None,
        // Which divides neither 6 nor 8 nor 10 channels.
        block: 4,
    }
}

/// The layer in all ways in which its map, of a kernel of 3x3, can be computed.
fn algorithms(spec: LayerSpec) -> [LayerSpec; 2] {
    let LayerMap::Conv(conv) = spec.map else { panic!("a convolution") };
    [Algorithm::Direct, Algorithm::Winograd]
        .map(|algorithm| LayerSpec { map: LayerMap::Conv(Conv { algorithm, ..conv }), ..spec.clone() })
}

fn parameters(fixture: &Fixture, layer: &str, sign: f32) -> Tensors {
    Tensors::linear(
        fixture.channels_last(&format!("in.W{layer}")) * sign,
        fixture.vector(&format!("in.b{layer}")) * sign,
    )
}

fn frozen(fixture: &Fixture, layer: &str, spec: LayerSpec) -> FrozenLayer {
    FrozenLayer::new(spec, parameters(fixture, layer, 1.0)).unwrap()
}

fn shift(fixture: &Fixture, name: &str) -> Vec<usize> {
    vec![fixture.number(&format!("hp.{name}")) as usize]
}

fn first_layer() -> LayerSpec {
    spec((8, 3, 6, 5), PairSource::Makes)
}

#[test]
fn a_convolution_that_makes_pairs_matches_pytorch() {
    let fixture = Fixture::open("conv_layer1");
    let spec = first_layer();
    let input =
        PairedRows::make(fixture.channels_last("in.x"), &spec.map, false, &shift(&fixture, "shift_k"));
    fixture.check_channels_last("x_std", input.rows());
    check_pairs(&fixture, &input);
    check_outputs(&fixture, "", &spec, &input);
    check_training(&fixture, "", &spec, &input);
    // The map without bias: z of whole pairs with scale 1, offset 0 and no bias.
    let parameters = parameters(&fixture, "", 1.0);
    let plain = Tensors::linear(parameters.weight().to_owned(), &parameters.bias() * 0.0);
    let alone = PairedRows::alone(fixture.channels_last("in.x"), &spec.map, true);
    let doubled = outputs(&spec, &plain, &alone);
    let halved: Array2<f32> = &doubled.view() / 2.0;
    let restored = restore(&halved, &alone, &plain, &spec);
    fixture.check_channels_last("C", &restored);
    fixture.assert_complete(|_| true);
}

#[test]
fn a_convolution_of_algorithm_1_matches_pytorch() {
    let fixture = Fixture::open("conv_alg1_layer2");
    let shifts = shift(&fixture, "shift_k");
    let make = || PairedRows::make(fixture.channels_last("in.x"), &first_layer().map, false, &shifts);
    let unpooled = frozen(&fixture, "1", first_layer()).transform_pairs(&make());
    fixture.check_channels_last("l1_tri_pos", unpooled.positive());
    fixture.check_channels_last("l1_tri_neg", unpooled.negative());

    let first = frozen(&fixture, "1", LayerSpec { pool: Some(MAX), ..first_layer() });
    let between = first.transform_pairs(&make());
    fixture.check_channels_last("l2_in_pos", between.positive());
    fixture.check_channels_last("l2_in_neg", between.negative());

    for spec in algorithms(spec((4, 6, 8, 3), PairSource::Takes)) {
        let input = PairedRows::take(between.clone(), &spec.map);
        let padded = padded(&input, &spec);
        let (positive, negative) = padded.view().split_at(Axis(0), input.positives());
        fixture.check_channels_last("l2_in_norm_pos", positive);
        fixture.check_channels_last("l2_in_norm_neg", negative);
        check_outputs(&fixture, "2", &spec, &input);
        check_training(&fixture, "2", &spec, &input);
    }
    fixture.assert_complete(|_| true);
}

#[test]
fn a_convolution_of_algorithm_2_matches_pytorch() {
    let fixture = Fixture::open("conv_alg2_layer2");
    let first = frozen(&fixture, "1", LayerSpec { pool: Some(MAX), ..first_layer() });
    let between = first.transform(fixture.channels_last("in.x").view());
    fixture.check_channels_last("l1_out_pos", &between);

    for spec in algorithms(spec((4, 6, 8, 3), PairSource::Makes)) {
        let input = PairedRows::make(between.clone(), &spec.map, false, &shift(&fixture, "shift_k2"));
        fixture.check_channels_last("l2_x_std", input.rows());
        check_pairs(&fixture, &input);
        check_outputs(&fixture, "2", &spec, &input);
        check_training(&fixture, "2", &spec, &input);
    }
    fixture.assert_complete(|_| true);
}

/// PyTorch's script shows every layer pairs (i, i); a layer that takes pairs does the same without the doubling.
#[test]
fn the_chain_of_three_layers_matches_pytorch() {
    let fixture = Fixture::open("pipeline3_features");
    let average = |size| Some(Pool { kind: PoolKind::Average, size, stride: size, padding: 0 });
    let layer = |name: &str, shape, transmit, pool| {
        let spec = spec(shape, PairSource::Makes);
        frozen(&fixture, name, LayerSpec { transmit, pool, readout_pool: average(2), ..spec })
    };
    let layers: Vec<_> = [
        layer("1", (16, 3, 6, 5), Transmit::Triangle, Some(MAX)),
        layer("2", (8, 6, 8, 3), Transmit::Triangle, Some(MAX)),
        layer("3", (4, 8, 10, 3), Transmit::Relu, average(2)),
    ]
    .map(Arc::new)
    .into();
    check_chain(&fixture, &layers);
    let winograd = |layer: &Arc<FrozenLayer>| {
        let [_, winograd] = algorithms(layer.spec().clone());
        Arc::new(FrozenLayer::new(winograd, layer.parameters().clone()).unwrap())
    };
    check_chain(&fixture, &[layers[0].clone(), winograd(&layers[1]), winograd(&layers[2])]);
    fixture.assert_complete(|name| name != "f64.features");
}

fn check_chain(fixture: &Fixture, layers: &[Arc<FrozenLayer>]) {
    let samples = fixture.channels_last("in.x");
    for count in 1..=3 {
        let pooled = transform(&layers[..count], samples.view());
        fixture.check_channels_last(&format!("pooled{count}"), &pooled);
        let mut taps = vec![false; count];
        taps[count - 1] = true;
        let part = features(&layers[..count], &taps, samples.view());
        fixture.check_channels_last(&format!("feat{count}"), &part);
    }
    // Side by side they are the same numbers, in another order within each layer.
    let mut all: Vec<_> = features(layers, &[true; 3], samples.view()).into_raw_vec_and_offset().0;
    let mut expected: Vec<f32> = fixture.vector("f64.features").to_vec();
    all.sort_by(f32::total_cmp);
    expected.sort_by(f32::total_cmp);
    let off = std::iter::zip(&all, &expected).map(|(found, expected)| (found - expected).abs());
    assert!(all.len() == expected.len() && off.fold(0.0, f32::max) < 1e-5 * expected.last().unwrap());
}

#[test]
fn taking_pairs_alone_is_being_shown_pairs_of_equals() {
    let fixture = Fixture::open("pipeline3_features");
    let first = Arc::new(frozen(
        &fixture,
        "1",
        LayerSpec { pool: Some(MAX), ..spec((16, 3, 6, 5), PairSource::Makes) },
    ));
    let second = |pairs| {
        let spec = LayerSpec { pool: Some(MAX), ..spec((8, 6, 8, 3), pairs) };
        Arc::new(frozen(&fixture, "2", spec))
    };
    let samples = fixture.channels_last("in.x");
    let [taking, making] = [PairSource::Takes, PairSource::Makes]
        .map(|pairs| features(&[first.clone(), second(pairs)], &[false, true], samples.view()));
    let off = std::iter::zip(&taking, &making).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 2e-4, "{off}");
}

#[test]
fn pooling_matches_pytorch() {
    let fixture = Fixture::open("pooling");
    for (kind, name) in [(PoolKind::Max, "max"), (PoolKind::Average, "avg")] {
        for (size, stride, padding, sides) in [
            (2, 2, 0, &[4, 5, 7, 8][..]),
            (3, 2, 1, &[4, 6, 7]),
            (3, 3, 0, &[3, 4, 7]),
            (4, 2, 1, &[5, 6, 7, 8, 9, 16]),
            (4, 4, 0, &[6, 9, 12]),
        ] {
            for &side in sides {
                let golden = format!("{name}.k{size}s{stride}p{padding}.n{side}");
                if fixture.has(&format!("f64.{golden}")) {
                    let pool = Pool { kind, size, stride, padding };
                    let maps = fixture.channels_last(&format!("in.x{side}"));
                    fixture.check_channels_last(&golden, &pooled(pool, map(side, 2), &maps));
                }
            }
        }
    }
    let maps = fixture.channels_last("in.feat");
    let extra = Pool { kind: PoolKind::Average, size: 2, stride: 2, padding: 0 };
    let mut extra = pooled(extra, map(5, 6), &maps);
    fixture.check_channels_last("feat_extra_avg2", &extra);
    standardize_rows(&mut extra, &Counting::Once);
    fixture.check_channels_last("feat_std", &extra);
    // The triangle is checked where layers compute it.
    fixture.assert_complete(|name| name != "f64.feat_triangle");
}

fn pooled(pool: Pool, shape: MapShape, maps: &Array2<f32>) -> Array2<f32> {
    let mut result = Array2::zeros((maps.nrows(), pool.output(shape).len()));
    for (map, mut out) in maps.outer_iter().zip(result.outer_iter_mut()) {
        pool.apply(shape, map.as_slice().unwrap(), out.as_slice_mut().unwrap());
    }
    result
}

/// Mean and deviation of the padded concatenations.
fn check_pairs(fixture: &Fixture, input: &PairedRows) {
    let (positive, negative) = input.pairs().split_at(input.positives());
    for (kind, pairs) in [("pos", positive), ("neg", negative)] {
        let deviations = pairs.iter().map(|pair| 1.0 / f64::from(pair.scale));
        fixture.check_values(&format!("cat_std_{kind}"), deviations, None);
        let means = pairs.iter().map(|pair| f64::from(pair.offset) / f64::from(pair.scale) / 2.0);
        fixture.check_values(&format!("cat_mean_{kind}"), means, Some(1e-6));
    }
}

/// z of every pair: z = relu(z) - relu(-z), and -z is what the negated weights give.
fn outputs(spec: &LayerSpec, parameters: &Tensors, input: &PairedRows) -> Array2<f32> {
    let relu = |sign: f32| {
        let spec = LayerSpec { transmit: Transmit::Relu, ..spec.clone() };
        let parameters = Tensors::linear(&parameters.weight() * sign, &parameters.bias() * sign);
        FrozenLayer::new(spec, parameters).unwrap().transform_pairs(input).rows
    };
    relu(1.0) - relu(-1.0)
}

fn check_outputs(fixture: &Fixture, layer: &str, spec: &LayerSpec, input: &PairedRows) {
    let outputs = outputs(spec, &parameters(fixture, layer, 1.0), input);
    let (positive, negative) = outputs.view().split_at(Axis(0), input.positives());
    fixture.check_channels_last("z_pos", positive);
    fixture.check_channels_last("z_neg", negative);
}

/// U of every row, from z / 2 = scale * U - offset / 2 * w of the pairs (i, i).
fn restore(halved: &Array2<f32>, alone: &PairedRows, plain: &Tensors, spec: &LayerSpec) -> Array2<f32> {
    let sums = plain.weight().sum_axis(Axis(1));
    let channels = spec.map.channels();
    let mut restored = halved.clone();
    for (mut row, pair) in restored.outer_iter_mut().zip(alone.pairs()) {
        for (index, value) in row.iter_mut().enumerate() {
            *value = (*value + pair.offset / 2.0 * sums[index % channels]) / pair.scale;
        }
    }
    restored
}

/// The reflect-padded rows, which a kernel of 1x1 on a padded map would see one by one.
fn padded(input: &PairedRows, spec: &LayerSpec) -> Array2<f32> {
    let LayerMap::Conv(conv) = spec.map else { panic!("a convolution") };
    let MapShape { height, width, channels } = conv.input;
    let reflect = |place: usize, side: usize| {
        let inside = place as isize - conv.padding as isize;
        let last = side as isize - 1;
        (if inside > last { 2 * last - inside } else { inside.abs() }) as usize
    };
    let (tall, wide) = (height + 2 * conv.padding, width + 2 * conv.padding);
    Array2::from_shape_fn((input.rows().nrows(), tall * wide * channels), |(row, index)| {
        let (y, x, channel) = (index / channels / wide, index / channels % wide, index % channels);
        input.rows()[(row, (reflect(y, height) * width + reflect(x, width)) * channels + channel)]
    })
}

fn check_training(fixture: &Fixture, layer: &str, spec: &LayerSpec, input: &PairedRows) {
    golden::check_training(fixture, spec, parameters(fixture, layer, 1.0), input, |prefix, found| {
        fixture.check_channels_last(&format!("{prefix}W{layer}"), found.weight());
        fixture.check(&format!("{prefix}b{layer}"), found.bias());
    });
}
