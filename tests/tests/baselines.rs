//! Baselines of a configuration: random weights, back-propagation, fine-tuning and the original Forward-Forward algorithm.

use serde_json::Value;
use strata_tests::{Sandbox, until, weights};

fn baseline(sandbox: &Sandbox, method: &str, out: &str, words: &[&str]) -> Value {
    let command = ["baseline", method, Sandbox::CONFIG, "--out", out];
    sandbox.start("coordinator", &[&command, words].concat()).end().expect_success();
    let text = std::fs::read_to_string(sandbox.path(out).join("baseline.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn accuracy(summary: &Value) -> f64 {
    summary["test_accuracy"].as_f64().unwrap()
}

#[test]
fn every_method_learns_dense_layers_and_a_finished_one_is_not_trained_again() {
    let sandbox = Sandbox::new();
    let run = sandbox.run("run", &["--local", "1"]);
    let random = baseline(&sandbox, "random", "random", &["--local", "1"]);
    assert_eq!((random["method"].as_str(), random.get("training")), (Some("random"), None));
    assert_ne!(weights(&random), weights(&run));
    let propagated = baseline(&sandbox, "back-propagation", "back", &["--epochs", "3"]);
    let tuned =
        baseline(&sandbox, "fine-tuning", "tuned", &["--run", "run", "--epochs", "1", "--lr", "0.0001"]);
    let original = baseline(&sandbox, "forward-forward", "original", &["--epochs", "2"]);
    for summary in [&random, &propagated, &tuned] {
        assert!(accuracy(summary) > 0.5, "{summary}");
    }
    // It takes many more epochs; that it does learn is a test of its own crate.
    assert!(accuracy(&original) > 0.3 && weights(&original) != weights(&random), "{original}");
    // It begins with what the run has learnt, and goes on.
    assert_ne!(weights(&tuned), weights(&run));
    // Layers and readout are read like those of a run.
    assert!(
        sandbox.path("back/model.safetensors").exists() && sandbox.path("back/readout.safetensors").exists()
    );
    assert_eq!(baseline(&sandbox, "back-propagation", "back", &["--epochs", "3"]), propagated);
    let again = baseline(&sandbox, "back-propagation", "again", &["--epochs", "3"]);
    assert_eq!(weights(&again), weights(&propagated));
}

#[test]
fn one_that_is_stopped_goes_on_to_the_same_weights() {
    let sandbox = Sandbox::new();
    let epochs = ["--epochs", "12"];
    for method in ["back-propagation", "forward-forward"] {
        let whole = baseline(&sandbox, method, &format!("{method}-whole"), &epochs);
        let command = ["baseline", method, Sandbox::CONFIG, "--out", method];
        let mut process = sandbox.start("coordinator", &[&command[..], &epochs].concat());
        let checkpoint = sandbox.path(method).join("checkpoint.safetensors");
        until("an epoch", || {
            assert!(process.is_running(), "{:?}", process.end());
            checkpoint.exists().then_some(())
        });
        process.pid().signal("TERM");
        let ended = process.end();
        assert_eq!(ended.status.code(), Some(75), "{}", ended.errors);
        sandbox
            .start("coordinator", &[&command[..], &["--epochs", "13"]].concat())
            .end()
            .expect_error(&["of 12 epochs", "of 13 epochs"]);
        let ended = sandbox.start("coordinator", &[&command[..], &epochs].concat()).end();
        ended.expect_success();
        assert!(ended.errors.contains("going on after epoch "), "{}", ended.errors);
        assert_eq!(weights(&baseline(&sandbox, method, method, &epochs)), weights(&whole));
        assert!(!checkpoint.exists());
    }
}

#[test]
fn recurrent_layers_learn_through_time() {
    let sandbox = Sandbox::of_recordings();
    let summary = baseline(&sandbox, "back-propagation", "back", &["--epochs", "2"]);
    assert_eq!(summary["training"]["epochs"], 2);
    assert!(summary["train_accuracy"].as_f64().unwrap() > 0.0, "{summary}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refusal = |sandbox: &Sandbox, words: &[&str], facts: &[&str]| {
        sandbox.start("coordinator", &[&["baseline"], words].concat()).end().expect_error(facts);
    };
    let convolutions = Sandbox::of_convolutions();
    let expected = ["layers[0].kind = conv: expected dense, for the original Forward-Forward algorithm"];
    refusal(&convolutions, &["forward-forward", Sandbox::CONFIG], &expected);
    let sandbox = Sandbox::new();
    refusal(&sandbox, &["fine-tuning", Sandbox::CONFIG], &["no run directory"]);
    sandbox.run("run", &["--local", "1"]);
    let other =
        ["fine-tuning", Sandbox::CONFIG, "--run", "run", "--out", "other", "--set", "layers.0.lr=0.5"];
    refusal(&sandbox, &other, &["run: found a run of another configuration"]);
    assert!(!sandbox.path("other").exists());
    refusal(
        &sandbox,
        &["back-propagation", Sandbox::CONFIG, "--out", "run"],
        &["holds a run; choose another"],
    );
}
