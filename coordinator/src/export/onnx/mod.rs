//! A network as an ONNX file, with everything between a scaled sample and its features or probabilities.
//!
//! What operators of ONNX round or count in ways of their own is written out: moments are in double precision, and a pooled
//! map is padded until windows without ceil mode cover it.

mod messages;

mod graph;

mod arithmetic;
mod pooling;

mod images;
mod recurrent;

use std::path::Path;

use prost::Message;
use scff::frozen::FrozenLayer;
use scff::layer::LayerMap;

use crate::model::Model;
use crate::part_file::PartFile;
use crate::version::Program;
use graph::{Builder, Side, Value};
use messages::{IR_VERSION, OPSET, OperatorSet, Property};

/// Samples come in any number.
const SAMPLES: Side = Side::Named("samples");
/// Sequences of a batch have any number of frames, the same.
const FRAMES: Side = Side::Named("frames");

/// Writes an ONNX file; what it is, in words.
pub fn write(model: &Model, path: &Path) -> anyhow::Result<String> {
    PartFile::write_whole(path, &file(model))?;
    let (path, features) = (path.display(), model.features());
    let classes = model.readout.as_ref().map(|readout| readout.weight().nrows());
    let classes = classes.map(|classes| format!(", probabilities of {classes} classes")).unwrap_or_default();
    Ok(format!("{path}: ONNX, operators of version {OPSET}: {features} features{classes}"))
}

/// The bytes of an ONNX file that computes what the layers pass on, the features and, where there is a readout, logits and
/// probabilities.
///
/// Its input `input` is (samples, height, width, channels), (samples, elements) where the first layer is dense, or
/// (samples, frames, numbers) of sequences of one length; its outputs are `layers.0` and so on, `features`, `logits` and
/// `probabilities`.
fn file(model: &Model) -> Vec<u8> {
    let mut graph = Builder::new("strata");
    let mut value = graph.input("input", &input(&model.layers[0]));
    let mut features = Vec::new();
    let last = model.read.iter().rposition(|read| *read).unwrap_or(0);
    for (index, layer) in model.layers[..=last].iter().enumerate() {
        value = pass(&mut graph, layer, &value);
        graph.output(&format!("layers.{index}"), &value, &passed_on(layer));
        if model.read[index] {
            features.push(read(&mut graph, layer, &value));
        }
    }
    let features: Vec<&Value> = features.iter().collect();
    let features = arithmetic::concat(&mut graph, &features, 1);
    graph.output("features", &features, &[SAMPLES, Side::Fixed(model.features())]);
    if let Some(readout) = &model.readout {
        let classes = readout.weight().nrows();
        let (weight, bias) = (readout.weight(), readout.bias());
        let logits = arithmetic::linear(&mut graph, &features, weight, bias.to_vec());
        let probabilities = graph.node("Softmax", &[&logits], vec![messages::Attribute::int("axis", 1)]);
        graph.output("logits", &logits, &[SAMPLES, Side::Fixed(classes)]);
        graph.output("probabilities", &probabilities, &[SAMPLES, Side::Fixed(classes)]);
    }
    let program = Program::this();
    let specs: Vec<_> = model.layers.iter().map(|layer| layer.spec()).collect();
    let layers = serde_json::to_string(&specs).expect("names and whole numbers");
    let file = messages::Model {
        ir_version: IR_VERSION,
        producer_name: "strata".to_owned(),
        producer_version: program.version,
        doc_string: "Maps stand channels last; samples are scaled as those of the run's data set.".to_owned(),
        graph: Some(graph.finish()),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: vec![Property { key: "layers".to_owned(), value: layers }],
    };
    file.encode_to_vec()
}

fn input(first: &FrozenLayer) -> Vec<Side> {
    match &first.spec().map {
        LayerMap::Dense(dense) => vec![SAMPLES, Side::Fixed(dense.inputs)],
        LayerMap::Conv(conv) => map(conv.input),
        LayerMap::BiRnn(birnn) => vec![SAMPLES, FRAMES, Side::Fixed(birnn.features())],
    }
}

fn passed_on(layer: &FrozenLayer) -> Vec<Side> {
    match &layer.spec().map {
        LayerMap::Dense(_) => vec![SAMPLES, Side::Fixed(layer.spec().outputs())],
        LayerMap::Conv(_) => map(layer.spec().output()),
        LayerMap::BiRnn(birnn) => vec![SAMPLES, FRAMES, Side::Fixed(2 * birnn.hidden)],
    }
}

fn map(shape: scff::layer::MapShape) -> Vec<Side> {
    vec![SAMPLES, Side::Fixed(shape.height), Side::Fixed(shape.width), Side::Fixed(shape.channels)]
}

/// What a layer passes on.
fn pass(graph: &mut Builder, layer: &FrozenLayer, value: &Value) -> Value {
    match &layer.spec().map {
        LayerMap::Dense(_) => images::dense(graph, layer, value),
        LayerMap::Conv(conv) => images::conv(graph, layer, conv, value),
        LayerMap::BiRnn(birnn) => recurrent::pass(graph, layer, birnn, value),
    }
}

/// What the readout reads of what a layer passes on: (samples, features).
fn read(graph: &mut Builder, layer: &FrozenLayer, value: &Value) -> Value {
    match &layer.spec().map {
        LayerMap::Dense(_) | LayerMap::Conv(_) => images::read(graph, layer, value),
        LayerMap::BiRnn(birnn) => recurrent::read(graph, birnn, value),
    }
}
