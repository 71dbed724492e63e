//! What a run measures, and on what.

use serde_json::Value;
use strata_tests::{Ended, Sandbox, reference, weights};

const WORDS: [&str; 4] = ["--local", "2", "--threads", "1"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// `readout of 240 features: 98.00 % test accuracy (99.00 % training), effective rank 40, 0.1 s`
fn accuracies(ended: &Ended) -> String {
    ended.expect_success();
    let (_, accuracies) = ended.output.split_once("features: ").expect("a line on the readout");
    accuracies.split(", effective").next().unwrap().to_owned()
}

fn stated(readout: &Value, on: &str) -> String {
    let percent = |key: &str| 100.0 * number(&readout[key]);
    let measured = percent(&format!("{}_accuracy", on.replace('-', "_")));
    format!("{measured:.2} % {on} accuracy ({:.2} % training)", percent("train_accuracy"))
}

#[test]
fn what_was_learned_classifies_far_better_than_chance() {
    let readout = &reference().summary["readout"];
    assert!(number(&readout["test_accuracy"]) > 0.5, "{readout}");
    assert!(number(&readout["train_accuracy"]) > 0.5, "{readout}");
}

#[test]
fn held_out_samples_measure_in_place_of_the_test_set() {
    let sandbox = Sandbox::new();
    let summary = sandbox.run("run", &[&WORDS[..], &["--set", "data.held_out=100"]].concat());
    let readout = &summary["readout"];
    assert!(number(&readout["held_out_accuracy"]) > 0.5, "{readout}");
    assert_eq!(readout.get("test_accuracy"), None);
    // They are not learned from: an epoch has 500 samples left, 10 batches of 50.
    assert_eq!(summary["layers"][0]["steps"], 200);
    assert_ne!(weights(&summary), weights(&reference().summary));
    let ended = sandbox.start("coordinator", &["eval", "run"]).end();
    assert_eq!(accuracies(&ended), stated(readout, "held-out"));
}

#[test]
fn the_summary_has_its_documented_fields() {
    let summary = &reference().summary;
    let check = |value: &Value, names: &[&str]| {
        let mut found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut names = names.to_vec();
        found.sort_unstable();
        names.sort_unstable();
        assert_eq!(found, names);
    };
    check(
        summary,
        &[
            "dataset",
            "seed",
            "workers",
            "weights_sha256",
            "seconds",
            "layers",
            "readout",
            "blas",
            "cpu",
            "peak_rss_bytes",
        ],
    );
    let layer = [
        "name",
        "epochs",
        "steps",
        "seconds",
        "samples_per_second",
        "loss",
        "goodness_pos",
        "goodness_neg",
        "waiting_seconds",
        "bytes_sent",
        "bytes_exchanged",
        "bytes_forwarded",
        "weights_sha256",
    ];
    assert_eq!(summary["layers"].as_array().unwrap().len(), 3);
    for index in 0..3 {
        check(&summary["layers"][index], &layer);
        assert!(number(&summary["layers"][index]["samples_per_second"]) > 0.0);
    }
    check(&summary["readout"], &["features", "train_accuracy", "test_accuracy", "effective_rank", "seconds"]);
    assert_eq!((&summary["dataset"], &summary["seed"]), (&"mnist".into(), &1.into()));
    assert_eq!(summary["readout"]["features"], 96 + 80 + 64);
    assert_eq!(weights(summary).len(), 64);
    assert!(summary["blas"].as_str().unwrap().starts_with("OpenBLAS "), "{summary}");
    assert!(number(&summary["peak_rss_bytes"]) > 1e6);
}

#[test]
fn every_report_has_its_documented_fields() {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    let names = [
        "layer",
        "epoch",
        "step",
        "loss",
        "goodness_pos",
        "goodness_neg",
        "learning_rate",
        "samples_per_second",
        "waiting_seconds",
        "bytes_exchanged",
        "bytes_forwarded",
    ];
    let metrics = sandbox.run_dir("run").metrics();
    for line in &metrics {
        assert!(names.iter().all(|name| line[name].is_number()), "{line}");
    }
    // Every fifth step and the last: 240 of dense1, 264 of dense2, 384 of dense3.
    let steps = |layer: u64| -> Vec<u64> {
        let lines = metrics.iter().filter(|line| line["layer"] == layer);
        lines.map(|line| line["step"].as_u64().unwrap()).collect()
    };
    for (layer, last) in [(0, 240), (1, 264), (2, 384)] {
        let expected = (5..=last).filter(|step| step % 5 == 0 || *step == last).collect::<Vec<u64>>();
        assert_eq!(steps(layer), expected);
    }
}

#[test]
fn eval_gives_the_accuracy_of_the_run_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let summary = sandbox.finished("run");
    let before = sandbox.run_dir("run").snapshot();
    let ended = sandbox.start("coordinator", &["eval", "run", "--local", "1", "--threads", "2"]).end();
    assert_eq!(accuracies(&ended), stated(&summary["readout"], "test"));
    let one_layer = sandbox.start("coordinator", &["eval", "run", "--layers", "0"]).end();
    one_layer.expect_success();
    assert!(one_layer.output.starts_with("readout of 96 features: "), "{}", one_layer.output);
    assert!(sandbox.run_dir("run").snapshot() == before, "nothing has changed");
}

#[test]
fn the_raw_input_is_evaluated_without_workers() {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    let words = ["eval", "run", "--features", "input", "--worker-program", "no-such-program"];
    let ended = sandbox.start("coordinator", &words).end();
    ended.expect_success();
    assert!(ended.output.starts_with("readout of 784 features: "), "{}", ended.output);
}
