//! Connections that nobody should wait for.

use std::io;
use std::time::Duration;

use proto::address::Address;
use proto::dial::Dialer;
use proto::refusal::{Reason, Refused};
use proto::wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use worker::limits::Limits;

use crate::client::{Server, Training, assert_serves, server, server_at, server_with, soon};
use crate::fixture::Stage;

async fn connect(server: &Server) -> TcpStream {
    soon(TcpStream::connect(server.address)).await.unwrap()
}

/// Waits until the server closes the connection.
async fn closed(mut stream: TcpStream) {
    let mut said = Vec::new();
    match soon(stream.read_to_end(&mut said)).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let limits = Limits { greeting: Duration::from_millis(100), ..Limits::default() };
    let server = server_with(limits).await;
    closed(connect(&server).await).await;
    // The beginning of what HTTP/2 begins with, and then nothing.
    let mut slow = connect(&server).await;
    slow.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    closed(slow).await;
    assert_serves(&server).await;
}

/// A coordinator that is stopped before it has said what it wants does better the next time.
#[tokio::test]
async fn a_call_that_says_nothing_may_be_made_again() {
    let limits = Limits { greeting: Duration::from_millis(100), ..Limits::default() };
    let server = server_with(limits).await;
    let mut client = server.client().await;
    let status = match soon(client.train(tokio_stream::pending())).await {
        Ok(replies) => soon(replies.into_inner().message()).await.unwrap_err(),
        Err(status) => status,
    };
    let refused = Refused::read(&status);
    assert_eq!((refused.reason, refused.passing), (Reason::Silent, true), "{status}");
    let stage = Stage::plain();
    Training::ready(&mut client, &stage).await;
}

#[tokio::test]
async fn who_speaks_another_language_is_let_go_at_once() {
    let server = server().await;
    for words in
        [&b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", &[0xff; 4096]]
    {
        let mut stream = connect(&server).await;
        stream.write_all(words).await.unwrap();
        closed(stream).await;
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let server = server().await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(connect(&server).await);
    }
    assert_serves(&server).await;
    drop(crowd);
}

#[tokio::test]
async fn no_more_connections_are_let_in_than_there_is_room_for() {
    let server = server_with(Limits { connections: 2, ..Limits::default() }).await;
    let stage = Stage::plain();
    let calls = [(); 2].map(|()| async { Training::ready(&mut server.client().await, &stage).await });
    let mut streams = Vec::new();
    for call in calls {
        streams.push(call.await);
    }
    closed(greeting(&server).await).await;
    // Once one of them goes, there is room.
    drop(streams);
    assert_serves(&server).await;
}

#[tokio::test]
async fn connections_that_idle_make_room() {
    let server = server_with(Limits { connections: 2, ..Limits::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(greeting(&server).await);
    }
    assert_serves(&server).await;
    closed(idle.swap_remove(0)).await;
}

/// A connection that speaks HTTP/2 and asks for nothing.
async fn greeting(server: &Server) -> TcpStream {
    let mut stream = connect(server).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    stream
}

#[tokio::test]
async fn an_idle_connection_ends_but_none_with_a_call() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let server = server_with(limits).await;
    let stage = Stage::plain();
    let training = Training::ready(&mut server.client().await, &stage).await;
    closed(greeting(&server).await).await;
    // The training stream, which has said nothing meanwhile, goes on.
    let mut training = training;
    training.send_all(stage.requests(1)).await;
    training.report().await;
    training.finish().await;
}

/// What is known of a worker, and agreed with it, is known of a process: no call may come to another by itself.
#[tokio::test]
async fn a_connection_comes_to_one_process_only() {
    let first = server().await;
    let address = Address::given(&first.address.to_string());
    let (connection, description) = soon(Dialer::default().dial(&address)).await.unwrap();
    first.stop.send(()).unwrap();
    soon(first.ended).await.unwrap().unwrap();
    let second = server_at(first.address, Limits::default()).await;
    for _ in 0..3 {
        let status = soon(connection.client().describe(wire::DescribeRequest {})).await.unwrap_err();
        assert_eq!(connection.refused(&status).reason, Reason::Broken, "{status}");
    }
    let (_, there) = soon(Dialer::default().dial(&address)).await.unwrap();
    assert_ne!(there.identity, description.identity);
    assert_serves(&second).await;
}
