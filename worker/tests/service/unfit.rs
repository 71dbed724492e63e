//! What does not survive the wire is blamed on whoever made it.

use std::collections::HashSet;

use proto::rows::Precision;
use proto::state::{Header, encode_state};
use proto::wire;
use proto::wire::train_request::Request as TrainRequest;
use proto::wire::transform_request::Request;
use scff::frozen::FrozenLayer;
use scff::layer::{LayerState, Tensors};
use tonic::Code;

use crate::client::{Training, host, host_requests, server, soon};
use crate::fixture::{Stage, initial, spec};
use crate::transforming::{begin, rows, samples, transform};

/// The parameters of a layer, so much larger than they should be.
fn scaled(layer: u32, by: f32) -> Tensors {
    let parameters = initial(&spec(layer), layer).parameters;
    Tensors::linear(&parameters.weight() * by, &parameters.bias() * by)
}

#[tokio::test]
async fn a_layer_whose_outputs_are_too_large_is_named() {
    let server = server().await;
    let mut client = server.client().await;
    let message = |precision| Request::Rows(rows(&samples(3, 40), precision));
    host(&mut client, "test", 0..3).await;
    for (by, layers, precision, says) in [
        (1e6, 2, Precision::F16, Some("half precision ends at 65504")),
        (1e6, 2, Precision::F32, None),
        // The third layer standardises what it takes.
        (1e6, 3, Precision::F16, None),
        (f32::MAX, 2, Precision::F32, Some("which is no finite number")),
        (f32::MAX, 3, Precision::F32, Some("which is no finite number")),
    ] {
        let layer = FrozenLayer::new(spec(1), scaled(1, by)).unwrap();
        soon(client.host_layer(tokio_stream::iter(host_requests("test", 1, &layer)))).await.unwrap();
        let requests = vec![Request::Begin(begin(layers, precision, &[])), message(precision)];
        let refusal = transform(&mut client, requests).await.err();
        assert_eq!(refusal.is_some(), says.is_some(), "{by} {layers} {precision:?}: {refusal:?}");
        if let (Some(refusal), Some(says)) = (refusal, says) {
            let message = refusal.message();
            assert!(
                message.starts_with("layer 1 (`dense1`) passes on") && message.contains(says),
                "{message}"
            );
            assert_eq!(refusal.code(), Code::OutOfRange);
        }
    }
}

#[tokio::test]
async fn a_sample_that_is_no_number_is_not_blamed_on_a_layer() {
    let server = server().await;
    let mut client = server.client().await;
    host(&mut client, "test", 0..1).await;
    let payload = [f32::NAN; 12].into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>();
    let rows = wire::Rows::alike(1, payload);
    let requests = vec![Request::Begin(begin(1, Precision::F32, &[])), Request::Rows(rows)];
    let refusal = transform(&mut client, requests).await.unwrap_err();
    let expected = "rows.payload: found a number that is not finite, expected finite numbers";
    assert_eq!(refusal.message(), expected);
}

#[tokio::test]
async fn a_layer_in_training_whose_outputs_are_too_large_is_named() {
    let server = server().await;
    let state = LayerState { parameters: scaled(0, 1e6), ..initial(&spec(0), 0) };
    let state = encode_state(&state, Header::new());
    let stage = Stage { state, precision: Precision::F16, kept_rows: 0, ..Stage::plain() };
    let pass_on = wire::PassOn::Pairs.into();
    let training = Training::open(&mut server.client().await).await;
    training.send(TrainRequest::Begin(wire::TrainBegin { pass_on, ..stage.begin() })).await;
    training.send(TrainRequest::State(stage.state.clone().into())).await;
    training.send_all(stage.step_requests(0, &mut HashSet::new())).await;
    let refusal = training.refusal().await;
    assert!(refusal.message().starts_with("layer 0 (`dense0`) passes on"), "{refusal}");
}
