//! Clients come, go, and get in each other's way.

use proto::wire;
use proto::wire::train_request::Request;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Training, assert_serves, connect, server, soon};
use crate::fixture::Stage;

#[tokio::test]
async fn a_worker_says_what_it_is() {
    let server = server().await;
    let request = wire::DescribeRequest {};
    let description = soon(server.client().await.describe(request)).await.unwrap().into_inner();
    assert_eq!(description.protocol_version, proto::PROTOCOL_VERSION);
    assert_eq!((description.threads, description.cache_bytes), (2, crate::client::CACHE_BYTES));
    assert_eq!(description.blas_kernel, scff::blas::kernel());
    assert!(description.blas.starts_with("OpenBLAS"), "{}", description.blas);
    assert!(description.memory_bytes > description.peak_rss_bytes && description.peak_rss_bytes > 0);
}

#[tokio::test]
async fn its_health_is_reported() {
    let server = server().await;
    let mut client = HealthClient::new(connect(server.address).await);
    for service in ["", "strata.v1.Worker"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let health = soon(client.check(request)).await.unwrap().into_inner();
        assert_eq!(health.status(), tonic_health::ServingStatus::Serving.into(), "{service}");
    }
}

#[tokio::test]
async fn another_attempt_of_the_same_run_takes_over() {
    let server = server().await;
    let stage = Stage::plain();
    let old = Training::ready(&mut server.client().await, &stage).await;
    old.send(stage.requests(1).remove(0)).await;
    let mut client = server.client().await;
    let new = Training::ready(&mut client, &Stage { attempt: 2, ..stage }).await;
    let refusal = old.refusal().await;
    assert_eq!(refusal.code(), Code::Aborted, "{refusal}");
    new.finish().await;
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_keep_others_out() {
    let server = server().await;
    let stage = Stage::plain();
    let deaf = Training::ready(&mut server.client().await, &stage).await;
    let requests = deaf.requests.clone();
    let flood = tokio::spawn(async move {
        loop {
            let request = Some(Request::Checkpoint(wire::Checkpoint {}));
            if requests.send(wire::TrainRequest { request }).await.is_err() {
                break;
            }
        }
    });
    let new = Training::ready(&mut server.client().await, &Stage { attempt: 2, ..stage }).await;
    new.finish().await;
    assert_eq!(deaf.refusal().await.code(), Code::Aborted);
    soon(flood).await.unwrap();
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_session_of_another_run_is_refused_until_the_first_has_ended() {
    let server = server().await;
    let first = Training::ready(&mut server.client().await, &Stage::plain()).await;
    let mut client = server.client().await;
    let other = Stage::plain().of_run("other");
    let refusal = Training::begin(&mut client, &other).await.refusal().await;
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    assert!(refusal.message().contains("layer 0 of run `test`"), "{refusal}");
    first.finish().await;
    Training::ready(&mut client, &other).await.finish().await;
}

#[tokio::test]
async fn a_client_that_vanishes_in_a_batch_makes_room_for_the_next() {
    let server = server().await;
    let stage = Stage::plain();
    let training = Training::ready(&mut server.client().await, &stage).await;
    training.send(stage.requests(1).remove(0)).await;
    drop(training);
    let mut client = server.client().await;
    let other = Stage::plain().of_run("other");
    // Its end may reach the worker after the next client does.
    soon(async {
        loop {
            let mut training = Training::begin(&mut client, &other).await;
            match training.reply().await {
                Ok(_) => break training.finish().await,
                Err(refusal) => assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}"),
            }
        }
    })
    .await;
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_worker_that_shuts_down_tells_its_clients() {
    let server = server().await;
    let training = Training::ready(&mut server.client().await, &Stage::plain()).await;
    server.stop.send(()).unwrap();
    let refusal = training.refusal().await;
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    soon(server.ended).await.unwrap().unwrap();
}
