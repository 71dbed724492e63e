//! Transforming over the wire is the same as transforming at home.

use std::sync::Arc;

use ndarray::Array2;
use proto::rows::Precision;
use proto::wire;
use proto::wire::transform_request::Request;
use scff::frozen;
use tonic::Status;

use crate::client::{Client, host, server, soon};
use crate::fixture;

pub fn begin(layers: u32, precision: Precision, taps: &[bool]) -> wire::TransformBegin {
    let wire = wire::Wire::from(precision).into();
    wire::TransformBegin { run: "test".to_owned(), inputs: 12, layers, wire, taps: taps.to_vec() }
}

pub fn rows(values: &Array2<f32>, precision: Precision) -> wire::Rows {
    let mut payload = Vec::new();
    precision.encode(values.as_slice().unwrap(), &mut payload).unwrap();
    wire::Rows::alike(values.nrows(), payload)
}

pub fn samples(seed: u32, count: usize) -> Array2<f32> {
    Array2::from_shape_vec((count, 12), fixture::values(seed, count * 12)).unwrap()
}

pub async fn transform(client: &mut Client, requests: Vec<Request>) -> Result<Vec<wire::Rows>, Status> {
    let requests = requests.into_iter().map(|request| wire::TransformRequest { request: Some(request) });
    let mut stream =
        soon(client.transform(tokio_stream::iter(requests.collect::<Vec<_>>()))).await?.into_inner();
    let mut replies = Vec::new();
    while let Some(reply) = soon(stream.message()).await? {
        replies.push(reply);
    }
    Ok(replies)
}

#[tokio::test]
async fn rows_come_back_transformed_message_by_message_in_order() {
    let server = server().await;
    let mut client = server.client().await;
    host(&mut client, "test", 0..3).await;
    let layers: Vec<_> = (0..3).map(|layer| Arc::new(fixture::frozen(layer))).collect();
    for precision in [Precision::F32, Precision::F16] {
        for taps in [vec![], vec![false, true, true], vec![false; 3]] {
            let mut requests = vec![Request::Begin(begin(3, precision, &taps))];
            let mut expected = Vec::new();
            for (seed, count) in [1, 300, 7, 1, 96, 97, 2, 50].into_iter().enumerate() {
                let message = rows(&samples(seed as u32, count), precision);
                let mut values = Array2::zeros((count, 12));
                precision.decode(&message.payload, values.as_slice_mut().unwrap());
                let result = match taps.as_slice() {
                    [] => frozen::transform(&layers, values.view()),
                    taps => frozen::features(&layers, taps, values.view()),
                };
                expected.push(rows(&result, precision));
                requests.push(Request::Rows(message));
            }
            assert_eq!(transform(&mut client, requests).await.unwrap(), expected, "{precision:?} {taps:?}");
        }
    }
}

#[tokio::test]
async fn through_no_layer_rows_come_back_as_they_are() {
    let server = server().await;
    let mut client = server.client().await;
    let message = rows(&samples(3, 40), Precision::F16);
    let requests = vec![Request::Begin(begin(0, Precision::F16, &[])), Request::Rows(message.clone())];
    assert_eq!(transform(&mut client, requests).await.unwrap(), [message]);
}

#[tokio::test]
async fn a_replaced_layer_serves_the_streams_that_come_after() {
    let server = server().await;
    let mut client = server.client().await;
    host(&mut client, "test", 0..1).await;
    let (requests, stream) = tokio::sync::mpsc::channel(8);
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut replies = soon(client.transform(stream)).await.unwrap().into_inner();
    let send =
        async |request| requests.send(wire::TransformRequest { request: Some(request) }).await.unwrap();
    let message = rows(&samples(1, 5), Precision::F32);
    send(Request::Begin(begin(1, Precision::F32, &[]))).await;
    send(Request::Rows(message.clone())).await;
    let before = soon(replies.message()).await.unwrap();
    host(&mut client, "another", 1..2).await;
    send(Request::Rows(message.clone())).await;
    assert_eq!(soon(replies.message()).await.unwrap(), before, "a stream keeps its layers");
    let again = vec![Request::Begin(begin(1, Precision::F32, &[])), Request::Rows(message)];
    let refusal = transform(&mut client, again).await.unwrap_err();
    assert!(refusal.message().contains("run `test`: layer 0 is not hosted"), "{refusal}");
}
