//! An HTTP server of the test's own.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines and threads of their own")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server on loopback that gives every request a prepared answer.
pub struct Server {
    /// The address of the folder that the file is in.
    pub url: String,
    /// Of each request, the byte that its `Range` starts at.
    pub requests: Arc<Mutex<Vec<Option<usize>>>>,
}

impl Server {
    /// A server of `file`: `answer` gets the number of the request, counted from 0, and the start of its range.
    pub fn start(
        file: &'static str,
        answer: impl Fn(usize, Option<usize>) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let range = read_request(&stream, file);
                log.lock().unwrap().push(range);
                let number = log.lock().unwrap().len() - 1;
                // A client that has seen enough hangs up.
                let _ = stream.write_all(&answer(number, range));
            }
        });
        Self { url, requests }
    }

    /// Of each request so far, the byte that its `Range` starts at.
    pub fn requests(&self) -> Vec<Option<usize>> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream, file: &str) -> Option<usize> {
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    assert!(headers[0].starts_with(&format!("GET /data/{file} ")), "{headers:?}");
    let range =
        headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    range.map(|range| range.strip_suffix('-').unwrap().parse().unwrap())
}

/// An answer: status line, headers, body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
}

/// An answer that is all of `body`.
pub fn whole(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &format!("Content-Length: {}\r\n", body.len()), body)
}

/// The rest of `body` for a request with a range, all of it for one without.
pub fn ranged(body: &[u8], range: Option<usize>) -> Vec<u8> {
    let Some(from) = range else { return whole(body) };
    let (last, length) = (body.len() - 1, body.len());
    let headers =
        format!("Content-Length: {}\r\nContent-Range: bytes {from}-{last}/{length}\r\n", length - from);
    answer("206 Partial Content", &headers, &body[from..])
}

/// An answer that promises `body` and breaks off after `sent` bytes of it.
pub fn broken_off(body: &[u8], sent: usize) -> Vec<u8> {
    let mut answer = whole(body);
    answer.truncate(answer.len() - body.len() + sent);
    answer
}
