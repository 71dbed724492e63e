//! A readout that workers share: the same bits however many they are, and whoever of them is lost.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use strata_tests::{Process, Sandbox, Worker, until};

/// A network whose features are four blocks, in half precision, in which the readout learns for a while.
const WIDE: [&str; 12] = [
    "--set",
    "layers.2.units=3000",
    "--set",
    "layers.0.epochs=1",
    "--set",
    "layers.1.epochs=1",
    "--set",
    "layers.2.epochs=1",
    "--set",
    "wire=f16",
    "--set",
    "data.flip=true",
];

/// Runs it on workers; the summary of the readout without its seconds, and what its weights hash to.
fn read_out(sandbox: &Sandbox, out: &str, words: &[&str]) -> (Value, u64) {
    let mut process = sandbox.start_run(out, &[&WIDE[..], words].concat());
    process.end().expect_success();
    found(sandbox, out)
}

fn found(sandbox: &Sandbox, out: &str) -> (Value, u64) {
    let mut readout = sandbox.run_dir(out).summary()["readout"].clone();
    readout.as_object_mut().expect("a table").remove("seconds");
    let mut hasher = DefaultHasher::new();
    fs::read(sandbox.path(out).join("readout.safetensors")).expect("weights").hash(&mut hasher);
    (readout, hasher.finish())
}

fn list(workers: &[Worker]) -> String {
    workers.iter().map(|worker| worker.address.as_str()).collect::<Vec<_>>().join(",")
}

#[test]
fn however_many_share_it_a_readout_has_the_same_bits() {
    let sandbox = Sandbox::new();
    let words = |count: &'static str| ["--local", count, "--threads", "1", "--set", "readout.epochs=3"];
    let alone = read_out(&sandbox, "1", &words("1"));
    assert_eq!(alone.0["features"], 96 + 80 + 3000);
    // Where there are five, one owns nothing; and where nobody has room, the head node learns.
    for count in ["2", "3", "5"] {
        assert_eq!(read_out(&sandbox, count, &words(count)), alone, "{count} workers");
    }
    let without_room = read_out(&sandbox, "0", &[&words("2")[..], &["--cache-memory", "1KiB"]].concat());
    assert_eq!(without_room, alone);
    let eval = |count| {
        let ended = sandbox.start("coordinator", &["eval", "1", "--local", count, "--threads", "1"]).end();
        ended.expect_success();
        ended.output.rsplit_once(", ").expect("seconds").0.to_owned()
    };
    assert_eq!(eval("1"), eval("3"));
}

/// Has something happen to one of three workers while the readout learns; what the coordinator says then.
fn disturb(disturb: impl Fn(&mut Process)) -> String {
    let sandbox = Sandbox::new();
    let words = ["--set", "readout.epochs=150"];
    let alone = read_out(&sandbox, "alone", &[&["--local", "1", "--threads", "1"], &words[..]].concat());
    let mut workers = [(); 3].map(|()| sandbox.worker(&["--threads", "1"]));
    let all = list(&workers);
    let run = ["--log-format", "json", "run", Sandbox::CONFIG, "--out", "run", "--workers", &all];
    let mut process = sandbox.start("coordinator", &[&run[..], &WIDE, &words].concat());
    until("a readout that learns", || {
        assert!(process.is_running(), "{:?}", process.end());
        process.errors().contains("readout_started").then_some(())
    });
    disturb(&mut workers[1].process);
    assert!(process.is_running(), "it was too late: {:?}", process.end());
    let ended = process.end();
    ended.expect_success();
    assert_eq!(found(&sandbox, "run"), alone);
    assert_eq!(ended.errors.matches("readout_started").count(), 2, "{}", ended.errors);
    assert!(ended.errors.contains(&workers[1].address), "{}", ended.errors);
    assert_eq!(sandbox.run_dir("run").summary()["workers"], 2);
    ended.errors
}

#[test]
fn who_is_killed_while_the_readout_learns_has_the_others_do_it_again() {
    let said = disturb(Process::kill);
    assert!(said.contains("worker_lost") && said.contains("while it trained the readout"), "{said}");
}

#[test]
fn who_leaves_while_the_readout_learns_has_the_others_do_it_again() {
    let said = disturb(|worker| {
        worker.pid().signal("TERM");
        worker.end().expect_success();
    });
    assert!(said.contains("worker_left") && !said.contains("worker_lost"), "{said}");
}
