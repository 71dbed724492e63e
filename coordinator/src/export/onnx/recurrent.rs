//! Bidirectional recurrent layers: a scan over the frames in each direction.

use ndarray::s;
use scff::frozen::FrozenLayer;
use scff::layer::{BiRnn, Summary};

use super::arithmetic::{concat, mean, reshape, slice, standardize, unbiased};
use super::graph::{Builder, Side, Value};
use super::messages::Attribute;

/// The axis of frames.
const FRAMES: i64 = 1;

/// The standardised states of both directions in each frame, of (samples, frames, numbers).
pub fn pass(graph: &mut Builder, layer: &FrozenLayer, birnn: &BiRnn, value: &Value) -> Value {
    let parameters = layer.parameters();
    let often = if layer.spec().makes_pairs() { 2.0 } else { 1.0 };
    let bias = &parameters.vector("bias_ih") + &parameters.vector("bias_hh");
    let directions: Vec<Value> = (0..2)
        .map(|direction| {
            let units = s![direction * birnn.hidden..(direction + 1) * birnn.hidden, ..];
            let weight = parameters.matrix("weight_ih").slice(units).t().mapv(|weight| often * weight);
            let weight = graph.floats(&[birnn.features(), birnn.hidden], weight.iter().copied());
            let bias = bias.slice(s![direction * birnn.hidden..(direction + 1) * birnn.hidden]);
            let bias = graph.floats(&[birnn.hidden], bias.iter().copied());
            let mapped = graph.node("MatMul", &[value, &weight], vec![]);
            let mapped = graph.node("Add", &[&mapped, &bias], vec![]);
            let weight = parameters.matrix("weight_hh").slice(units).t().to_owned();
            let weight = graph.floats(&[birnn.hidden, birnn.hidden], weight.iter().copied());
            walk(graph, &mapped, &weight, birnn.hidden, direction as i64)
        })
        .collect();
    concat(graph, &directions.iter().collect::<Vec<_>>(), 2)
}

/// The standardised states of one direction: 0 walks forward, 1 backward.
fn walk(graph: &mut Builder, mapped: &Value, weight: &Value, hidden: usize, direction: i64) -> Value {
    let name = format!("{mapped}.step");
    let shape = [Side::Named("samples"), Side::Fixed(hidden)];
    let mut step = Builder::within(&name);
    let before = step.input("before", &shape);
    let frame = step.input("frame", &shape);
    let of_before = step.node("MatMul", &[&before, weight], vec![]);
    let sum = step.node("Add", &[&of_before, &frame], vec![]);
    let state = step.node("Relu", &[&sum], vec![]);
    let state = standardize(&mut step, &state, &[1], unbiased(hidden));
    step.output("state", &state, &shape);
    step.output("passed_on", &state, &shape);
    // The state before the first frame: zeros, for as many samples as there are.
    let sides = graph.node("Shape", &[mapped], vec![]);
    let [first, second] = [0, 1].map(|place| graph.integers(&[place]));
    let samples = slice(graph, &sides, 0, &first, &second);
    let units = graph.integers(&[hidden as i64]);
    let silence = concat(graph, &[&samples, &units], 0);
    let silence = graph.node("ConstantOfShape", &[&silence], vec![]);
    let attributes = vec![
        Attribute::graph("body", step.finish()),
        Attribute::int("num_scan_inputs", 1),
        Attribute::ints("scan_input_axes", &[FRAMES]),
        Attribute::ints("scan_output_axes", &[FRAMES]),
        Attribute::ints("scan_input_directions", &[direction]),
        Attribute::ints("scan_output_directions", &[direction]),
    ];
    graph.nodes("Scan", &[&silence, mapped], attributes, 2).remove(1)
}

/// What the readout reads of states, (samples, frames, units of both directions).
pub fn read(graph: &mut Builder, birnn: &BiRnn, states: &Value) -> Value {
    match birnn.summary {
        Summary::Last => {
            let [hidden, units] =
                [birnn.hidden, 2 * birnn.hidden].map(|place| graph.integers(&[place as i64]));
            let none = graph.integers(&[0]);
            let forward = frame(graph, states, -1);
            let forward = slice(graph, &forward, 1, &none, &hidden);
            let backward = frame(graph, states, 0);
            let backward = slice(graph, &backward, 1, &hidden, &units);
            concat(graph, &[&forward, &backward], 1)
        }
        Summary::Mean => average(graph, birnn, states),
        Summary::Thirds => {
            let thirds: Vec<Value> = (0..3).map(|third| self::third(graph, birnn, states, third)).collect();
            concat(graph, &thirds.iter().collect::<Vec<_>>(), 1)
        }
    }
}

/// One frame of all samples, counted from the end where it is negative.
fn frame(graph: &mut Builder, states: &Value, frame: i64) -> Value {
    let place = graph.integers(&[frame]);
    let states = graph.node("Gather", &[states, &place], vec![Attribute::int("axis", FRAMES)]);
    let axis = graph.integers(&[FRAMES]);
    graph.node("Squeeze", &[&states, &axis], vec![])
}

/// The mean over a third of the frames.
fn third(graph: &mut Builder, birnn: &BiRnn, states: &Value, third: i64) -> Value {
    let sides = graph.node("Shape", &[states], vec![]);
    let [one, two, three, begin, end] = [1, 2, 3, third, third + 1].map(|number| graph.integers(&[number]));
    let frames = slice(graph, &sides, 0, &one, &two);
    let mut bound = |of: &Value| {
        let product = graph.node("Mul", &[&frames, of], vec![]);
        graph.node("Div", &[&product, &three], vec![])
    };
    let (start, end) = (bound(&begin), bound(&end));
    let least = graph.node("Add", &[&start, &one], vec![]);
    let end = graph.node("Max", &[&end, &least], vec![]);
    let frames = slice(graph, states, FRAMES, &start, &end);
    average(graph, birnn, &frames)
}

/// The mean of states over their frames, standardised for each direction.
fn average(graph: &mut Builder, birnn: &BiRnn, states: &Value) -> Value {
    let mean = mean(graph, states, &[FRAMES], false);
    let directions = reshape(graph, &mean, &[-1, 2, birnn.hidden as i64]);
    let directions = standardize(graph, &directions, &[2], unbiased(birnn.hidden));
    reshape(graph, &directions, &[-1, 2 * birnn.hidden as i64])
}
