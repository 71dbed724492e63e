//! A readout that workers share: the same bits however many they are, and whoever of them is lost.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use strata_tests::{Direction, Process, Sandbox, Wire, addresses, until, wait_for};

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

/// Reads out runs of these changes on one worker and on several, with the same bits.
fn check_same(sandbox: &Sandbox, changes: &[&str]) -> Value {
    let run = |count: &str| {
        let words = ["--local", count, "--threads", "1", "--set", "readout.epochs=3"];
        read_out(sandbox, count, &[&words[..], changes].concat())
    };
    let alone = run("1");
    for count in ["2", "3"] {
        assert_eq!(run(count), alone, "{count} workers");
    }
    alone.0
}

#[test]
fn samples_that_are_held_out_are_measured_alike_by_all() {
    let readout = check_same(&Sandbox::new(), &["--set", "data.held_out=100"]);
    assert!(readout["held_out_accuracy"].is_number() && readout.get("test_accuracy").is_none(), "{readout}");
}

#[test]
fn samples_that_validate_are_measured_alike_by_all() {
    let sandbox = Sandbox::new();
    for (part, count) in [("train", 300), ("val", 60), ("test", 40)] {
        sandbox.write_images(&format!("parts/{part}"), count, true);
    }
    let file = sandbox.path(Sandbox::CONFIG);
    let config = fs::read_to_string(&file).unwrap();
    fs::write(file, config.replace("name = \"mnist\"", "path = \"parts\"")).unwrap();
    let readout = check_same(&sandbox, &[]);
    assert!(readout["validation_accuracy"].is_number() && readout["test_accuracy"].is_number(), "{readout}");
}

/// The readout learns for a while.
const LONG: [&str; 2] = ["--set", "readout.epochs=150"];

fn is_learning(process: &mut Process) {
    until("a readout that learns", || {
        assert!(process.is_running(), "{:?}", process.end());
        process.errors().contains("readout_started").then_some(())
    });
}

/// How a run ends that was disturbed while its readout learnt: two of three workers do it again, with the bits of one alone.
fn check_done_again(sandbox: &Sandbox, mut process: Process) -> String {
    let alone = read_out(sandbox, "alone", &[&["--local", "1", "--threads", "1"], &LONG[..]].concat());
    let ended = process.end();
    ended.expect_success();
    assert_eq!(found(sandbox, "run"), alone);
    assert_eq!(ended.errors.matches("readout_started").count(), 2, "{}", ended.errors);
    assert_eq!(sandbox.run_dir("run").summary()["workers"], 2);
    ended.errors
}

/// Has something happen to one of three workers while the readout learns; what the coordinator says then.
fn disturb(disturb: impl Fn(&mut Process)) -> String {
    let sandbox = Sandbox::new();
    let mut workers = sandbox.workers(3);
    let all = addresses(&workers);
    let run = ["--log-format", "json", "run", Sandbox::CONFIG, "--out", "run", "--workers", &all];
    let mut process = sandbox.start("coordinator", &[&run[..], &WIDE, &LONG].concat());
    is_learning(&mut process);
    disturb(&mut workers[1].process);
    assert!(process.is_running(), "it was too late: {:?}", process.end());
    let said = check_done_again(&sandbox, process);
    assert!(said.contains(&workers[1].address), "{said}");
    said
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

/// Cuts the way between two of three workers, by which nobody else goes, while the readout learns. One of both is done without.
fn cut(direction: Direction) {
    let sandbox = Sandbox::new();
    let impatient = ["--silence", "3"];
    let workers = [(); 3].map(|()| sandbox.worker(&[&["--threads", "1"], &impatient[..]].concat()));
    let wires = workers.each_ref().map(|worker| Wire::to(&worker.address));
    let all = wires.each_ref().map(|wire| wire.address.as_str()).join(",");
    // Nobody shares a layer: before the readout only the coordinator goes there.
    let run =
        ["--log-format", "json", "run", Sandbox::CONFIG, "--out", "run", "--workers", &all, "--shards", "1"];
    let mut process = sandbox.start("coordinator", &[&run[..], &WIDE, &LONG, &impatient].concat());
    wait_for(&mut process, &sandbox.run_dir("run"), 0, 1);
    let known = wires.each_ref().map(Wire::connections);
    is_learning(&mut process);
    // The first calls both others, and the second the third.
    let one_more = (0..3).find(|&place| wires[place].connections() == known[place] + 1).expect("a second");
    wires[one_more].cut_from(known[one_more], direction);
    let said = check_done_again(&sandbox, process);
    // Whoever notices first names the other.
    assert!(said.contains("which shares the readout: "), "{said}");
}

#[test]
fn a_way_between_two_that_carries_nothing_there_costs_one_of_them_and_no_bits() {
    cut(Direction::There);
}

#[test]
fn a_way_between_two_that_carries_nothing_back_costs_one_of_them_and_no_bits() {
    cut(Direction::Back);
}
