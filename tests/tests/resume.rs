//! A run that was killed continues with the same command, and ends as if it had not been.

use serde_json::Value;
use strata_tests::{Process, RunDir, Sandbox, reference, until, weights};

const WORDS: [&str; 4] = ["--local", "2", "--threads", "1"];

/// Kills a run once `moment` has come; returns when its workers have ended by themselves.
fn interrupt(run: &RunDir, mut process: Process, moment: impl Fn(&RunDir) -> bool) {
    let workers = until("local workers", || Some(process.children()).filter(|workers| !workers.is_empty()));
    until("the moment to kill the coordinator", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        moment(run).then_some(())
    });
    process.kill();
    assert!(!run.has("summary.json"), "it was killed too late");
    until("the workers of a killed coordinator to end", || {
        (!workers.iter().any(|worker| worker.is_running())).then_some(())
    });
}

/// Continues a run to its end and compares it with the uninterrupted one.
fn finish_and_compare(sandbox: &Sandbox, words: &[&str]) -> Value {
    let summary = sandbox.run("run", words);
    let run = sandbox.run_dir("run");
    assert_eq!(weights(&summary), weights(&reference().summary));
    assert!(run.read("model.safetensors") == reference().model, "the models are equal");
    // No step is missing or there twice, and every report is the same.
    assert_eq!(run.course(), reference().course);
    let bytes_sent = |layer: usize| summary["layers"][layer]["bytes_sent"].as_u64();
    assert!((0..3).all(|layer| bytes_sent(layer) > Some(0)));
    summary
}

fn check(moment: impl Fn(&RunDir) -> bool) {
    let sandbox = Sandbox::new();
    interrupt(&sandbox.run_dir("run"), sandbox.start_run("run", &WORDS), moment);
    let summary = finish_and_compare(&sandbox, &WORDS);
    assert_eq!(summary["readout"]["test_accuracy"], reference().summary["readout"]["test_accuracy"]);
}

#[test]
fn killed_before_the_first_checkpoint() {
    check(|run| run.reports_on(0) >= 1);
}

#[test]
fn killed_when_a_checkpoint_appears() {
    check(|run| run.has("checkpoint/00.safetensors"));
}

#[test]
fn killed_some_steps_after_a_checkpoint() {
    check(|run| run.reports_on(0) >= 14);
}

#[test]
fn killed_between_two_layers() {
    check(|run| run.has("layers/00.safetensors"));
}

#[test]
fn killed_in_a_layer_that_takes_pairs() {
    check(|run| run.reports_on(1) >= 9);
}

#[test]
fn killed_in_a_layer_whose_activations_are_streamed() {
    check(|run| run.reports_on(2) >= 9);
}

#[test]
fn killed_during_the_readout() {
    // A readout that is long enough to be met; weights do not depend on it.
    let words = [&WORDS[..], &["--set", "readout.epochs=1000"]].concat();
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    interrupt(&run, sandbox.start_run("run", &words), |run| run.has("model.safetensors"));
    finish_and_compare(&sandbox, &words);
}

#[test]
fn killed_again_and_again() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    for reports in [2, 6, 30, 70, 120] {
        interrupt(&run, sandbox.start_run("run", &WORDS), |run| run.metrics().len() >= reports);
    }
    finish_and_compare(&sandbox, &WORDS);
}

#[test]
fn continued_with_another_number_of_workers_and_other_memory() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let words = ["--local", "1", "--cache-memory", "0"];
    interrupt(&run, sandbox.start_run("run", &words), |run| run.reports_on(0) >= 9);
    interrupt(&run, sandbox.start_run("run", &WORDS), |run| run.reports_on(2) >= 5);
    let worker = sandbox.worker(&["--threads", "2", "--cache-memory", "400kB"]);
    finish_and_compare(&sandbox, &["--workers", &worker.address]);
}

#[test]
fn a_checkpoint_is_continued_from_and_not_begun_anew() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    interrupt(&run, sandbox.start_run("run", &WORDS), |run| {
        run.reports_on(1) >= 9 && run.has("checkpoint/01.safetensors")
    });
    let ended = sandbox.start_run("run", &WORDS).end();
    ended.expect_success();
    assert!(ended.errors.contains("continuing after 1 frozen layer(s)"), "{}", ended.errors);
    assert!(ended.errors.contains("dense2: continuing at step "), "{}", ended.errors);
    assert!(!ended.errors.contains("dense1: "), "{}", ended.errors);
}

#[test]
fn a_finished_run_is_reported_as_finished_and_left_alone() {
    let sandbox = Sandbox::new();
    let summary = sandbox.finished("run");
    let run = sandbox.run_dir("run");
    let before = run.snapshot();
    let ended = sandbox.start_run("run", &WORDS).end();
    ended.expect_success();
    assert!(ended.errors.contains("this run is finished"), "{}", ended.errors);
    assert!(ended.output.contains(weights(&summary)), "{}", ended.output);
    assert!(run.snapshot() == before, "nothing has changed");
}
