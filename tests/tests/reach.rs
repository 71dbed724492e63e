//! Workers that cannot be reached, are busy, or fall silent.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines and threads of their own")]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use proto::{PROTOCOL_VERSION, wire};
use strata_tests::{OtherVersion, Sandbox, Worker, addresses, reference, until, wait_for, weights};

/// Gives up who is silent for three seconds.
const IMPATIENT: [&str; 2] = ["--silence", "3"];

fn impatient_worker(sandbox: &Sandbox) -> Worker {
    sandbox.worker(&[&["--threads", "1"], &IMPATIENT[..]].concat())
}

#[test]
fn a_second_run_waits_for_a_busy_worker_and_says_so() {
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1"]);
    let longer = ["--workers", &worker.address, "--set", "layers.0.epochs=300"];
    let mut first = sandbox.start_run("first", &longer);
    wait_for(&mut first, &sandbox.run_dir("first"), 0, 2);
    let mut second = sandbox.start_run("second", &["--workers", &worker.address, "--wait", "50"]);
    until("a word about it", || {
        let errors = second.errors();
        let facts = ["waiting for ", &worker.address, "is training for run `", " s at most"];
        facts.iter().all(|fact| errors.contains(fact)).then_some(())
    });
    assert!(first.is_running(), "{}", first.errors());
    first.kill();
    second.end().expect_success();
    assert_eq!(weights(&sandbox.run_dir("second").summary()), weights(&reference().summary));
}

#[test]
fn an_unreachable_worker_is_named_while_it_is_waited_for() {
    let sandbox = Sandbox::new();
    // Takes connections, and never answers.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let mut process = sandbox.start_run("run", &["--workers", &address, "--wait", "1"]);
    until("a word about it", || {
        process.errors().contains(&format!("waiting for {address} (no answer yet)")).then_some(())
    });
    process.end().expect_error(&["no worker was to be had within 1 s", &address, "no answer"]);
}

#[test]
fn what_is_no_address_is_refused_at_once() {
    let sandbox = Sandbox::new();
    for (wrong, form) in [
        ("dns:///x:1", "dns://NAME:PORT"),
        ("http://x:1", "HOST:PORT without a scheme, such as x:1"),
        ("::1:1", "[::1]:1"),
        ("user@x:1", "HOST:PORT"),
    ] {
        let ended = sandbox.start_run("run", &["--workers", wrong]).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
        assert!(ended.errors.contains(wrong) && ended.errors.contains(form), "{}", ended.errors);
    }
}

#[test]
fn a_stopped_worker_is_given_up_with_what_it_was_doing() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let [one, two] = [(); 2].map(|()| impatient_worker(&sandbox));
    let both = addresses([&one, &two]);
    let words = [&["--shards", "1", "--workers", &both], &IMPATIENT[..]].concat();
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &run, 0, 5);
    one.process.pid().signal("STOP");
    let ended = process.end();
    ended.expect_success();
    for fact in [&format!("worker {}: silent for ", one.address), "while it trained dense1, after step "] {
        assert!(ended.errors.contains(fact), "{fact:?} in {}", ended.errors);
    }
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
    assert_eq!(run.course(), reference().course);
}

#[test]
fn a_stopped_worker_of_a_group_is_given_up_by_the_one_above_it() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let workers = [(); 3].map(|()| impatient_worker(&sandbox));
    let two = &workers[1];
    let all = addresses(&workers);
    let words = [&["--workers", &all], &IMPATIENT[..]].concat();
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &run, 0, 5);
    two.process.pid().signal("STOP");
    let ended = process.end();
    ended.expect_success();
    let silent = format!("worker {}, which shares the layer: silent for ", two.address);
    assert!(ended.errors.contains(&silent), "{silent:?} in {}", ended.errors);
    assert_eq!(run.summary()["workers"], 2);
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
}

/// All batches of a layer fit what may be under way, so that for longer than anybody may be silent the coordinator has
/// nothing to send.
#[test]
fn nobody_is_given_up_for_having_nothing_to_say() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let long = ["--set", "layers.0.units=4096", "--set", "layers.0.epochs=250"];
    let words = [&["--local", "1", "--threads", "1"], &long[..], &IMPATIENT[..]].concat();
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &run, 0, 1);
    let (began, before) = (Instant::now(), run.reports_on(0));
    until("the end of more than two silences", || {
        assert!(process.is_running(), "{}", process.errors());
        (began.elapsed() > Duration::from_secs(7)).then_some(())
    });
    assert!(!process.errors().contains("trying again"), "{}", process.errors());
    assert!(run.reports_on(0) > before, "it has been at work");
}

#[test]
fn a_connection_that_has_idled_is_made_again() {
    let sandbox = Sandbox::new();
    let [one, two] = [(); 2].map(|()| sandbox.worker(&["--threads", "1", "--idle", "1"]));
    // The first trains for a while; the second, which trains the next layer, has nothing to do meanwhile.
    let both = addresses([&one, &two]);
    let words = ["--shards", "1", "--workers", &both, "--set", "layers.0.epochs=400"];
    let ended = sandbox.start_run("run", &words).end();
    ended.expect_success();
    assert!(two.process.errors().contains("no call for 1 s"), "{}", two.process.errors());
    assert!(!ended.errors.contains("trying again"), "{}", ended.errors);
}

#[test]
fn a_worker_with_few_descriptors_says_so_and_serves_through_a_crowd() {
    let sandbox = Sandbox::new();
    let worker = sandbox.worker_under("ulimit -n 64", &["--threads", "1"]);
    let crowd: Vec<_> =
        (0..500).map(|_| TcpStream::connect(&worker.address).expect("the queue is long")).collect();
    let summary = sandbox.run("run", &["--workers", &worker.address]);
    assert_eq!(weights(&summary), weights(&reference().summary));
    drop(crowd);
    let errors = worker.process.errors();
    assert!(errors.contains("no connection can be accepted: "), "{errors}");
}

#[test]
fn a_newcomer_of_another_version_is_left_out_with_one_warning() {
    let sandbox = Sandbox::new();
    let first = sandbox.worker(&["--threads", "1"]);
    let address = sandbox.worker(&["--threads", "1"]).address;
    let longer = ["--set", "layers.0.epochs=300"];
    let both = format!("{},{address}", first.address);
    let mut process = sandbox.start_run("run", &[&["--workers", &both], &longer[..]].concat());
    wait_for(&mut process, &sandbox.run_dir("run"), 0, 5);
    let description = wire::WorkerDescription {
        protocol_version: PROTOCOL_VERSION + 1,
        version: "9.8.7".to_owned(),
        ..wire::WorkerDescription::default()
    };
    let _newcomer = OtherVersion::at(&address, description);
    let found = format!("{address}: speaks protocol version {} (worker 9.8.7)", PROTOCOL_VERSION + 1);
    until("a warning", || {
        assert!(process.is_running(), "it came too late: {:?}", process.end());
        process.errors().contains(&found).then_some(())
    });
    let ended = process.end();
    ended.expect_success();
    let warnings: Vec<&str> = ended.errors.lines().filter(|line| line.contains(&found)).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.errors);
    assert!(warnings[0].contains("going on without it"), "{warnings:?}");
    let summary = sandbox.run_dir("run").summary();
    assert_eq!(summary["workers"], 1);
    let alone = sandbox.run("alone", &[&["--workers", &first.address], &longer[..]].concat());
    assert_eq!(weights(&summary), weights(&alone));
}
