//! Layers that train together keep what layers that train one after another do.

use std::sync::OnceLock;

use serde_json::Value;
use strata_tests::{RunDir, Sandbox, Undisturbed, Worker, until, weights};

/// All three layers train, then the upper two, then the last.
const JOINT: [&str; 4] = ["--set", "training.schedule=joint", "--set", "data.views=1"];

/// What a run on one worker with one thread gives.
fn reference() -> &'static Undisturbed {
    static REFERENCE: OnceLock<Undisturbed> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let undisturbed = Sandbox::new().undisturbed(&JOINT);
        Undisturbed { course: course(&undisturbed.run), ..undisturbed }
    })
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&JOINT[..], more].concat()
}

/// The metrics, layer by layer: lines of different layers come in any order.
fn course(run: &RunDir) -> Vec<Value> {
    let mut course = run.course();
    course.sort_by_key(|line| (line["layer"].as_u64(), line["step"].as_u64()));
    course
}

fn check(sandbox: &Sandbox, summary: &Value) {
    assert_eq!(weights(summary), weights(&reference().summary));
    assert_eq!(summary["readout"]["test_accuracy"], reference().summary["readout"]["test_accuracy"]);
    assert_eq!(course(&sandbox.run_dir("run")), reference().course);
    assert!(!sandbox.run_dir("run").has("checkpoint/joint.safetensors"), "nothing is left to go on from");
}

#[test]
fn any_number_of_workers_threads_and_kept_activations_gives_the_same_weights() {
    for (workers, threads, cache) in
        [("1", "2", "1GiB"), ("2", "1", "0"), ("3", "1", "400kB"), ("4", "2", "1GiB")]
    {
        let sandbox = Sandbox::new();
        let words = words(&["--local", workers, "--threads", threads, "--cache-memory", cache]);
        let summary = sandbox.run("run", &words);
        check(&sandbox, &summary);
    }
}

#[test]
fn layers_that_train_together_learn_otherwise_than_one_after_another() {
    let greedy = Sandbox::new().run("run", &["--set", "data.views=1"]);
    let hash = |summary: &Value, layer: usize| summary["layers"][layer]["weights_sha256"].clone();
    // The first layer meets the same batches in both.
    assert_eq!(hash(&greedy, 0), hash(&reference().summary, 0));
    assert!((1..3).all(|layer| hash(&greedy, layer) != hash(&reference().summary, layer)));
    let epochs = |layer: usize| reference().summary["layers"][layer]["epochs"].as_u64();
    assert_eq!([0, 1, 2].map(epochs), [Some(20), Some(22), Some(32)]);
}

#[test]
fn a_killed_coordinator_continues_in_every_phase_to_the_same_weights() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    // Before any checkpoint, in the first phase, in the second (of 2 epochs after 20), and in the third.
    let steps_per_epoch = 12;
    for step in [5, 12 * steps_per_epoch, 21 * steps_per_epoch, 28 * steps_per_epoch] {
        let mut process = sandbox.start_run("run", &words(&["--local", "2", "--threads", "1"]));
        until("the moment to kill the coordinator", || {
            assert!(process.is_running(), "the run ended early: {:?}", process.end());
            let last = run.metrics().iter().filter_map(|line| line["step"].as_u64()).max();
            (last >= Some(step)).then_some(())
        });
        process.kill();
    }
    let summary = sandbox.run("run", &words(&["--local", "3", "--threads", "1"]));
    check(&sandbox, &summary);
}

#[test]
fn a_killed_worker_costs_time_and_nothing_else() {
    for index in [0, 1] {
        let sandbox = Sandbox::new();
        let run = sandbox.run_dir("run");
        let mut process = sandbox.start_run("run", &words(&["--local", "2", "--threads", "1"]));
        until("some reports", || {
            assert!(process.is_running(), "the run ended early: {:?}", process.end());
            (run.reports_on(2) >= 6).then_some(())
        });
        process.children()[index].kill();
        let ended = process.end();
        ended.expect_success();
        assert!(ended.errors.contains("trying again from step"), "{}", ended.errors);
        check(&sandbox, &run.summary());
    }
}

#[test]
fn a_layer_that_ends_before_the_one_below_is_run_on_its_live_outputs() {
    // Layer 1 ends after 10 epochs, layer 0 after 20: in between, layer 2 trains on layer 0's outputs through layer 1.
    let early = words(&["--set", "layers.1.epochs=10"]);
    let run = |more: &[&str]| {
        let sandbox = Sandbox::new();
        let summary = sandbox.run("run", &[&early[..], more].concat());
        weights(&summary).to_owned()
    };
    let one = Sandbox::new().undisturbed(&early).summary;
    assert_eq!(run(&["--local", "3", "--threads", "1", "--cache-memory", "0"]), weights(&one));
    assert_ne!(weights(&one), weights(&reference().summary));
}

#[test]
fn convolutions_train_together_with_the_same_weights_on_any_workers() {
    let run = |more: &[&str]| {
        let sandbox = Sandbox::of_convolutions();
        let words = [&["--set", "training.schedule=joint"], more].concat();
        let summary = sandbox.run("run", &words);
        assert!(summary["readout"]["test_accuracy"].as_f64() > Some(0.3), "{summary}");
        weights(&summary).to_owned()
    };
    let one = run(&["--local", "1", "--threads", "1"]);
    assert_eq!(run(&["--local", "3", "--threads", "2", "--cache-memory", "0"]), one);
}

/// Convolutions that pass on all pairs and the positives alone, and one that passes on nothing: all three train, then the upper
/// two, upon one that is frozen, then the last.
const CONVOLUTIONS: [&str; 8] = [
    "--set",
    "training.schedule=joint",
    "--set",
    "layers.0.epochs=1",
    "--set",
    "layers.1.epochs=2",
    "--set",
    "layers.2.epochs=3",
];

/// Dense layers, of which the last, the only one that can be shared, has most to do.
const DENSE: [&str; 14] = [
    "--set",
    "training.schedule=joint",
    "--set",
    "data.views=1",
    "--set",
    "layers.2.units=3000",
    "--set",
    "layers.0.epochs=2",
    "--set",
    "layers.1.epochs=3",
    "--set",
    "layers.2.epochs=4",
    "--set",
    "readout.epochs=2",
];

fn workers(sandbox: &Sandbox, count: usize) -> Vec<Worker> {
    (0..count).map(|_| sandbox.worker(&["--threads", "1"])).collect()
}

fn list(workers: &[Worker]) -> String {
    workers.iter().map(|worker| worker.address.as_str()).collect::<Vec<_>>().join(",")
}

/// How often layers have begun to train on these workers.
fn begun(workers: &[Worker]) -> usize {
    workers.iter().map(|worker| worker.process.errors().matches("training begins").count()).sum()
}

/// Runs on so many of some workers each.
fn check_shared(sandbox: &Sandbox, changes: &[&str]) {
    let one = sandbox.undisturbed(changes);
    let workers = workers(sandbox, 16);
    for count in [2, 3, 4, 6, 8, 16] {
        let before = begun(&workers);
        let (run, some) = (format!("run-{count}"), list(&workers[..count]));
        let summary = sandbox.run(&run, &[&["--workers", &some], changes].concat());
        assert_eq!(weights(&summary), weights(&one.summary), "{count} workers");
        assert_eq!(course(&sandbox.run_dir(&run)), course(&one.run), "{count} workers");
        // Three layers, then two, then one, if nobody shared any: in the last phase, as many as there are do, or as it has parts.
        let least = 3 + 2 + count.min(8) + usize::from(count > 3);
        assert!(begun(&workers) - before >= least, "{count} workers: {}", begun(&workers) - before);
    }
}

#[test]
fn convolutions_that_train_together_are_shared_with_the_same_weights() {
    check_shared(&Sandbox::of_convolutions(), &CONVOLUTIONS);
}

#[test]
fn dense_layers_that_train_together_are_shared_with_the_same_weights() {
    check_shared(&Sandbox::new(), &DENSE);
}

#[test]
fn whoever_shares_one_of_several_layers_may_die() {
    let sandbox = Sandbox::of_convolutions();
    let longer =
        [&CONVOLUTIONS[..], &["--set", "layers.0.epochs=20", "--set", "layers.1.epochs=21"]].concat();
    let longer = [&longer[..], &["--set", "layers.2.epochs=21"]].concat();
    let one = sandbox.undisturbed(&longer);
    for place in [0, 2, 5] {
        let name = format!("run-{place}");
        let run = sandbox.run_dir(&name);
        let mut workers = workers(&sandbox, 6);
        let mut process = sandbox.start_run(&name, &[&["--workers", &list(&workers)], &longer[..]].concat());
        until("some reports", || {
            assert!(process.is_running(), "the run ended early: {:?}", process.end());
            (run.reports_on(2) >= 6).then_some(())
        });
        assert_eq!(begun(&workers), 6, "all share one of three layers");
        workers[place].process.kill();
        let ended = process.end();
        ended.expect_success();
        let lost = format!("worker {}", workers[place].address);
        let line = ended.errors.lines().find(|line| line.contains("trying again from step"));
        let line = line.unwrap_or_else(|| panic!("{}", ended.errors));
        assert!(line.contains(&lost), "{lost} in {line}");
        assert_eq!(run.summary()["workers"], 5);
        assert_eq!(weights(&run.summary()), weights(&one.summary));
        assert_eq!(course(&run), course(&one.run));
    }
}

#[test]
fn a_frozen_layer_that_is_gone_is_an_error_that_says_what_to_do() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &words(&["--local", "1"]));
    // Reports come every 5 steps, checkpoints every 20, and layer 0 ends after 240.
    until("steps that layers above a frozen one have taken", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        (run.reports_on(2) >= 270 / 5).then_some(())
    });
    process.kill();
    std::fs::remove_file(run.0.join("layers/00.safetensors")).expect("it is there");
    let ended = sandbox.start_run("run", &words(&["--local", "1"])).end();
    ended.expect_error(&["layers/00.safetensors: not there", "run/checkpoint too"]);
}
