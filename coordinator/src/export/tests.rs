//! Exported models are run by onnxruntime and PyTorch and compared with what this library computes.

use std::process::Command;
use std::sync::Arc;

use ndarray::{Array1, Array2};
use scff::batch::{Epoch, LayerIndex, Step};
use scff::frozen::{FrozenLayer, features};
use scff::layer::{
    Algorithm, BiRnn, Conv, Dense, LayerMap, LayerSpec, LayerState, MapShape, PairSource, Pool, PoolKind,
    SequencePadding, Summary, Tensors, Transmit,
};
use scff::samples::Samples;
use scff::seed::{Purpose, Seed};
use scff::sequences::Sequences;

use super::{onnx, torch};
use crate::model::Model;

/// A layer of random weights.
fn layer(map: LayerMap, pairs: PairSource, transmit: Transmit, pools: [Option<Pool>; 2]) -> Arc<FrozenLayer> {
    let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(0), Epoch(0), Step(0));
    let parameters = LayerState::initial(&map, &mut random).parameters;
    let [pool, readout_pool] = pools;
    let spec = LayerSpec { name: "layer".to_owned(), map, pairs, transmit, pool, readout_pool, block: 8 };
    Arc::new(FrozenLayer::new(spec, parameters).unwrap())
}

/// Numbers between -1 and 1 that look random.
fn numbers(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        ((row * 7919 + column * 104_729 + row * column * 31) % 2003) as f32 / 1001.5 - 1.0
    })
}

fn model(layers: Vec<Arc<FrozenLayer>>, read: Vec<bool>) -> Model {
    let mut model = Model { layers, read, readout: None };
    let weight = numbers(5, model.features());
    model.readout = Some(Tensors::linear(weight, Array1::linspace(-1.0, 1.0, 5)));
    model
}

/// Exports a model in each way, has others run it on samples of a shape and compare; says so where they are not there.
fn compare(test: &str, model: &Model, shape: &[usize], samples: Samples) {
    const SCRIPT: &str = include_str!("../../tests/exports.py");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, values: &mut dyn Iterator<Item = f32>| {
        std::fs::write(at(name), values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    };
    onnx::write(model, &at("model.onnx")).unwrap();
    torch::write(model, &at("module")).unwrap();
    let numbers = match &samples {
        Samples::Rows(rows) => rows,
        Samples::Sequences(sequences) => &sequences.frames().to_owned(),
    };
    write("input.f32", &mut numbers.iter().copied());
    let expected = features(&model.layers, &model.read, samples);
    let readout = model.readout.as_ref().unwrap();
    let logits = expected.dot(&readout.weight().t()) + readout.bias();
    write("features.f32", &mut expected.iter().copied());
    write("logits.f32", &mut logits.iter().copied());
    let python = std::env::var_os("STRATA_PYTHON").unwrap_or_else(|| "python3".into());
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    for (way, needs) in [("onnx", "numpy, onnxruntime"), ("torch", "numpy, torch, safetensors")] {
        let there = Command::new(&python).args(["-c", &format!("import {needs}")]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            println!("skipped: {test}, {way}: {} (STRATA_PYTHON) has not all of {needs}", python.display());
            continue;
        }
        let mut command = Command::new(&python);
        let output = command.args(["-c", SCRIPT, way, &shape]).current_dir(folder.path()).output().unwrap();
        let [said, errors] =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(output.status.success() && said.contains("agree"), "{test}, {way}: {said}{errors}");
        println!("{test}, {way}: {said}");
    }
}

const IMAGE: MapShape = MapShape { height: 11, width: 9, channels: 3 };

#[test]
fn others_compute_dense_layers() {
    use PairSource::{Makes, Takes};
    let dense = |inputs, outputs| LayerMap::Dense(Dense { inputs, outputs });
    let layers = vec![
        layer(dense(48, 33), Makes, Transmit::Triangle, [None; 2]),
        layer(dense(33, 20), Takes, Transmit::Relu, [None; 2]),
        layer(dense(20, 16), Makes, Transmit::Triangle, [None; 2]),
    ];
    let model = model(layers, vec![true, false, true]);
    let mut samples = numbers(10, 48);
    samples.row_mut(3).fill(0.3);
    compare("dense", &model, &[10, 48], samples.into());
}

#[test]
fn others_compute_convolutions_with_every_kind_of_pooling() {
    use PairSource::{Makes, Takes};
    let conv = |input, channels, kernel, padding| {
        LayerMap::Conv(Conv { input, channels, kernel, padding, algorithm: Algorithm::Direct })
    };
    let pool = |kind, size, stride, padding| Some(Pool { kind, size, stride, padding });
    let first = layer(
        conv(IMAGE, 12, 5, 2),
        Makes,
        Transmit::Triangle,
        [pool(PoolKind::Max, 4, 2, 1), pool(PoolKind::Average, 2, 2, 0)],
    );
    let second = layer(
        conv(first.spec().output(), 10, 3, 1),
        Takes,
        Transmit::Triangle,
        [pool(PoolKind::Average, 3, 2, 1), pool(PoolKind::Average, 2, 3, 1)],
    );
    let third = layer(conv(second.spec().output(), 7, 3, 1), Makes, Transmit::Relu, [None; 2]);
    let above = LayerMap::Dense(Dense { inputs: third.spec().outputs(), outputs: 9 });
    let above = layer(above, Makes, Transmit::Triangle, [None; 2]);
    let model = model(vec![first, second, third, above], vec![true; 4]);
    let shape = [6, IMAGE.height, IMAGE.width, IMAGE.channels];
    compare("convolutions", &model, &shape, numbers(6, IMAGE.len()).into());
}

#[test]
fn others_compute_recurrent_layers_whatever_they_are_read_by() {
    use PairSource::{Makes, Takes};
    for (summary, frames) in
        [(Summary::Last, 6), (Summary::Mean, 5), (Summary::Thirds, 7), (Summary::Thirds, 2)]
    {
        let birnn = |features, hidden| {
            let input = MapShape { height: 9, width: 1, channels: features };
            LayerMap::BiRnn(BiRnn { input, hidden, padding: SequencePadding::Masked, summary })
        };
        let layers = vec![
            layer(birnn(4, 6), Makes, Transmit::Standardized, [None; 2]),
            layer(birnn(12, 5), Takes, Transmit::Standardized, [None; 2]),
        ];
        let model = model(layers, vec![true; 2]);
        let samples = Sequences::new(numbers(3 * frames, 4), [frames; 3]);
        compare("sequences", &model, &[3, frames, 4], Samples::Sequences(samples));
    }
}
