//! Layers that train together keep what layers that train one after another do.

use std::sync::OnceLock;

use serde_json::Value;
use strata_tests::{Sandbox, Undisturbed, addresses, begun, check_killed, until, wait_for, weights};

/// All three layers train, then the upper two, then the last.
const JOINT: [&str; 4] = ["--set", "training.schedule=joint", "--set", "data.views=1"];

/// What a run on one worker with one thread gives.
fn reference() -> &'static Undisturbed {
    static REFERENCE: OnceLock<Undisturbed> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let undisturbed = Sandbox::new().undisturbed(&JOINT);
        Undisturbed { course: undisturbed.run.course_by_layer(), ..undisturbed }
    })
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&JOINT[..], more].concat()
}

fn check(sandbox: &Sandbox, summary: &Value) {
    assert_eq!(weights(summary), weights(&reference().summary));
    assert_eq!(summary["readout"]["test_accuracy"], reference().summary["readout"]["test_accuracy"]);
    assert_eq!(sandbox.run_dir("run").course_by_layer(), reference().course);
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
        wait_for(&mut process, &run, 2, 6);
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

/// Runs on any number of workers.
fn check_shared(sandbox: &Sandbox, changes: &[&str]) {
    sandbox.check_any_number_of_workers(&[], changes, |count, begun| {
        // Three layers, then two, then one, if nobody shared any: in the last phase, as many as there are do, or as it has parts.
        let least = 3 + 2 + count.min(8) + usize::from(count > 3);
        assert!(begun >= least, "{count} workers: {begun}");
    });
}

#[test]
fn convolutions_that_train_together_are_shared_with_the_same_weights() {
    check_shared(&Sandbox::of_convolutions(), &CONVOLUTIONS);
}

#[test]
fn dense_layers_that_train_together_are_shared_with_the_same_weights() {
    check_shared(&Sandbox::new(), &DENSE);
}

/// Convolutions of so many operations that nobody waits for sums for long: all workers take part in each of them.
const LARGE: [&str; 12] = [
    "--set",
    "data.samples=200",
    "--set",
    "layers.1.units=128",
    "--set",
    "layers.2.units=96",
    "--set",
    "layers.2.algorithm=direct",
    "--set",
    "training.checkpoint_every=4",
    "--set",
    "readout.epochs=1",
];

#[test]
fn all_workers_take_part_in_every_layer_with_the_same_weights() {
    // The last layer is shared by channels, and in a grid.
    for pairs in ["layers.2.pairs=makes", "layers.2.pairs=takes"] {
        let sandbox = Sandbox::of_convolutions();
        let changes = [&CONVOLUTIONS[..], &LARGE, &["--set", pairs]].concat();
        let one = sandbox.undisturbed(&changes);
        let workers = sandbox.workers(8);
        for count in [2, 3, 8] {
            let before = begun(&workers);
            let (run, some) = (format!("run-{count}"), addresses(&workers[..count]));
            let summary = sandbox.run(&run, &[&["--workers", &some], &changes[..]].concat());
            assert_eq!(weights(&summary), weights(&one.summary), "{count} workers");
            assert_eq!(sandbox.run_dir(&run).course_by_layer(), one.run.course_by_layer(), "{count} workers");
            // All train three layers, then two, then one; where there are many, each layer may have its own.
            let least = if count < 8 { 6 * count } else { 3 * count };
            assert!(begun(&workers) - before >= least, "{pairs}, {count}: {}", begun(&workers) - before);
        }
        let local = sandbox.run("local", &[&["--local", "2", "--threads", "1"], &changes[..]].concat());
        assert_eq!(weights(&local), weights(&one.summary));
    }
}

/// Kills one of some workers amid the first phase, before which streams have begun so often at least.
fn check_kills(sandbox: &Sandbox, changes: &[&str], (count, least): (usize, usize), places: &[usize]) {
    let one = sandbox.undisturbed(changes);
    for &place in places {
        let name = format!("run-{place}");
        let run = sandbox.run_dir(&name);
        let mut workers = sandbox.workers(count);
        let all = addresses(&workers);
        let mut process = sandbox.start_run(&name, &[&["--workers", &all], changes].concat());
        wait_for(&mut process, &run, 2, 6);
        assert!(begun(&workers) >= least, "streams of three layers: {}", begun(&workers));
        check_killed(process, &run, &mut workers[place], &one);
        assert_eq!(run.summary()["workers"], count - 1);
    }
}

/// So that a worker is killed before they are over.
const LONGER: [&str; 6] =
    ["--set", "layers.0.epochs=20", "--set", "layers.1.epochs=21", "--set", "layers.2.epochs=21"];

#[test]
fn whoever_takes_part_in_every_layer_may_die() {
    let longer = [&CONVOLUTIONS[..], &LONGER].concat();
    check_kills(&Sandbox::of_convolutions(), &longer, (6, 18), &[0, 2, 5]);
}

#[test]
fn whoever_trains_one_of_several_layers_may_die() {
    let longer = [&DENSE[..], &LONGER].concat();
    check_kills(&Sandbox::new(), &longer, (4, 4), &[0, 1, 3]);
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
