//! Convolutional networks keep what dense ones do: the same bits however the work is divided, and memory within bounds.

use std::sync::OnceLock;

use serde_json::Value;
use strata_tests::{Sandbox, until, weights};

/// What a run on one worker with one thread that keeps everything gives.
fn reference() -> &'static Value {
    static REFERENCE: OnceLock<Value> = OnceLock::new();
    REFERENCE.get_or_init(|| Sandbox::of_convolutions().undisturbed(&[]).summary)
}

fn check(summary: &Value) {
    assert_eq!(weights(summary), weights(reference()));
    assert_eq!(summary["readout"]["test_accuracy"], reference()["readout"]["test_accuracy"]);
}

#[test]
fn any_number_of_workers_and_threads_gives_the_same_weights() {
    for (workers, threads) in [("1", "2"), ("2", "1"), ("3", "2")] {
        let words = ["--local", workers, "--threads", threads];
        check(&Sandbox::of_convolutions().run("run", &words));
    }
}

#[test]
fn any_cache_budget_gives_the_same_weights() {
    for cache in ["0", "2MB"] {
        let words = ["--local", "2", "--threads", "1", "--cache-memory", cache];
        check(&Sandbox::of_convolutions().run("run", &words));
    }
}

#[test]
fn a_killed_coordinator_continues_to_the_same_weights() {
    let words = ["--local", "2", "--threads", "1"];
    let sandbox = Sandbox::of_convolutions();
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
fn a_convolutional_layer_learns_what_tells_classes_apart() {
    let accuracy = reference()["readout"]["test_accuracy"].as_f64().expect("an accuracy");
    assert!(accuracy > 0.3, "{accuracy} is not far above one in ten");
}

/// What a worker takes besides kept activations in this network: the program, layers, and a few batches under way.
const CONSTANT: u64 = 128 << 20;

#[test]
fn a_workers_memory_is_its_cache_budget_and_a_constant() {
    // 25 translations of 600 images and their mirror images, 12.5 kB each: 376 MB, of which 12 epochs meet a fifth.
    let changes = ["layers.2.epochs=12", "data.translation=2", "readout.epochs=1"];
    let longer = changes.map(|change| ["--set", change]).concat();
    let peak = |cache: &str| {
        let sandbox = Sandbox::of_convolutions();
        let worker = sandbox.worker(&["--threads", "1", "--cache-memory", cache]);
        let words = [&longer[..], &["--workers", &worker.address]].concat();
        let summary = sandbox.run("run", &words);
        (worker.process.peak_rss_bytes(), weights(&summary).to_owned())
    };
    let all = peak("1GiB");
    for (cache, bytes) in [("0", 0), ("12MB", 12_000_000)] {
        let (rss, weights) = peak(cache);
        println!("{cache}: {rss} bytes, with all kept {} bytes", all.0);
        assert!(rss <= bytes + CONSTANT, "{rss} bytes with a budget of {bytes}");
        assert!(rss + 50_000_000 < all.0, "with all kept {} bytes, with {bytes} at most {rss}", all.0);
        assert_eq!(weights, all.1);
    }
}
