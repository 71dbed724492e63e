//! Sequences of different lengths over the wire: training on them, and transforming them.

use std::sync::Arc;

use proto::batch::ArrivingBatch;
use proto::rows::Precision;
use proto::state::{Header, decode_state, encode_state};
use proto::wire;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::wire::transform_request;
use scff::batch::{Batch, SampleKey};
use scff::frozen::{self, FrozenLayer};
use scff::layer::{BiRnn, LayerMap, LayerSpec, MapShape, SequencePadding, Summary, Transmit};
use scff::samples::Samples;
use scff::sequences::Sequences;
use scff::train::{TrainingLayer, TrainingStage};

use crate::client::{Training, host_requests, server, soon};
use crate::fixture::{self, Stage, report_message};
use crate::transforming::transform;

const FEATURES: usize = 3;
const FRAMES: usize = 9;
const STEPS: u64 = 5;

fn spec(layer: u32) -> LayerSpec {
    let channels = if layer == 0 { FEATURES } else { 8 };
    let input = MapShape { height: FRAMES, width: 1, channels };
    let (padding, summary) = (SequencePadding::Masked, Summary::Thirds);
    LayerSpec {
        map: LayerMap::BiRnn(BiRnn { input, hidden: 4, padding, summary }),
        transmit: Transmit::Standardized,
        ..fixture::spec(layer)
    }
}

fn stage() -> Stage {
    let state = encode_state(&fixture::initial(&spec(0), 0), Header::new());
    Stage { spec: spec(0), state, kept_rows: 4, ..Stage::plain() }
}

fn frozen(layer: u32) -> FrozenLayer {
    FrozenLayer::new(spec(layer), fixture::initial(&spec(layer), layer).parameters).unwrap()
}

fn sequences(seed: u32, lengths: &[usize]) -> Sequences {
    let mut sequences = Sequences::zeros(FEATURES, lengths.iter().copied());
    for (index, row) in sequences.rows_mut().into_iter().enumerate() {
        row.copy_from_slice(&fixture::values(seed + index as u32, row.len()));
    }
    sequences
}

/// A sample's sequence is as long as its number says.
fn sample(key: SampleKey) -> Sequences {
    sequences(key.index, &[1 + key.index as usize % FRAMES])
}

fn message(sequences: &Sequences, precision: Precision) -> wire::Rows {
    let mut payload = Vec::new();
    precision.encode(sequences.frames().as_slice().unwrap(), &mut payload).unwrap();
    let elements = sequences.lengths().map(|length| (length * sequences.features()) as u32);
    let lengths: Vec<u32> = elements.collect();
    let alike = lengths.iter().all(|length| *length == lengths[0]);
    let lengths = if alike { Vec::new() } else { lengths };
    wire::Rows { rows: sequences.count() as u32, payload: payload.into(), lengths }
}

/// Each sample of a batch once, but for those that are kept.
fn missing(batch: &Batch, kept: &[SampleKey]) -> Vec<SampleKey> {
    let mut missing: Vec<SampleKey> = Vec::new();
    for key in batch.rows().filter(|key| !kept.contains(key)) {
        if !missing.contains(&key) {
            missing.push(key);
        }
    }
    missing
}

fn joined(parts: &[Sequences]) -> Sequences {
    let frames: Vec<_> = parts.iter().map(Sequences::frames).collect();
    let frames = ndarray::concatenate(ndarray::Axis(0), &frames).unwrap();
    Sequences::new(frames, parts.iter().flat_map(Sequences::lengths))
}

#[tokio::test]
async fn served_steps_on_sequences_equal_direct_steps_bit_for_bit() {
    let server = server().await;
    let mut training = Training::ready(&mut server.client().await, &stage()).await;
    let layer =
        TrainingLayer::new(spec(0), Stage::hyperparameters(), &fixture::initial(&spec(0), 0)).unwrap();
    let mut direct = TrainingStage::new(vec![], layer);
    let mut kept = Vec::new();
    for step in 0..STEPS {
        let batch = stage().batch(step);
        let all: Vec<Sequences> = batch.rows().map(sample).collect();
        let missing = missing(&batch, &kept);
        let expected = direct.step(joined(&all), false, &batch.shifts);
        let arriving: Vec<(SampleKey, bool)> = missing.iter().map(|key| (*key, kept.len() < 4)).collect();
        kept.extend(arriving.iter().filter(|(_, keep)| *keep).map(|(key, _)| *key));
        training.send(Request::Batch((&ArrivingBatch { batch, arriving }).into())).await;
        if !missing.is_empty() {
            let rows: Vec<Sequences> = missing.into_iter().map(sample).collect();
            training.send(Request::Rows(message(&joined(&rows), Precision::F32))).await;
        }
        assert_eq!(training.report().await, report_message(&expected), "step {step}");
    }
    training.send(Request::Checkpoint(wire::Checkpoint {})).await;
    let Some(Reply::State(part)) = training.reply().await.unwrap() else { panic!("no state") };
    let (state, _) = decode_state(&part.part, &spec(0).map.tensors()).unwrap();
    assert_eq!(state, direct.layer().state());
    training.finish().await;
}

#[tokio::test]
async fn sequences_come_back_as_long_as_they_were_and_features_all_alike() {
    let server = server().await;
    let mut client = server.client().await;
    let layers: Vec<Arc<FrozenLayer>> = (0..2).map(|layer| Arc::new(frozen(layer))).collect();
    for (index, layer) in layers.iter().enumerate() {
        let requests = host_requests("test", index as u32, layer);
        soon(client.host_layer(tokio_stream::iter(requests))).await.unwrap();
    }
    let messages = [sequences(1, &[3, 9, 1, 4]), sequences(7, &[5, 5, 5]), sequences(9, &[2])];
    for taps in [vec![], vec![false, true], vec![true, true]] {
        let begin = wire::TransformBegin {
            run: "test".to_owned(),
            inputs: (FRAMES * FEATURES) as u64,
            layers: 2,
            wire: wire::Wire::F32.into(),
            taps: taps.clone(),
        };
        let mut requests = vec![transform_request::Request::Begin(begin)];
        let rows = messages.iter().map(|sequences| message(sequences, Precision::F32));
        requests.extend(rows.map(transform_request::Request::Rows));
        let expected = messages.iter().map(|sequences| {
            if taps.is_empty() {
                let first = layers[0].transform_sequences(sequences);
                return message(&layers[1].transform_sequences(&first), Precision::F32);
            }
            let features = frozen::features(&layers, &taps, Samples::from(sequences.clone()));
            let mut payload = Vec::new();
            Precision::F32.encode(features.as_slice().unwrap(), &mut payload).unwrap();
            wire::Rows::alike(features.nrows(), payload)
        });
        assert_eq!(transform(&mut client, requests).await.unwrap(), expected.collect::<Vec<_>>(), "{taps:?}");
    }
}

#[tokio::test]
async fn sequences_that_are_not_whole_frames_or_too_long_are_refused() {
    let server = server().await;
    for (elements, says) in [(4, "found 4"), (3 * (FRAMES as u32 + 1), "found 30")] {
        let training = Training::ready(&mut server.client().await, &stage()).await;
        let batch = stage().batch(0);
        let arriving: Vec<_> = missing(&batch, &[]).into_iter().map(|key| (key, false)).collect();
        let rows = arriving.len() as u32;
        training.send(Request::Batch((&ArrivingBatch { batch, arriving }).into())).await;
        let mut lengths = vec![3; rows as usize];
        lengths[2] = elements;
        let payload = vec![0; 4 * lengths.iter().sum::<u32>() as usize].into();
        training.send(Request::Rows(wire::Rows { rows, payload, lengths })).await;
        let refusal = training.refusal().await;
        let expected = format!("rows.lengths: {says}, expected 1 to {FRAMES} frames of {FEATURES} elements");
        assert!(refusal.message().contains(&expected), "{}", refusal.message());
    }
}
