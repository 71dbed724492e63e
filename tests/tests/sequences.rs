//! Recurrent networks keep what others do: the same bits however the work is divided and whatever ends in the midst of it.

use std::sync::OnceLock;

use serde_json::Value;
use strata_tests::{Sandbox, until, weights};

/// What makes samples of different lengths of those that are all alike.
const RECORDINGS: [&str; 16] = [
    "--set",
    "data.name=wav-folder",
    "--set",
    "data.folder=spoken",
    "--set",
    "data.views=1",
    "--set",
    "data.translation=0",
    "--set",
    "training.batch=7",
    "--set",
    "layers.0.epochs=8",
    "--set",
    "layers.1.epochs=7",
    "--set",
    "layers.2.epochs=7",
];

fn words<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &RECORDINGS].concat()
}

/// What a run on one worker with one thread that keeps everything gives.
fn reference() -> &'static Value {
    static REFERENCE: OnceLock<Value> = OnceLock::new();
    REFERENCE.get_or_init(|| Sandbox::of_sequences().undisturbed(&RECORDINGS).summary)
}

fn check(summary: &Value) {
    assert_eq!(weights(summary), weights(reference()));
    assert_eq!(summary["readout"]["test_accuracy"], reference()["readout"]["test_accuracy"]);
}

#[test]
fn any_number_of_workers_and_threads_gives_the_same_weights() {
    for (workers, threads) in [("1", "2"), ("2", "1"), ("3", "2")] {
        check(&Sandbox::of_sequences().run("run", &words(&["--local", workers, "--threads", threads])));
    }
}

#[test]
fn any_cache_budget_gives_the_same_weights() {
    for cache in ["0", "100kB"] {
        let words = words(&["--local", "2", "--threads", "1", "--cache-memory", cache]);
        check(&Sandbox::of_sequences().run("run", &words));
    }
}

#[test]
fn workers_that_share_directions_give_the_same_weights() {
    let sandbox = Sandbox::of_sequences();
    let workers: Vec<_> = (0..3).map(|_| sandbox.worker(&["--threads", "1"])).collect();
    let addresses: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
    // There are two directions, however many workers could share a layer.
    check(&sandbox.run("run", &words(&["--workers", &addresses.join(","), "--shards", "3"])));
}

#[test]
fn a_worker_that_is_killed_costs_no_bit() {
    let sandbox = Sandbox::of_sequences();
    let mut workers: Vec<_> = (0..2).map(|_| sandbox.worker(&["--threads", "1"])).collect();
    let addresses = workers.iter().map(|worker| worker.address.clone()).collect::<Vec<_>>().join(",");
    let mut process = sandbox.start_run("run", &words(&["--workers", &addresses, "--shards", "2"]));
    until("a few reports", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        (sandbox.run_dir("run").reports_on(1) >= 3).then_some(())
    });
    workers[1].process.kill();
    process.end().expect_success();
    check(&sandbox.run_dir("run").summary());
}

#[test]
fn a_killed_coordinator_continues_to_the_same_weights() {
    let words = words(&["--local", "2", "--threads", "1"]);
    let sandbox = Sandbox::of_sequences();
    let run = sandbox.run_dir("run");
    for layer in [0, 1, 2] {
        let mut process = sandbox.start_run("run", &words);
        until("a few reports", || {
            assert!(process.is_running(), "the run ended early: {:?}", process.end());
            (run.reports_on(layer) >= 3).then_some(())
        });
        process.kill();
    }
    check(&sandbox.run("run", &words));
}

#[test]
fn layers_that_train_together_give_the_same_weights_on_any_number_of_workers() {
    let joint = ["--set", "training.schedule=joint", "--set", "layers.1.negatives=2"];
    let run = |workers: &str| {
        let words = [&words(&["--local", workers, "--threads", "1"])[..], &joint].concat();
        weights(&Sandbox::of_sequences().run("run", &words)).to_owned()
    };
    let alone = run("1");
    assert!(alone == run("2") && alone == run("3"));
}

#[test]
fn a_recurrent_layer_learns_what_tells_classes_apart() {
    let accuracy = reference()["readout"]["test_accuracy"].as_f64().expect("an accuracy");
    assert!(accuracy > 0.5, "{accuracy} is not far above one in four");
}

/// Rows of images are frames as well, of sequences that are all of one length and have two views.
#[test]
fn sequences_of_one_length_and_two_views_give_the_same_weights_on_any_number_of_workers() {
    let run = |workers: &str| Sandbox::of_sequences().run("run", &["--local", workers, "--threads", "1"]);
    let (alone, several) = (run("1"), run("3"));
    assert_eq!(weights(&alone), weights(&several));
    let accuracy = several["readout"]["test_accuracy"].as_f64().expect("an accuracy");
    assert!(accuracy > 0.3, "{accuracy} is not far above one in ten");
}
