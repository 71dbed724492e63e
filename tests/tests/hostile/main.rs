//! Peers that mean no good: a worker answers them, or closes the connection, says so, keeps to its memory, and a run that goes on
//! beside them ends with its weights. What is thrown at it stands in `docs/hostile.md`, by name.

mod calls;
mod frames;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use calls::{Call, calls, make};
use frames::{FRAMES, Fate, Raw, WORDS};
use strata_tests::{Sandbox, Worker, reference, until, weights, workspace};

/// What a worker may take for strangers, at most.
const MEMORY: u64 = 64 << 20;
/// In a crowd.
const CROWD: usize = 2000;

/// All names of what is thrown.
fn names() -> Vec<&'static str> {
    let frames = WORDS.iter().chain(&FRAMES).map(|(name, ..)| *name);
    frames.chain(calls().iter().map(|call| call.name)).collect()
}

/// Throws all of it; returns what did not come to what it should.
fn throw_all(address: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |name: &str, found: String, expected: String| {
        if found != expected {
            wrong.push(format!("{name}: {found}, expected {expected}"));
        }
    };
    let words = WORDS.iter().map(|throw| (throw, Raw::connect as fn(&str) -> Raw));
    let frames = FRAMES.iter().map(|throw| (throw, Raw::greeting as fn(&str) -> Raw));
    for ((name, throw, fate), begin) in words.chain(frames) {
        let mut raw = begin(address);
        throw(&mut raw);
        check(name, format!("{:?}", raw.fate()), format!("{fate:?}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for call in calls() {
        let (status, message) = runtime.block_on(make(address, &call));
        check(call.name, format!("status {status}"), format!("status {}", call.status));
        if status != call.status {
            println!("{}: {message}", call.name);
        }
    }
    wrong
}

/// Connections of two kinds: those that say nothing, and those that speak HTTP/2 and ask for nothing.
fn crowd(address: &str) -> (Vec<TcpStream>, Vec<Raw>) {
    let silent = (0..CROWD).map(|_| TcpStream::connect(address).expect("it listens"));
    let silent = silent.collect();
    (silent, (0..CROWD).map(|_| Raw::greeting(address)).collect())
}

/// The crowd and what is thrown take more descriptors than a process has by default.
fn take_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum");
}

/// Runs over a worker until `enough`, at least once; each ends with the weights of a run that nobody disturbed.
fn run_until(sandbox: &Sandbox, worker: &Worker, enough: impl Fn() -> bool) {
    for run in 1.. {
        let summary = sandbox.run(&format!("run-{run}"), &["--workers", &worker.address]);
        assert_eq!(weights(&summary), weights(&reference().summary));
        if enough() {
            break;
        }
    }
}

#[test]
fn a_run_goes_on_beside_a_crowd_and_all_that_is_thrown() {
    take_descriptors();
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1", "--metrics", "127.0.0.1:0"]);
    sandbox.run("before", &["--workers", &worker.address]);
    let before = worker.process.peak_rss_bytes();
    let wrong = thread::scope(|scope| {
        let throwing = scope.spawn(|| {
            let _crowd = crowd(&worker.address);
            throw_all(&worker.address)
        });
        run_until(&sandbox, &worker, || throwing.is_finished());
        throwing.join().unwrap()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    let grown = worker.process.peak_rss_bytes() - before;
    println!("it has taken {} MiB at most, {} MiB more than before", (before + grown) >> 20, grown >> 20);
    assert!(grown < MEMORY, "it has taken {grown} bytes more");
    let said = worker.process.errors();
    assert!(!said.contains("panicked"), "{said}");
    for Call { name, says, .. } in calls() {
        assert!(
            said.lines().any(|line| line.contains(says)),
            "nothing is said of {name}: {says:?} in {said}"
        );
    }
    for says in ["it began with", "it speaks TLS", "broke the rules of HTTP/2", "have said nothing yet"] {
        assert!(said.contains(says), "{says:?} in {said}");
    }
    // A hundred troubles in ten seconds at most, whoever has them, and what a run says itself.
    assert!(said.lines().count() < 1000, "{} lines", said.lines().count());
}

#[test]
fn a_call_that_does_not_say_what_it_wants_is_refused() {
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1", "--greeting", "1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for path in [
        "/strata.v1.Worker/Train",
        "/strata.v1.Worker/Transform",
        "/strata.v1.Worker/HostLayer",
        "/strata.v1.Worker/Probe",
    ] {
        let says = "it said nothing for 1 s";
        let call = Call { name: "silence", path, headers: &[], body: vec![], over: false, status: 14, says };
        let (status, message) = runtime.block_on(make(&worker.address, &call));
        assert_eq!(status, 14, "{path}: {message}");
        assert!(message.contains("1%20s") || message.contains(says), "{message}");
    }
}

#[test]
fn limits_are_options() {
    let sandbox = Sandbox::new();
    let small = ["--streams", "2", "--headers", "1KiB", "--resets", "3", "--greeting", "1"];
    let worker = sandbox.worker(&[&["--threads", "1"], &small[..]].concat());
    for name in ["calls that are broken off at once", "more calls than there may be"] {
        let (_, throw, _) = FRAMES.iter().find(|(known, ..)| *known == name).expect("one of them");
        let mut raw = Raw::greeting(&worker.address);
        throw(&mut raw);
        assert_ne!(raw.fate(), Fate::Answered, "{name}");
    }
    // Who says nothing is let go after a second.
    assert_eq!(Raw::connect(&worker.address).end(), Fate::Closed);
    let summary = sandbox.run("run", &["--workers", &worker.address]);
    assert_eq!(weights(&summary), weights(&reference().summary), "calls of ours need no more");
    for (option, wrong) in [("--streams", "0"), ("--headers", "1B"), ("--resets", "0"), ("--greeting", "0")] {
        let ended = sandbox.start("worker", &[option, wrong]).end();
        assert_eq!(ended.status.code(), Some(2), "{option} {wrong}: {}", ended.errors);
    }
}

#[test]
fn a_crowd_at_the_metrics_hurts_nobody() {
    take_descriptors();
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1", "--metrics", "127.0.0.1:0"]);
    let address = until("the address of metrics", || {
        let errors = worker.process.errors();
        let (_, rest) = errors.split_once("metrics on http://")?;
        Some(rest.split_once("/metrics")?.0.to_owned())
    });
    let before = worker.process.peak_rss_bytes();
    let mut crowd = Vec::new();
    for words in [&b""[..], b"GET /metrics HTTP/1.1\r\nX: ", &[b'x'; 16_000]] {
        for _ in 0..CROWD / 3 {
            let mut stream = TcpStream::connect(&address).expect("it listens");
            let _ = stream.write_all(words);
            crowd.push(stream);
        }
    }
    let mut probe = TcpStream::connect(&address).unwrap();
    probe.write_all(b"GET /ready HTTP/1.1\r\nHost: strata\r\n\r\n").unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ready\n"), "{answer}");
    assert!(worker.process.peak_rss_bytes() - before < 32 << 20);
}

#[test]
fn the_page_names_all_that_is_thrown() {
    let page = fs::read_to_string(workspace().join("docs/hostile.md")).expect("a page");
    let names = names();
    for name in &names {
        assert!(page.contains(&format!("| {name} |")), "{name}");
    }
    assert!(page.contains(&format!("{} by frames and calls", names.len())), "there are {}", names.len());
}
