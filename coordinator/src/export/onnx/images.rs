//! Dense layers and convolutions.

use scff::frozen::FrozenLayer;
use scff::layer::{Conv, LayerMap, Pool, Transmit};

use super::arithmetic::{linear, reshape, standardize, triangle, unbiased};
use super::graph::{Builder, Value};
use super::messages::Attribute;
use super::pooling::pool;

/// What a dense layer passes on of (samples, elements) or of a map.
pub fn dense(graph: &mut Builder, layer: &FrozenLayer, value: &Value) -> Value {
    let inputs = layer.spec().map.inputs();
    let mut rows = reshape(graph, value, &[-1, inputs as i64]);
    if layer.spec().makes_pairs() {
        rows = standardize(graph, &rows, &[1], unbiased(inputs));
    }
    let rows = standardize(graph, &rows, &[1], of_a_pair(layer, inputs));
    let (weight, bias) = parameters(layer);
    let z = linear(graph, &rows, weight.view(), bias);
    transmit(graph, layer.spec().transmit, &z)
}

/// What a convolution passes on of (samples, height, width, channels).
pub fn conv(graph: &mut Builder, layer: &FrozenLayer, conv: &Conv, value: &Value) -> Value {
    let shape = conv.input;
    let sides = [-1, shape.height as i64, shape.width as i64, shape.channels as i64];
    let mut map = reshape(graph, value, &sides);
    if layer.spec().makes_pairs() {
        map = standardize(graph, &map, &[1, 2, 3], unbiased(shape.len()));
    }
    let map = channels_first(graph, &map);
    let padding = conv.padding as i64;
    let pads = graph.integers(&[0, 0, padding, padding, 0, 0, padding, padding]);
    let padded = graph.node("Pad", &[&map, &pads], vec![Attribute::word("mode", "reflect")]);
    let padded = standardize(graph, &padded, &[1, 2, 3], of_a_pair(layer, conv.padded().len()));
    let (weight, bias) = parameters(layer);
    let (kernel, channels) = (conv.kernel, shape.channels);
    let at = |(channel, input, row, column): (usize, usize, usize, usize)| {
        weight[(channel, (row * kernel + column) * channels + input)]
    };
    let places = (0..conv.channels).flat_map(|channel| {
        (0..channels).flat_map(move |input| {
            (0..kernel * kernel).map(move |place| (channel, input, place / kernel, place % kernel))
        })
    });
    let weight = graph.floats(&[conv.channels, channels, kernel, kernel], places.map(at).collect::<Vec<_>>());
    let bias = graph.floats(&[conv.channels], bias);
    let z = graph.node("Conv", &[&padded, &weight, &bias], vec![]);
    let passed_on = transmit(graph, layer.spec().transmit, &z);
    let passed_on = pooled(graph, &passed_on, layer.spec().pool, layer.spec().map.output());
    channels_last(graph, &passed_on)
}

/// What the readout reads of what a layer passes on.
pub fn read(graph: &mut Builder, layer: &FrozenLayer, value: &Value) -> Value {
    let spec = layer.spec();
    let mut value = value.clone();
    if let (Some(_), LayerMap::Conv(_)) = (spec.readout_pool, &spec.map) {
        let map = channels_first(graph, &value);
        let map = pooled(graph, &map, spec.readout_pool, spec.output());
        value = channels_last(graph, &map);
    }
    let features = spec.features();
    let rows = reshape(graph, &value, &[-1, features as i64]);
    standardize(graph, &rows, &[1], unbiased(features))
}

/// Weights and biases, each as often as the layer adds it: twice for the two halves of the pair (x, x).
fn parameters(layer: &FrozenLayer) -> (ndarray::Array2<f32>, Vec<f32>) {
    let often = if layer.spec().makes_pairs() { 2.0 } else { 1.0 };
    let parameters = layer.parameters();
    (parameters.weight().mapv(|weight| often * weight), parameters.bias().iter().map(|b| often * b).collect())
}

/// The factor of the variance of a pair of halves of so many numbers, or of a row that is one.
fn of_a_pair(layer: &FrozenLayer, count: usize) -> f64 {
    unbiased(if layer.spec().makes_pairs() { 2 * count } else { count })
}

/// z with its channels on axis 1, as it is passed on before pooling.
fn transmit(graph: &mut Builder, transmit: Transmit, z: &Value) -> Value {
    match transmit {
        Transmit::Triangle => triangle(graph, z, 1),
        Transmit::Relu | Transmit::Standardized => graph.node("Relu", &[z], vec![]),
    }
}

fn pooled(graph: &mut Builder, map: &Value, with: Option<Pool>, shape: scff::layer::MapShape) -> Value {
    with.map_or_else(|| map.clone(), |with| pool(graph, map, with, shape))
}

fn channels_first(graph: &mut Builder, map: &Value) -> Value {
    graph.node("Transpose", &[map], vec![Attribute::ints("perm", &[0, 3, 1, 2])])
}

fn channels_last(graph: &mut Builder, map: &Value) -> Value {
    graph.node("Transpose", &[map], vec![Attribute::ints("perm", &[0, 2, 3, 1])])
}
