//! Runs whose samples have no labels: they train like others, and end with what can be said without.

use std::fs;

use serde_json::Value;
use strata_tests::{Sandbox, weights};

const SAMPLES: usize = 240;
const WORDS: [&str; 12] = [
    "--local",
    "2",
    "--threads",
    "1",
    "--set",
    "layers.0.epochs=2",
    "--set",
    "layers.1.epochs=2",
    "--set",
    "layers.2.epochs=2",
    "--set",
    "training.checkpoint_every=5",
];

fn unlabelled() -> Sandbox {
    Sandbox::of_unlabelled_images(SAMPLES)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// Fails unless the measures are those of this network on all samples.
fn check(measures: &Value, of: &str, samples: usize) {
    assert_eq!((&measures["of"], &measures["samples"]), (&of.into(), &samples.into()), "{measures}");
    let layers = measures["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for (layer, (name, features)) in layers.iter().zip([("dense1", 96), ("dense2", 80), ("dense3", 64)]) {
        assert_eq!((&layer["name"], &layer["features"]), (&name.into(), &features.into()));
        let rank = number(&layer["effective_rank"]);
        assert!(rank > 1.5 && rank < f64::from(features), "{layer}");
        let kept = number(&layer["neighbour_agreement"]);
        // By chance ten of the others would be.
        assert!(kept > 20.0 / samples as f64 && kept <= 1.0, "{layer}");
        assert!(number(&layer["goodness_pos"]) > 0.0 && number(&layer["goodness_neg"]) > 0.0);
    }
}

/// The same measures, but for how long they took.
fn timeless(mut measures: Value) -> Value {
    measures.as_object_mut().unwrap().remove("seconds").unwrap();
    measures
}

#[test]
fn a_run_without_labels_ends_with_what_can_be_said_without() {
    let sandbox = unlabelled();
    let ended = sandbox.start_run("run", &WORDS).end();
    ended.expect_success();
    assert!(
        ended.output.contains(&format!("without labels, by {SAMPLES} training samples")),
        "{}",
        ended.output
    );
    let summary = sandbox.run_dir("run").summary();
    assert_eq!(summary.get("readout"), None);
    check(&summary["without_labels"], "training", SAMPLES);
    assert!(sandbox.run_dir("run").has("model.safetensors"));
    let again = sandbox.start_run("run", &[&WORDS[..], &["--json"]].concat()).end();
    assert_eq!(serde_json::from_str::<Value>(&again.output).unwrap(), summary);

    let eval = |words: &[&str]| sandbox.start("coordinator", &[&["eval", "run"], words].concat()).end();
    eval(&[]).expect_error(&["no [readout]", "--labels FILE", "--without-labels"]);
    let measured = eval(&["--without-labels", "--json"]);
    measured.expect_success();
    let measured = serde_json::from_str(&measured.output).unwrap();
    assert_eq!(timeless(measured), timeless(summary["without_labels"].clone()));
    sandbox.start("coordinator", &["export", "run", "--onnx", "network.onnx"]).end().expect_success();
}

#[test]
fn a_run_without_labels_goes_on_where_it_stood() {
    let sandbox = unlabelled();
    let whole = sandbox.run("run", &WORDS);
    let run = sandbox.run_dir("run");
    for file in ["summary.json", "model.safetensors", "layers/02.safetensors"] {
        fs::remove_file(run.0.join(file)).unwrap();
    }
    let again = sandbox.run("run", &WORDS);
    assert_eq!(weights(&again), weights(&whole));
    assert_eq!(timeless(again["without_labels"].clone()), timeless(whole["without_labels"].clone()));
}

#[test]
fn layers_that_train_together_need_no_labels_and_a_share_that_is_set_aside_is_looked_at() {
    let sandbox = unlabelled();
    let joint = ["--set", "training.schedule=joint", "--set", "data.views=1", "--set", "data.test=0.25"];
    let summary = sandbox.run("run", &[&WORDS[..], &joint].concat());
    check(&summary["without_labels"], "test", SAMPLES / 4);
}

#[test]
fn a_readout_without_labels_is_refused_and_labels_without_a_readout_are_not_read() {
    let sandbox = unlabelled();
    let config = fs::read_to_string(sandbox.path(Sandbox::CONFIG)).unwrap();
    let readout = "[readout]\nlr = 0.01\nbatch = 50\nepochs = 1\ndropout = 0.0\n";
    fs::write(sandbox.path("readout.toml"), config.clone() + readout).unwrap();
    let refused = sandbox.start("coordinator", &["run", "readout.toml", "--out", "refused"]).end();
    refused.expect_error(&["readout.toml", "readout", "no labels"]);
    sandbox.write_images("classes", SAMPLES, true);
    let words = [&WORDS[..], &["--set", "data.path=classes", "--set", "data.held_out=60"]].concat();
    let summary = sandbox.run("run", &words);
    assert_eq!(summary.get("readout"), None);
    check(&summary["without_labels"], "held-out", 60);
    sandbox.start("coordinator", &["baseline", "random", Sandbox::CONFIG]).end().expect_error(&["[readout]"]);
}
