//! A few labels, given to samples of a run that has learned without.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;
use strata_tests::{Ended, Sandbox, label};

const SAMPLES: usize = 240;
const EPOCHS: [&str; 6] =
    ["--set", "layers.0.epochs=5", "--set", "layers.1.epochs=2", "--set", "layers.2.epochs=2"];

/// A run of images without labels, in `run`.
fn learned() -> Sandbox {
    let sandbox = Sandbox::of_unlabelled_images(SAMPLES);
    sandbox.run("run", &EPOCHS);
    sandbox
}

/// Writes a file of labels of these samples, called as `name` says.
fn write_labels(sandbox: &Sandbox, samples: impl Iterator<Item = usize>, name: impl Fn(usize) -> String) {
    let mut text = "name,label\n".to_owned();
    for sample in samples {
        writeln!(text, "{},{}", name(sample), label(sample)).unwrap();
    }
    fs::write(sandbox.path("few.csv"), text).unwrap();
}

fn png(sample: usize) -> String {
    format!("{sample:04}.png")
}

fn eval(sandbox: &Sandbox, words: &[&str]) -> Ended {
    sandbox
        .start("coordinator", &[&["eval", "run", "--labels", "few.csv", "--threads", "1"], words].concat())
        .end()
}

fn json(ended: &Ended) -> Value {
    ended.expect_success();
    serde_json::from_str(&ended.output).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn a_few_labels_make_a_readout_and_leave_the_run_alone_unless_it_is_saved() {
    let sandbox = learned();
    let before = sandbox.run_dir("run").snapshot();
    write_labels(&sandbox, 0..60, png);
    let found = json(&eval(&sandbox, &["--json"]));
    assert_eq!((&found["labels"], &found["folds"], &found["features"]), (&60.into(), &5.into(), &240.into()));
    assert_eq!(found["classes"].as_array().unwrap().len(), 10);
    assert!(number(&found["cross_validated_accuracy"]) > 0.3, "{found}");
    assert!(number(&found["train_accuracy"]) > 0.5 && found.get("test_accuracy").is_none(), "{found}");
    assert_eq!(sandbox.run_dir("run").snapshot(), before);

    let saved = eval(&sandbox, &["--save"]);
    saved.expect_success();
    assert!(saved.output.contains("by 60 labels of 10 classes"), "{}", saved.output);
    let export =
        sandbox.start("coordinator", &["export", "run", "--onnx", "network.onnx", "--readout"]).end();
    export.expect_success();
    assert!(export.output.contains("probabilities of 10 classes"), "{}", export.output);
    let input: Value = serde_json::from_slice(&sandbox.run_dir("run").read("input.json")).unwrap();
    assert_eq!(input["classes"], found["classes"]);
    // The run is what it was, and goes on where something of it is gone.
    fs::remove_file(sandbox.path("run/summary.json")).unwrap();
    let again = sandbox.run("run", &EPOCHS);
    assert_eq!(again.get("readout"), None);
    assert!(sandbox.run_dir("run").has("readout.safetensors"));
}

#[test]
fn one_label_of_each_class_is_learned_from_without_cross_validation() {
    let sandbox = learned();
    write_labels(&sandbox, 0..10, png);
    let ended = eval(&sandbox, &[]);
    ended.expect_success();
    assert!(ended.output.contains("100.00 % of the labels themselves"), "{}", ended.output);
    assert!(
        ended.output.contains("not chosen by cross-validation: no class has two labels"),
        "{}",
        ended.output
    );
    write_labels(&sandbox, (0..10).chain([10, 20]), png);
    let ended = eval(&sandbox, &[]);
    assert!(ended.output.contains("the 9 labels that are alone in their classes"), "{}", ended.output);
}

#[test]
fn a_file_of_labels_is_wrong_with_its_name_and_line() {
    let sandbox = learned();
    for (text, facts) in [
        ("name,label\n0000.png,a\n0001.png,b\n0000.png,b\n", &["0000.png in line 4", "as in line 2"][..]),
        ("name,label\n0000.png,a\nnone.png,b\n", &["the name none.png in line 3", "such as 0000.png"]),
        ("name,label\n0000.png,a\n0001.png,a\n", &["labels of 1 class"]),
        ("file,label\n0000.png,a\n", &["the columns file, label"]),
    ] {
        fs::write(sandbox.path("few.csv"), text).unwrap();
        eval(&sandbox, &[]).expect_error(&[&["few.csv: found"], facts].concat());
    }
}

#[test]
fn where_the_data_have_labels_the_test_set_measures_and_is_not_learned_from() {
    let sandbox = Sandbox::of_unlabelled_images(SAMPLES);
    sandbox.write_images("classes", SAMPLES, true);
    let labelled = ["--set", "data.path=classes", "--set", "data.test=0.25"];
    sandbox.run("run", &[&EPOCHS[..], &labelled].concat());
    let name = |sample| format!("{}/{}", label(sample), png(sample));
    // Which samples test is the seed's choice: a quarter of each class.
    let tests = |sample: usize| {
        fs::write(sandbox.path("few.csv"), format!("name,label\n{},0\n", name(sample))).unwrap();
        eval(&sandbox, &[]).errors.contains("which measures")
    };
    let class: Vec<usize> = (0..SAMPLES).step_by(10).take(8).collect();
    let (testing, learning): (Vec<usize>, Vec<usize>) = class.into_iter().partition(|&sample| tests(sample));
    assert!(!learning.is_empty() && testing.len() < 8, "{testing:?}");
    let mut text = "name,label\n".to_owned();
    for &sample in &learning {
        writeln!(text, "{},0", name(sample)).unwrap();
    }
    let others = (0..SAMPLES).filter(|sample| sample % 10 == 1);
    fs::write(sandbox.path("few.csv"), text.clone() + "1/0001.png,elephant\n").unwrap();
    eval(&sandbox, &[]).expect_error(&["the label elephant", "one of the run's: 0, 1"]);
    // The first one of the other class that is learned from.
    let found = others.map(|sample| {
        fs::write(sandbox.path("few.csv"), format!("{text}{},1\n", name(sample))).unwrap();
        eval(&sandbox, &["--json"])
    });
    let found = found.into_iter().find(|ended| ended.status.success()).map(|ended| json(&ended)).unwrap();
    // Two classes of ten are known; of the others every sample is wrong.
    assert_eq!(found["classes_with_labels"], 2);
    let accuracy = number(&found["test_accuracy"]);
    assert!(accuracy > 0.05 && accuracy <= 0.2, "{found}");
}

#[test]
fn samples_of_known_data_sets_are_called_by_their_numbers_and_a_run_keeps_its_own_readout() {
    let sandbox = Sandbox::new();
    sandbox.run("run", &[&EPOCHS[..], &["--set", "data.held_out=100"]].concat());
    write_labels(&sandbox, 0..200, |sample| sample.to_string());
    // A sixth of them are held out.
    eval(&sandbox, &[]).expect_error(&["in line", "which measures"]);
    sandbox.run("whole", &EPOCHS);
    let words = ["eval", "whole", "--labels", "few.csv", "--threads", "1"];
    let found = json(&sandbox.start("coordinator", &[&words[..], &["--json"]].concat()).end());
    assert!(number(&found["test_accuracy"]) > 0.3, "{found}");
    let saved = sandbox.start("coordinator", &[&words[..], &["--save"]].concat()).end();
    saved.expect_error(&["--save", "a readout of its own"]);
}
