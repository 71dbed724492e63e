//! Runs whose directory, or data, is on an S3-compatible object store: whatever the store and the way to it do, the weights are
//! those of a run on disk.

mod relay;
mod server;

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use relay::{Fault, Relay};
use server::{BUCKET, KEY_ID, SECRET, Server};
use strata_tests::{Process, RunDir, Sandbox, program, reference, until, weights};

const TOKEN: &str = "FQoGStrataTestsSessionToken";
const RUN: &str = "s3://strata-runs/runs/one";
const LOCAL: [&str; 4] = ["--local", "2", "--threads", "1"];
/// The shortest lease, for those who wait until one is over.
const SHORT: [&str; 2] = ["--lease", "6"];
const CONTINUE_ME: Option<i32> = Some(75);

/// A store, the way to it, and who works on it.
struct Bench {
    sandbox: Sandbox,
    server: Server,
    relay: Relay,
}

impl Bench {
    fn new() -> Self {
        let server = Server::start();
        let relay = Relay::to(&server.address);
        Self { sandbox: Sandbox::new(), relay, server }
    }

    /// Has a command use the store.
    fn with_store<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.relay.address));
        for (variable, value) in [
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", TOKEN),
            ("NO_PROXY", "127.0.0.1"),
        ] {
            command.env(variable, value);
        }
        command
    }

    fn coordinator(&self, words: &[&str]) -> Process {
        let mut command = Command::new(program("coordinator"));
        self.sandbox.spawn("coordinator", self.with_store(command.args(words)))
    }

    fn start(&self, words: &[&str]) -> Process {
        self.coordinator(&[&["run", Sandbox::CONFIG, "--out", RUN], &LOCAL[..], words].concat())
    }

    fn run_dir(&self) -> RunDir {
        self.server.run_dir("runs/one")
    }

    /// Carries the run on to its end, and compares it with the one on disk; returns what was said.
    fn finish(&self, words: &[&str]) -> String {
        self.compare(self.start(words))
    }

    fn compare(&self, mut process: Process) -> String {
        let ended = process.end();
        ended.expect_success();
        assert!(ended.output.contains(&format!("run directory: {RUN}")), "{}", ended.output);
        let run = self.run_dir();
        assert_eq!(weights(&run.summary()), weights(&reference().summary));
        assert_eq!(run.course(), reference().course);
        assert_eq!(run.read("model.safetensors"), reference().model);
        assert!(self.is_released());
        ended.errors
    }

    fn lock(&self) -> serde_json::Value {
        serde_json::from_slice(&self.run_dir().read("lock")).unwrap()
    }

    fn is_released(&self) -> bool {
        self.lock()["owner"] == ""
    }

    /// Waits until a run has come so far, by the reports that are there.
    fn until_reports(&self, process: &mut Process, reports: usize) {
        until("reports at the store", || {
            assert!(process.is_running(), "{:?}", process.end());
            (self.run_dir().metrics().len() >= reports).then_some(())
        });
    }
}

#[test]
fn a_run_is_kept_as_on_disk_and_read_back() {
    let bench = Bench::new();
    bench.finish(&[]);
    let mut on_disk: Vec<_> = reference().run.snapshot().into_keys().collect();
    let mut there: Vec<_> = bench.run_dir().snapshot().into_keys().collect();
    for (paths, folder) in [(&mut on_disk, &reference().run), (&mut there, &bench.run_dir())] {
        for path in paths.iter_mut() {
            *path = path.strip_prefix(&folder.0).unwrap().to_owned();
        }
    }
    assert_eq!(there, on_disk);
    let again = bench.start(&[]).end();
    again.expect_success();
    assert!(again.errors.contains(&format!("{RUN}: this run is finished")), "{}", again.errors);
    let other = bench.start(&["--set", "layers.1.lr=0.5"]).end();
    other.expect_error(&[
        RUN,
        "holds a run of another configuration",
        "layers.1.lr is 0.002 there and 0.5 here",
    ]);
    assert!(bench.is_released());
    let before = bench.run_dir().snapshot();
    let read = bench.coordinator(&["eval", RUN, "--local", "1", "--threads", "1"]).end();
    read.expect_success();
    let accuracy = 100.0 * reference().summary["readout"]["test_accuracy"].as_f64().unwrap();
    assert!(read.output.contains(&format!("{accuracy:.2} % test accuracy")), "{}", read.output);
    assert_eq!(bench.run_dir().snapshot(), before, "who reads writes nothing");
    let nothing = bench.coordinator(&["eval", "s3://strata-runs/runs/two"]).end();
    nothing.expect_error(&["s3://strata-runs/runs/two: no run directory: there is no config.toml in it"]);
}

#[test]
fn long_files_go_in_parts() {
    let bench = Bench::new();
    // Of the first layer's checkpoint, 11 MB.
    let changes =
        ["--set", "layers.0.units=1200", "--set", "layers.0.epochs=4", "--set", "layers.1.epochs=1"];
    let undisturbed = bench.sandbox.undisturbed(&changes);
    bench.relay.order("PUT", "partNumber=2", Fault::CutBody, 1);
    bench.relay.order("POST", "uploadId=", Fault::CutAnswer, 1);
    let mut process = bench.start(&changes);
    until("a checkpoint", || {
        assert!(process.is_running(), "{:?}", process.end());
        (bench.relay.is_done() && bench.run_dir().has("checkpoint/00.safetensors")).then_some(())
    });
    process.kill();
    // Nobody else is there, so that the lock is the dead one's.
    let free = serde_json::json!({
        "owner": "", "host": "", "process": 0, "lease_seconds": 60, "renewals": 0, "renewed": ""
    });
    fs::write(bench.run_dir().0.join("lock"), free.to_string()).unwrap();
    let ended = bench.start(&changes).end();
    ended.expect_success();
    assert!(ended.errors.contains("continuing"), "{}", ended.errors);
    assert_eq!(weights(&bench.run_dir().summary()), weights(&undisturbed.summary));
    assert_eq!(bench.run_dir().read("model.safetensors"), undisturbed.model);
}

#[test]
fn a_run_whose_coordinator_was_killed_is_taken_over() {
    let bench = Bench::new();
    let mut process = bench.start(&SHORT);
    bench.until_reports(&mut process, 60);
    process.kill();
    assert!(!bench.is_released());
    let said = bench.finish(&SHORT);
    assert!(said.contains("waiting up to 6 s for a sign of it"), "{said}");
    assert!(
        said.contains("dense2: continuing at step") || said.contains("dense1: continuing at step"),
        "{said}"
    );
}

#[test]
fn a_run_that_was_stopped_goes_on_at_once() {
    let bench = Bench::new();
    // In training; then while it waits for a worker, where nothing has to be brought to an end but the lock.
    let mut process = bench.start(&[]);
    bench.until_reports(&mut process, 20);
    process.pid().signal("TERM");
    let ended = process.end();
    assert_eq!(ended.status.code(), CONTINUE_ME, "{}", ended.errors);
    assert!(ended.errors.contains("stopped after step "), "{}", ended.errors);
    assert!(bench.is_released());
    let alone = ["run", Sandbox::CONFIG, "--out", RUN, "--workers", "127.0.0.1:1"];
    let mut process = bench.coordinator(&alone);
    until("a run that waits", || process.errors().contains("waiting for").then_some(()));
    assert!(!bench.is_released());
    process.pid().signal("INT");
    let ended = process.end();
    assert_eq!(ended.status.code(), CONTINUE_ME, "{}", ended.errors);
    assert!(bench.is_released());
    let said = bench.finish(&[]);
    assert!(said.contains("continuing") && !said.contains("for a sign of it"), "{said}");
}

#[test]
fn a_second_coordinator_is_sent_away_while_the_first_goes_on() {
    let bench = Bench::new();
    let mut first = bench.start(&[&SHORT[..], &["--set", "readout.epochs=20000"]].concat());
    until("a lock", || bench.run_dir().has("lock").then_some(()));
    let second = bench.start(&SHORT).end();
    second.expect_error(&[
        "s3://strata-runs/runs/one/lock: another coordinator is using this run directory: process ",
    ]);
    assert!(first.is_running(), "{:?}", first.end());
    first.pid().signal("TERM");
    assert_eq!(first.end().status.code(), CONTINUE_ME);
    bench.finish(&[]);
}

#[test]
fn a_coordinator_that_slept_writes_nothing_more() {
    let bench = Bench::new();
    let mut sleeper = bench.start(&SHORT);
    bench.until_reports(&mut sleeper, 8);
    sleeper.pid().signal("STOP");
    let said = bench.finish(&SHORT);
    assert!(said.contains("waiting up to 6 s for a sign of it"), "{said}");
    let finished = bench.run_dir().snapshot();
    sleeper.pid().signal("CONT");
    let ended = sleeper.end();
    ended.expect_error(&["s3://strata-runs/runs/one/lock: process ", "has taken this run directory over"]);
    assert_eq!(bench.run_dir().snapshot(), finished);
}

#[test]
fn breaks_slowness_and_503_change_nothing() {
    let bench = Bench::new();
    // Longer than a request may take; some of these faults meet one request, whose tries have to fit.
    let lease = ["--lease", "20"];
    let late = Fault::Late(Duration::from_millis(5500));
    for (method, path, fault, times) in [
        ("PUT", "/lock", Fault::CutAnswer, 1),
        ("PUT", "/checkpoint/00", Fault::CutBody, 2),
        ("PUT", "/checkpoint/00", Fault::CutAnswer, 1),
        ("PUT", "/checkpoint/00", late, 1),
        ("PUT", "/lock", late, 1),
        ("PUT", "/metrics.jsonl", Fault::Unavailable, 4),
        ("PUT", "/layers/01", Fault::CutAnswer, 1),
        ("DELETE", "/checkpoint/01", Fault::Unavailable, 2),
        ("PUT", "/summary.json", Fault::CutBody, 1),
        ("GET", "/metrics.jsonl", Fault::CutAnswer, 1),
    ] {
        bench.relay.order(method, path, fault, times);
    }
    bench.finish(&lease);
    assert!(bench.relay.is_done(), "all faults were met");
}

#[test]
fn a_store_that_is_away_for_long_ends_a_run_which_goes_on_later() {
    let bench = Bench::new();
    let mut process = bench.start(&[&SHORT[..], &["--silence", "3"]].concat());
    bench.until_reports(&mut process, 12);
    bench.relay.set_gone(true);
    let ended = process.end();
    let store = format!("the store at http://{} gives no answer", bench.relay.address);
    ended.expect_error(&["s3://strata-runs/runs/one/", &store]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(!bench.is_released());
    let still = bench.start(&SHORT).end();
    still.expect_error(&["s3://strata-runs/runs/one/lock: ", &store]);
    bench.relay.set_gone(false);
    let said = bench.finish(&SHORT);
    assert!(said.contains("continuing"), "{said}");
}

#[test]
fn a_store_that_is_away_for_some_seconds_does_not() {
    let bench = Bench::new();
    let mut process = bench.start(&["--lease", "12", "--silence", "3"]);
    bench.until_reports(&mut process, 12);
    bench.relay.set_gone(true);
    let reports = bench.run_dir().metrics().len();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(bench.run_dir().metrics().len(), reports);
    bench.relay.set_gone(false);
    let said = bench.compare(process);
    assert!(!said.contains("trying again"), "no worker was given up meanwhile: {said}");
}

/// All that a process has said, none of which may be secret.
fn without_secrets(ended: &strata_tests::Ended) {
    for secret in [KEY_ID, SECRET, TOKEN] {
        for said in [&ended.output, &ended.errors] {
            let line = said.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is said: {}", line.unwrap_or_default());
        }
    }
}

#[test]
fn credentials_are_never_said() {
    let bench = Bench::new();
    bench.relay.order("PUT", "/run.json", Fault::Unavailable, 2);
    bench.relay.order("PUT", "/run.json", Fault::CutAnswer, 1);
    for (key, succeeds) in [(SECRET, true), ("another secret", false)] {
        let mut command = Command::new("sh");
        let coordinator = program("coordinator");
        command.args(["-c", "RUST_LOG=trace,h2=trace exec \"$0\" \"$@\""]).arg(coordinator);
        command.args(["--log-format", "json", "run", Sandbox::CONFIG, "--out", RUN]).args(LOCAL);
        bench.with_store(&mut command).env("AWS_SECRET_ACCESS_KEY", key);
        let ended = bench.sandbox.spawn("traced", &mut command).end();
        assert_eq!(ended.status.success(), succeeds, "{}", ended.output);
        assert!(
            ended.errors.contains("\"level\":\"trace\"") && ended.errors.contains("\"target\":\"hyper"),
            "traces are there"
        );
        without_secrets(&ended);
        assert!(!ended.errors.contains("another secret"));
    }
}

#[test]
fn wrong_buckets_and_keys_are_told_apart() {
    let bench = Bench::new();
    let run = |out: &str, changes: &[(&str, &str)]| {
        let mut command = Command::new(program("coordinator"));
        command.args(["run", Sandbox::CONFIG, "--lease", "6", "--out", out]).args(LOCAL);
        bench.with_store(&mut command);
        for (variable, value) in changes {
            if value.is_empty() {
                command.env_remove(variable)
            } else {
                command.env(variable, value)
            };
        }
        let ended = bench.sandbox.spawn("coordinator", &mut command).end();
        without_secrets(&ended);
        assert_eq!(
            ended.errors.lines().filter(|line| line.starts_with("error")).count(),
            1,
            "{}",
            ended.errors
        );
        ended
    };
    let ended = run("s3://nobodys-bucket/run", &[]);
    ended.expect_error(&["s3://nobodys-bucket/run/lock: the store at http://127.0.0.1:", "NoSuchBucket"]);
    let ended = run(RUN, &[("AWS_SECRET_ACCESS_KEY", "wrong")]);
    ended.expect_error(&[
        "runs/one/lock: the store at http://127.0.0.1:",
        "SignatureDoesNotMatch",
        "AWS_ACCESS_KEY_ID",
    ]);
    let ended = run(RUN, &[("AWS_ACCESS_KEY_ID", "nobody")]);
    ended.expect_error(&["runs/one/lock: the store at http://127.0.0.1:", "AWS_ACCESS_KEY_ID"]);
    let ended = run(RUN, &[("AWS_SECRET_ACCESS_KEY", "")]);
    ended.expect_error(&["s3://strata-runs/runs/one: ", "AWS_SECRET_ACCESS_KEY"]);
    let ended = run(RUN, &[("AWS_ALLOW_HTTP", "")]);
    ended.expect_error(&["AWS_ALLOW_HTTP"]);
    let ended = run(RUN, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
    ended.expect_error(&["the store at http://127.0.0.1:1 gives no answer: ", "refused"]);
    let ended = run("s3://strata-runs", &[]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.errors.contains("expected s3://BUCKET/PREFIX or a folder"), "{}", ended.errors);
    assert!(!bench.run_dir().0.exists(), "nothing was written");
}

#[test]
fn data_are_fetched_once_and_again_when_they_change() {
    let bench = Bench::new();
    let data = "s3://strata-runs/data";
    let cache = bench.sandbox.path("cache");
    let run = |out: &str| {
        let mut command = Command::new("sh");
        let script = format!("XDG_CACHE_HOME='{}' exec \"$0\" \"$@\"", cache.display());
        command.args(["-c", &script]).arg(program("coordinator"));
        command.args(["run", Sandbox::CONFIG, "--data", data, "--out", out]).args(LOCAL);
        bench.sandbox.spawn("coordinator", bench.with_store(&mut command)).end()
    };
    run("early").expect_error(&["s3://strata-runs/data/mnist/train-images-idx3-ubyte: found no such object"]);
    let there = bench.server.path("data/mnist");
    fs::create_dir_all(&there).unwrap();
    let mut files: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(bench.sandbox.path("data/mnist")).unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), there.join(file.file_name())).unwrap();
        files.push(file.file_name());
    }
    bench.relay.order("GET", "/train-labels", Fault::CutAnswer, 2);
    let fetched = run("first");
    fetched.expect_success();
    assert_eq!(fetched.errors.matches("fetching ").count(), files.len(), "{}", fetched.errors);
    assert_eq!(weights(&bench.sandbox.run_dir("first").summary()), weights(&reference().summary));
    let known = run("second");
    known.expect_success();
    assert_eq!(known.errors.matches("fetching ").count(), 0, "{}", known.errors);
    // Labels of another split are other labels, and too few.
    fs::copy(there.join("t10k-labels-idx1-ubyte"), there.join("train-labels-idx1-ubyte")).unwrap();
    let changed = run("third");
    changed.expect_error(&["train-labels-idx1-ubyte holds 200 labels, expected 600"]);
    assert_eq!(changed.errors.matches("fetching ").count(), 1, "{}", changed.errors);
    assert!(bench.relay.count(&format!("GET /{BUCKET}/data/mnist/")) >= 3 * files.len());
}
