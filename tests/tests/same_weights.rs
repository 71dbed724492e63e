//! The same configuration, data and seed give the same weights, bit for bit, however the work is divided.

use serde_json::Value;
use strata_tests::{Sandbox, reference, weights};

fn check(words: &[&str]) -> Value {
    let summary = Sandbox::new().run("run", words);
    assert_eq!(weights(&summary), weights(&reference().summary), "{words:?}");
    assert_eq!(summary["readout"]["test_accuracy"], reference().summary["readout"]["test_accuracy"]);
    summary
}

fn bytes_sent(summary: &Value) -> Vec<u64> {
    let layers = summary["layers"].as_array().expect("layers");
    layers.iter().map(|layer| layer["bytes_sent"].as_u64().expect("bytes")).collect()
}

#[test]
fn one_worker_on_two_threads() {
    check(&["--local", "1", "--threads", "2"]);
}

#[test]
fn two_local_workers_on_one_thread_or_two() {
    for threads in ["1", "2"] {
        let summary = check(&["--local", "2", "--threads", threads]);
        assert_eq!(summary["workers"], 2);
    }
}

#[test]
fn three_local_workers_on_one_thread_or_two() {
    for threads in ["1", "2"] {
        let summary = check(&["--local", "3", "--threads", threads]);
        assert_eq!(summary["workers"], 3);
    }
}

#[test]
fn workers_that_keep_nothing_a_part_or_all_and_what_is_kept_is_not_sent_again() {
    let sent = ["0", "400kB", "1GiB"]
        .map(|cache| bytes_sent(&check(&["--local", "2", "--threads", "1", "--cache-memory", cache])));
    for layer in 0..3 {
        assert!(sent[0][layer] > sent[1][layer] && sent[1][layer] > sent[2][layer], "{sent:?}");
    }
}

#[test]
fn running_workers_given_as_a_list() {
    let sandbox = Sandbox::new();
    let [one, two] = ["1", "2"].map(|threads| sandbox.worker(&["--threads", threads]));
    let summary = check(&["--workers", &format!("{},{}", one.address, two.address)]);
    assert_eq!(summary["workers"], 2);
    // They serve one run after the other.
    check(&["--workers", &two.address]);
}

#[test]
fn running_workers_given_as_a_name() {
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1"]);
    let (_, port) = worker.address.rsplit_once(':').expect("a port");
    check(&["--workers", &format!("dns://localhost:{port}")]);
}

#[test]
fn half_precision_has_weights_of_its_own_whatever_is_kept() {
    let all = ["0", "400kB", "1GiB"].map(|cache| {
        let words = ["--set", "wire=f16", "--local", "2", "--threads", "1", "--cache-memory", cache];
        weights(&Sandbox::new().run("run", &words)).to_owned()
    });
    assert!(all.iter().all(|weights| *weights == all[0]), "{all:?}");
    assert_ne!(all[0], weights(&reference().summary));
}

#[test]
fn another_seed_gives_other_weights() {
    let summary = Sandbox::new().run("run", &["--set", "seed=2"]);
    assert_ne!(weights(&summary), weights(&reference().summary));
}
