//! Workers that are none of ours, or broken: a coordinator leaves them out or ends with one clear line, and keeps to its memory.

use std::io::Write;
use std::iter;
use std::net::TcpListener;

use proto::limits::MESSAGE_BYTES;
use proto::{PROTOCOL_VERSION, wire};
use strata_tests::{Ended, Impostor, Manners, Process, Sandbox, until};
use tonic::Status;
use tonic::codegen::BoxStream;
use wire::readout_reply;
use wire::train_reply::Reply;

/// What a coordinator may need more for a worker that says too much.
const MEMORY: u64 = 400 << 20;

/// What comes back for some rows, and how often.
type Transform = fn(wire::Rows) -> (wire::Rows, usize);

/// How a run over such a worker ends.
fn ended(mut process: Process) -> Ended {
    let mut most = 0;
    until("the end of a run", || {
        if !process.is_running() {
            return Some(());
        }
        most = most.max(process.peak_rss_bytes_so_far().unwrap_or(0));
        None
    });
    assert!(most < MEMORY, "it has taken {most} bytes");
    let ended = process.end();
    assert!(ended.errors.lines().all(|line| line.len() < 10_000), "a long line");
    assert!(ended.errors.lines().count() < 50, "{}", ended.errors);
    ended
}

fn run(sandbox: &Sandbox, manners: Manners) -> Ended {
    let impostor = Impostor::new(manners);
    ended(sandbox.start_run("run", &["--workers", &impostor.address, "--wait", "1"]))
}

/// A worker that trains so ends the run with one line that says this.
fn check_training(name: &str, train: fn(wire::TrainBegin) -> BoxStream<wire::TrainReply>, says: &[&str]) {
    let ended = run(&Sandbox::new(), Manners { train, ..Manners::default() });
    assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.errors);
    println!("{name}: {}", ended.errors);
    ended.expect_error(says);
}

fn replies(replies: impl Iterator<Item = Reply> + Send + 'static) -> BoxStream<wire::TrainReply> {
    Box::pin(tokio_stream::iter(replies.map(|reply| Ok(wire::TrainReply { reply: Some(reply) }))))
}

/// The same, and then nothing, for ever.
fn and_wait(first: impl Iterator<Item = Reply> + Send + 'static) -> BoxStream<wire::TrainReply> {
    Box::pin(tokio_stream::StreamExt::chain(replies(first), tokio_stream::pending()))
}

fn report(step: u64) -> Reply {
    Reply::Step(wire::StepReport {
        step,
        loss_positive: 1.0,
        goodness_pos: 1.0,
        ..wire::StepReport::default()
    })
}

/// Reports up to the first checkpoint.
fn reports() -> impl Iterator<Item = Reply> {
    iter::once(Reply::Ready(wire::Ready {})).chain((0..20).map(report))
}

fn part(step: u64, length: u64, bytes: Vec<u8>) -> Reply {
    Reply::State(wire::StatePart {
        step,
        length,
        part: bytes.into(),
        part_seconds: 1e-3,
        ..wire::StatePart::default()
    })
}

/// A megabyte of a state, again and again.
fn endless(step: u64, length: u64) -> impl Iterator<Item = Reply> {
    iter::repeat_with(move || part(step, length, vec![0; 1 << 20]))
}

#[test]
fn a_training_stream_that_breaks_the_protocol_ends_the_run_with_what_was_found() {
    check_training(
        "ready without end",
        |_| replies(iter::repeat_with(|| Reply::Ready(wire::Ready {}))),
        &["broke the protocol: that it is ready, twice"],
    );
    check_training(
        "nothing",
        |_| Box::pin(tokio_stream::iter(iter::repeat_with(|| Ok(wire::TrainReply { reply: None })))),
        &["broke the protocol: a reply that says nothing"],
    );
    check_training(
        "a report that skips",
        |_| and_wait(iter::once(report(5))),
        &["broke the protocol: a report on step 5 after 0 steps"],
    );
    check_training(
        "a report of no numbers",
        |_| and_wait(iter::once(not_finite(f64::NAN))),
        &["broke the protocol: step 0 with numbers that are not finite"],
    );
    check_training(
        "a report of numbers beyond all",
        |_| and_wait(iter::once(not_finite(1e300))),
        &["broke the protocol: step 0 with numbers that are not finite"],
    );
    check_training(
        "reports without end",
        |_| replies((0..).map(report)),
        &["broke the protocol: a report on step "],
    );
}

fn not_finite(loss: f64) -> Reply {
    Reply::Step(wire::StepReport { loss_positive: loss, ..wire::StepReport::default() })
}

#[test]
fn a_state_is_taken_in_only_where_it_was_asked_for_and_as_long_as_it_can_be() {
    check_training(
        "a state before any step",
        |_| replies(endless(1, 1 << 40)),
        &["broke the protocol: a state after step 1 that was not asked for"],
    );
    check_training(
        "states of many steps",
        |_| replies((20..).step_by(20).map(|step| part(step, 9, vec![0]))),
        &["broke the protocol: a state after step 20 that was not asked for"],
    );
    check_training(
        "a state without end",
        |_| replies(reports().chain(endless(20, u64::MAX))),
        &["broke the protocol: 1048576 bytes of a state of 18446744073709551615, which has at most "],
    );
    check_training(
        "more bytes than it says",
        |_| replies(reports().chain(endless(20, 100))),
        &["broke the protocol: 1048576 bytes of a state of 100, "],
    );
    check_training(
        "parts without bytes",
        |_| replies(reports().chain(iter::repeat_with(|| part(20, 9, vec![])))),
        &["broke the protocol: 0 bytes of a state of 9"],
    );
    check_training(
        "bytes that are no state",
        |_| and_wait(reports().chain(iter::once(part(20, 9, vec![7; 9])))),
        &["broke the protocol: ", "safetensors"],
    );
    check_training(
        "a shard of nobody",
        |_| and_wait(reports().chain(iter::once(shard_at(5)))),
        &["broke the protocol: the state of a shard at 5, which nobody has"],
    );
}

fn shard_at(start: u64) -> Reply {
    Reply::State(wire::StatePart {
        step: 20,
        length: 9,
        part: vec![0].into(),
        start,
        ..wire::StatePart::default()
    })
}

#[test]
fn a_training_stream_that_ends_is_tried_again_and_not_for_ever() {
    check_training("an end at once", |_| replies(iter::empty()), &["ended the stream"]);
    check_training(
        "a status of many lines",
        |_| Box::pin(tokio_stream::iter([Err(Status::internal("a\nerror: b\x1b[2J".repeat(50)))])),
        &["the connection broke (a error: b"],
    );
    check_training(
        "a message beyond the limit",
        |_| and_wait(iter::once(part(1, 1, vec![0; MESSAGE_BYTES + 1]))),
        &["too large"],
    );
}

#[test]
fn what_a_worker_says_of_itself_is_cut_and_printable() {
    let own = Manners::default().description;
    let huge = "\x1b]0;owned\x07\n".repeat(1 << 20);
    let version = wire::WorkerDescription {
        protocol_version: PROTOCOL_VERSION + 1,
        version: huge.clone(),
        ..own.clone()
    };
    let busy = wire::WorkerDescription { training: huge.clone(), ..own.clone() };
    for (description, says) in [(version, "speaks protocol version"), (busy, "is training for run `")] {
        let ended = run(&Sandbox::new(), Manners { description, ..Manners::default() });
        ended.expect_error(&[says]);
        assert!(!ended.errors.contains('\x1b') && !ended.errors.contains('\x07'), "{says}");
    }
    let boastful = wire::WorkerDescription {
        threads: u32::MAX,
        cores: u32::MAX,
        memory_bytes: u64::MAX,
        cache_bytes: u64::MAX,
        peak_rss_bytes: u64::MAX,
        cpu: huge.clone(),
        blas: huge,
        ..own
    };
    let train = |_| replies(iter::empty());
    let sandbox = Sandbox::new();
    let ended = run(&sandbox, Manners { description: boastful, train, ..Manners::default() });
    ended.expect_error(&["ended the stream"]);
    assert!(sandbox.run_dir("run").read("run.json").len() < 10_000);
}

#[test]
fn kernels_that_there_cannot_be_are_refused() {
    let kernel = |name: &str, digest: &str| wire::Kernel { name: name.to_owned(), digest: digest.to_owned() };
    let long = "x".repeat(10 << 20);
    for (kernels, says) in [
        (vec![kernel("a", "b"); 101], "kernels: found 101, expected at most 100"),
        (vec![kernel("a", "b"); 2], "kernels.name: found `a` twice"),
        (vec![kernel(&long, "b"); 2], "kernels.name: found 10485760 bytes"),
        (vec![kernel("a", &long)], "kernels.digest: found 10485760 bytes"),
        (vec![kernel("a\nerror: b", "c")], "kernels.name: found 10 bytes"),
        (vec![], "BLAS kernel"),
    ] {
        run(&Sandbox::new(), Manners { kernels, ..Manners::default() }).expect_error(&[says]);
    }
}

#[test]
fn a_link_that_cannot_be_measured_is_a_usual_one() {
    /// How many of a probe's bytes are said to have come.
    type Probe = fn(u64) -> Option<u64>;
    let train = |_| replies(iter::empty());
    let probes: [(Probe, _); 3] = [
        (
            |bytes| Some(bytes + 1),
            ": a probe's bytes: found 1, expected 0; its link counts as one of 1.0 Gbit/s",
        ),
        (|bytes| (bytes == 0).then_some(0), ": 0.5 Mbit/s"),
        (|_| None, ": no answer to a probe within 1 s; its link counts as one of 1.0 Gbit/s"),
    ];
    for (probe, says) in probes {
        let ended = run(&Sandbox::new().measuring(), Manners { probe, train, ..Manners::default() });
        ended.expect_error(&["ended the stream"]);
        assert!(ended.errors.contains(says), "{says:?} in {}", ended.errors);
    }
}

#[test]
fn a_worker_that_does_not_say_how_fast_it_is_takes_part() {
    type Benchmark = fn() -> Option<f64>;
    let train = |_| replies(iter::empty());
    let benchmarks: [(Benchmark, _); 3] = [
        (|| Some(-1.0), ": operations_per_second: found -1, expected a positive number; it is taken"),
        (|| Some(f64::NAN), ": operations_per_second: found NaN, expected a positive number; it is taken"),
        (|| None, ": it did not say within 5 s how fast it is; it is taken to be as fast"),
    ];
    for (benchmark, says) in benchmarks {
        let ended = run(&Sandbox::new().measuring(), Manners { benchmark, train, ..Manners::default() });
        ended.expect_error(&["ended the stream"]);
        assert!(ended.errors.contains(says), "{says:?} in {}", ended.errors);
    }
}

#[test]
fn features_that_nobody_asked_for_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    let identity: serde_json::Value =
        serde_json::from_slice(&sandbox.run_dir("run").read("run.json")).unwrap();
    let digest = identity["blas_digest"].as_str().unwrap().to_owned();
    let kernels = vec![wire::Kernel { name: "Nonesuch".to_owned(), digest }];
    let cases: [(Transform, &str); 4] = [
        (|rows| (rows, 1), "rows of "),
        (
            |rows| (wire::Rows::alike(rows.rows as usize, vec![0; 60 << 20]), 1),
            "rows of 62914560 bytes, expected ",
        ),
        (
            |_| (wire::Rows { rows: u32::MAX, ..wire::Rows::default() }, 1),
            "4294967295 rows of 0 bytes, expected ",
        ),
        (|_| (wire::Rows::default(), 1000), "0 rows of 0 bytes, expected "),
    ];
    for (transform, says) in cases {
        let impostor = Impostor::new(Manners { kernels: kernels.clone(), transform, ..Manners::default() });
        let words = ["eval", "run", "--workers", &impostor.address, "--wait", "1"];
        let ended = ended(sandbox.start("coordinator", &words));
        ended.expect_error(&["broke the protocol: ", says]);
    }
}

/// Features of the run that is read out, in single precision.
const FEATURES: usize = 240;
/// Rows of its samples.
const ROWS: u64 = 800;

fn stored(rows: u64) -> readout_reply::Reply {
    readout_reply::Reply::Stored(wire::ReadoutStored { rows })
}

fn epoch(epoch: u32) -> readout_reply::Reply {
    readout_reply::Reply::Epoch(wire::ReadoutEpoch { epoch, loss: 0.5 })
}

fn diverged(epoch: u32) -> readout_reply::Reply {
    readout_reply::Reply::Diverged(wire::ReadoutDiverged { epoch })
}

fn measured(correct: u64) -> readout_reply::Reply {
    readout_reply::Reply::Measured(wire::ReadoutMeasured { correct: vec![correct; 2] })
}

fn parameters(byte: u8, bytes: usize) -> readout_reply::Reply {
    readout_reply::Reply::Parameters(vec![byte; bytes].into())
}

/// What is right, of two epochs, before the parameters.
fn learnt() -> impl Iterator<Item = readout_reply::Reply> + Send {
    [stored(ROWS), epoch(0), epoch(1), measured(7)].into_iter()
}

/// Replies to a readout.
fn readout(
    replies: impl Iterator<Item = readout_reply::Reply> + Send + 'static,
) -> BoxStream<wire::ReadoutReply> {
    Box::pin(tokio_stream::iter(replies.map(|reply| Ok(wire::ReadoutReply { reply: Some(reply) }))))
}

/// How a readout is answered.
type ReadOut = fn(wire::ReadoutBegin) -> BoxStream<wire::ReadoutReply>;

/// A readout of a finished run by so many workers that answer so ends with one line that says this. The run was computed with a
/// kernel that only they have, so that one is enough to learn it.
fn check_readout(name: &str, workers: u64, read_out: ReadOut, says: &str) {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    let manners = Manners::default();
    let mut identity: serde_json::Value =
        serde_json::from_slice(&sandbox.run_dir("run").read("run.json")).unwrap();
    identity["blas"] = "OpenBLAS Nonesuch".into();
    identity["blas_digest"] = manners.kernels[0].digest.clone().into();
    std::fs::write(sandbox.path("run/run.json"), identity.to_string()).unwrap();
    let transform: Transform =
        |rows| (wire::Rows::alike(rows.rows as usize, vec![0; 4 * FEATURES * rows.rows as usize]), 1);
    let impostor = |identity| {
        let own = manners.description.clone();
        let description = wire::WorkerDescription { identity, cache_bytes: 1 << 30, ..own };
        Impostor::new(Manners { description, transform, read_out, ..manners.clone() })
    };
    let impostors: Vec<Impostor> = (7..7 + workers).map(impostor).collect();
    let all: Vec<&str> = impostors.iter().map(|impostor| impostor.address.as_str()).collect();
    let words = ["eval", "run", "--workers", &all.join(","), "--wait", "1", "--set", "readout.epochs=2"];
    let ended = ended(sandbox.start("coordinator", &words));
    println!("{name}: {}", ended.errors);
    ended.expect_error(&[says]);
}

#[test]
fn a_readout_that_is_said_to_go_on_otherwise_than_it_can_ends_with_what_was_found() {
    check_readout(
        "nothing",
        1,
        |_| Box::pin(tokio_stream::iter(iter::repeat_with(|| Ok(wire::ReadoutReply { reply: None })))),
        "broke the protocol: a reply that says nothing",
    );
    check_readout(
        "rows without end",
        1,
        |_| readout((1..).map(stored)),
        "broke the protocol: 801 stored rows after 800, expected more, of 800",
    );
    check_readout(
        "the same rows without end",
        1,
        |_| readout(iter::repeat_with(|| stored(5))),
        "broke the protocol: 5 stored rows after 5, expected more, of 800",
    );
    check_readout(
        "an epoch too early",
        1,
        |_| readout(iter::once(epoch(0))),
        "broke the protocol: epoch 0 after 0 of 2 epochs and 0 of 800 stored rows",
    );
    check_readout(
        "epochs without end",
        1,
        |_| readout(iter::once(stored(ROWS)).chain((0..).map(epoch))),
        "broke the protocol: epoch 2 after 2 of 2 epochs",
    );
    check_readout(
        "an epoch that there is not, in which it diverges",
        1,
        |_| readout([stored(ROWS), diverged(u32::MAX)].into_iter()),
        "broke the protocol: epoch 4294967295 after 0 of 2 epochs",
    );
    // Of so few features the first owns all.
    check_readout(
        "replies of one who owns nothing",
        2,
        |begin| match begin.place {
            0 => readout(iter::empty()),
            _ => readout(iter::once(stored(ROWS))),
        },
        "broke the protocol: a reply about features, of which it owns none",
    );
}

#[test]
fn measures_and_parameters_that_there_cannot_be_are_refused() {
    check_readout(
        "measures without learning",
        1,
        |_| readout([stored(ROWS), measured(7)].into_iter()),
        "broke the protocol: measures after 0 of 2 epochs and 800 of 800 stored rows",
    );
    check_readout(
        "more that are right than there are",
        1,
        |_| readout(learnt().take(3).chain(iter::once(measured(601)))),
        "broke the protocol: [601, 601] samples that it classifies as labelled, of [600, 200]",
    );
    // Ten classes, of 240 weights and a bias each.
    check_readout(
        "parameters without end",
        1,
        |_| readout(learnt().chain(iter::repeat_with(|| parameters(0, 1 << 20)))),
        "broke the protocol: 1048576 bytes of parameters, expected some of 9640",
    );
    check_readout(
        "parameters without bytes",
        1,
        |_| readout(learnt().chain(iter::repeat_with(|| parameters(0, 0)))),
        "broke the protocol: 0 bytes of parameters, expected some of 9640",
    );
    check_readout(
        "parameters that are no numbers",
        1,
        |_| readout(learnt().chain(iter::once(parameters(0xff, 9640)))),
        "broke the protocol: parameters that are not finite",
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a server of the test's own")]
fn who_listens_and_speaks_no_http2_is_named() {
    for words in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 1000], b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.unwrap().write_all(words);
            }
        });
        let ended = ended(Sandbox::new().start_run("run", &["--workers", &address, "--wait", "1"]));
        ended.expect_error(&["no worker was to be had within 1 s", &address]);
    }
}
