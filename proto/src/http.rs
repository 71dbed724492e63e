//! A small HTTP server, for probes and whoever collects metrics: a crowd there takes a few descriptors and no more, and keeps
//! nobody out.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Connections at the same time: of more, the oldest goes.
const CONNECTIONS: usize = 32;
/// How long one may take for its request and the answer; then it is closed.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Before trying again, where no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers one request of each connection, for ever.
pub async fn serve(listener: TcpListener, routes: Router) {
    // Oldest first.
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = listener.accept().await;
        open.retain(|connection| !connection.is_finished());
        if (accepted.is_err() || open.len() >= CONNECTIONS)
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        match accepted {
            Ok((stream, _)) => {
                open.push_back(tokio::spawn(answer(stream, routes.clone())).abort_handle());
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn answer(stream: TcpStream, routes: Router) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(HEAD_BYTES);
    let answered = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // Whoever asks in vain sees that the connection is closed.
    let _ = timeout(WITHIN, answered).await;
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Router::new().route("/live", get(async || "live\n"))));
        address
    }

    /// All that is said in answer to `words`, until the connection is closed.
    async fn answer_to(address: SocketAddr, words: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(words).await;
        let mut said = Vec::new();
        let _ = timeout(Duration::from_mins(1), stream.read_to_end(&mut said)).await.expect("an end");
        String::from_utf8(said).unwrap()
    }

    const QUESTION: &[u8] = b"GET /live HTTP/1.1\r\nHost: strata\r\n\r\n";

    #[tokio::test]
    async fn a_crowd_keeps_nobody_out() {
        let address = server().await;
        let mut crowd = Vec::new();
        for _ in 0..10 * CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            crowd.push(stream);
        }
        assert!(answer_to(address, QUESTION).await.ends_with("live\n"));
        // Who came first has gone.
        let mut said = Vec::new();
        let _ = timeout(Duration::from_mins(1), crowd[0].read_to_end(&mut said)).await.expect("an end");
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_and_words_that_are_no_question_are_refused() {
        let address = server().await;
        let endless = [b"GET /live HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
        for words in [&endless[..], &[0xff; 100], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let said = answer_to(address, words).await;
            assert!(!said.contains(" 200 "), "{said}");
        }
        assert!(answer_to(address, QUESTION).await.ends_with("live\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_ask_is_let_go() {
        assert_eq!(answer_to(server().await, b"GET").await, "");
    }
}
