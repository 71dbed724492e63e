//! Recordings: sequences of different lengths from a folder of WAV files to the readout.

use std::fs;

use serde_json::Value;
use strata_tests::{Sandbox, weights};

const LOCAL: [&str; 4] = ["--local", "1", "--threads", "1"];

fn run(words: &[&str]) -> Value {
    Sandbox::of_recordings().run("run", words)
}

/// Samples that a share of them that was measured can be a share of.
fn shares_of(accuracy: &Value, samples: u32) -> bool {
    let correct = accuracy.as_f64().unwrap() * f64::from(samples);
    (correct - correct.round()).abs() < 1e-9
}

#[test]
fn sequences_give_the_same_weights_on_any_number_of_workers_and_with_any_cache() {
    let reference = run(&LOCAL);
    // 76 recordings train, 6 batches of 12 an epoch.
    assert_eq!(reference["layers"][0]["steps"], 12);
    let readout = &reference["readout"];
    assert_eq!(readout["features"], 3 * 2 * 16);
    // 9 validate and 11 test; four labels.
    let [test, validation] = ["test_accuracy", "validation_accuracy"].map(|on| &readout[on]);
    assert!(shares_of(test, 11) && shares_of(validation, 9), "{readout}");
    assert!(test.as_f64().unwrap() > 0.5, "{readout}");
    for words in [
        &["--local", "2", "--threads", "2"][..],
        &["--local", "2", "--threads", "1", "--cache-memory", "0"],
        &["--local", "1", "--threads", "2", "--cache-memory", "40KB"],
    ] {
        let found = run(words);
        assert_eq!(weights(&found), weights(&reference), "{words:?}");
        assert_eq!(&found["readout"]["test_accuracy"], test);
    }
    let half = run(&[&LOCAL[..], &["--set", "wire=f16"]].concat());
    assert_ne!(weights(&half), weights(&reference));
}

#[test]
fn sequences_train_together_and_are_passed_on_as_long_as_they_are() {
    let joint = ["--set", "training.schedule=joint"];
    let one = run(&[&LOCAL[..], &joint].concat());
    let two = run(&[&["--local", "2", "--threads", "1"][..], &joint].concat());
    assert_eq!(weights(&one), weights(&two));
}

#[test]
fn raw_sequences_are_a_baseline_and_held_out_recordings_measure_in_place_of_the_others() {
    let sandbox = Sandbox::of_recordings();
    let held_out =
        ["--set", "data.held_out=20", "--set", "data.mfcc={ normalize = \"coefficients\", deltas = true }"];
    let summary = sandbox.run("run", &[&LOCAL[..], &held_out].concat());
    let readout = &summary["readout"];
    assert!(shares_of(&readout["held_out_accuracy"], 20), "{readout}");
    assert!(readout.get("test_accuracy").is_none() && readout.get("validation_accuracy").is_none());
    let ended = sandbox.start("coordinator", &["eval", "run", "--features", "input"]).end();
    ended.expect_success();
    // Means over thirds of 39 coefficients and their changes.
    assert!(ended.output.starts_with("readout of 234 features: "), "{}", ended.output);
}

#[test]
fn a_plan_counts_sequences_by_their_mean_length() {
    let mut ended = Sandbox::of_recordings().start("coordinator", &["plan", Sandbox::CONFIG]).end();
    ended.expect_success();
    let first = ended.output.lines().next().unwrap().to_owned();
    assert!(first.starts_with("wav-folder: 76 training sequences of up to "), "{first}");
    assert!(first.contains(" frames of 39, ") && first.contains(" frames on average"), "{first}");
    ended.output.retain(|c| c != ' ');
    assert!(ended.output.contains("readout:"), "{}", ended.output);
}

#[test]
fn a_broken_recording_ends_a_run_with_one_line_that_names_it() {
    let sandbox = Sandbox::of_recordings();
    let broken = sandbox.path("data/spoken/one/bob_3.wav");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..1_000]).unwrap();
    let ended = sandbox.start_run("run", &[]).end();
    ended.expect_error(&["spoken/one/bob_3.wav: found a file that ends after 478 samples, expected "]);
    assert!(!sandbox.path("run").exists(), "nothing has begun");
}

#[test]
fn a_speaker_who_is_not_there_is_answered_with_those_who_are() {
    let by_speaker = ["--set", "data.split=speakers", "--set", "data.test_speakers=[\"dora\"]"];
    let ended = Sandbox::of_recordings().start_run("run", &by_speaker).end();
    ended.expect_error(&["the test speaker \"dora\": expected one of ann, bob, cleo"]);
}

#[test]
fn layers_that_read_rows_of_one_length_are_refused_on_sequences() {
    let sandbox = Sandbox::of_recordings();
    let dense = include_str!("../src/recordings.toml")
        .replace("\"birnn\"", "\"dense\"")
        .replace("hidden", "units")
        .replace("standardized", "relu")
        .replace("summary = \"thirds\"\n", "");
    fs::write(sandbox.path(Sandbox::CONFIG), dense).unwrap();
    let ended = sandbox.start_run("run", &[]).end();
    ended.expect_error(&[
        "layers[0].kind = a kind that reads ",
        "expected one that reads sequences of any length",
    ]);
}
