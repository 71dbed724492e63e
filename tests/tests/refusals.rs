//! What cannot work is refused with one clear error, and changes nothing.

use std::fs;

use strata_tests::{Sandbox, has_two_kernels, until};

/// A run with these overrides must be refused, with all `facts`, before anything is made.
fn refuse_config(set: &str, facts: &[&str]) {
    let sandbox = Sandbox::new();
    let ended = sandbox.start_run("run", &["--set", set]).end();
    ended.expect_error(&[&[Sandbox::CONFIG], facts].concat());
    assert!(!sandbox.run_dir("run").has(""), "nothing is made");
}

/// A run that was killed once it had a checkpoint of its first layer.
fn interrupted_run(sandbox: &Sandbox, words: &[&str]) {
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", words);
    until("a checkpoint", || {
        assert!(process.is_running(), "{}", process.errors());
        run.has("checkpoint/00.safetensors").then_some(())
    });
    process.kill();
    assert!(run.has("checkpoint/00.safetensors"), "it was killed too late");
}

#[test]
fn a_wrong_type_is_named_with_file_key_and_value() {
    refuse_config("layers.0.lr=fast", &["layers[0].lr", "\"fast\"", "expected a number, such as 0.1"]);
}

#[test]
fn an_unknown_key_is_answered_with_the_known_ones() {
    refuse_config("training.bach=5", &["training.bach", "expected one of", "`batch`"]);
}

#[test]
fn an_unknown_value_is_answered_with_the_known_ones() {
    refuse_config("data.name=cifar", &["data.name", "`cifar`", "fashion-mnist", "iris"]);
}

#[test]
fn an_impossible_value_is_named_with_what_is_possible() {
    refuse_config("training.batch=1", &["training.batch = 1", "expected 2 to 600"]);
    refuse_config("data.held_out=600", &["data.held_out = 600", "expected 0 to 598 of the 600 samples"]);
    refuse_config("training.checkpoint_every=7", &["training.checkpoint_every = 7", "a multiple of"]);
}

#[test]
fn a_file_that_is_no_toml_or_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("broken.toml"), "seed = ").unwrap();
    sandbox.start("coordinator", &["run", "broken.toml"]).end().expect_error(&["broken.toml"]);
    sandbox
        .start("coordinator", &["run", "absent.toml"])
        .end()
        .expect_error(&["absent.toml", "No such file"]);
}

#[test]
fn a_truncated_data_file_is_named_with_both_lengths() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("data/mnist/train-images-idx3-ubyte");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..10_000]).unwrap();
    let expected = format!("ends after 10000 bytes, expected {}", bytes.len());
    sandbox.start_run("run", &[]).end().expect_error(&[file.to_str().unwrap(), &expected]);
    assert!(!sandbox.run_dir("run").has(""), "nothing is made");
}

#[test]
fn a_damaged_frozen_layer_is_named_and_nothing_is_changed() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &[]);
    until("a frozen layer", || run.has("layers/00.safetensors").then_some(()));
    process.kill();
    let file = sandbox.path("run/layers/00.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let before = run.snapshot();
    sandbox.start_run("run", &[]).end().expect_error(&["run/layers/00.safetensors"]);
    assert!(run.snapshot() == before, "nothing has changed");
}

#[test]
fn a_run_directory_of_another_configuration_is_refused_with_the_difference() {
    let sandbox = Sandbox::new();
    interrupted_run(&sandbox, &[]);
    let before = sandbox.run_dir("run").snapshot();
    let ended = sandbox.start_run("run", &["--set", "layers.1.lr=0.5"]).end();
    ended.expect_error(&["run: ", "another configuration", "layers.1.lr is ", " and 0.5 here", "--out"]);
    assert!(sandbox.run_dir("run").snapshot() == before, "nothing has changed");
}

#[test]
fn a_second_coordinator_in_the_same_run_directory_is_refused() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let words = ["--set", "layers.0.epochs=100"];
    let mut first = sandbox.start_run("run", &words);
    until("the first run's reports", || (run.reports_on(0) > 0).then_some(()));
    let second = sandbox.start_run("run", &words).end();
    assert!(first.is_running(), "{}", first.errors());
    second.expect_error(&["run/lock", "another coordinator"]);
    first.end().expect_success();
    assert_eq!(run.summary()["layers"][0]["steps"], 1200);
}

#[test]
fn a_run_keeps_to_its_kernel() {
    if !has_two_kernels("a_run_keeps_to_its_kernel") {
        return;
    }
    let sandbox = Sandbox::new();
    interrupted_run(&sandbox, &["--blas-kernel", "Haswell"]);
    let before = sandbox.run_dir("run").snapshot();
    let ended = sandbox.start_run("run", &["--blas-kernel", "SkylakeX"]).end();
    ended.expect_error(&["Haswell", "SkylakeX", "--blas-kernel"]);
    assert!(sandbox.run_dir("run").snapshot() == before, "nothing has changed");
    let summary = sandbox.run("run", &["--blas-kernel", "Haswell"]);
    assert!(summary["blas"].as_str().unwrap().ends_with(" Haswell"), "{summary}");
}

#[test]
fn a_kernel_that_there_is_not_is_refused() {
    let sandbox = Sandbox::new();
    let ended = sandbox.start("worker", &["--listen", "127.0.0.1:0", "--blas-kernel", "Nonsense"]).end();
    assert!(!ended.status.success());
    assert!(ended.errors.contains("Nonsense"), "{}", ended.errors);
}

#[test]
fn a_worker_is_open_to_others_only_when_told_so() {
    let sandbox = Sandbox::new();
    let refused = sandbox.start("worker", &["--listen", "0.0.0.0:0"]).end();
    assert!(!refused.status.success(), "{}", refused.output);
    assert_eq!(refused.output, "");
    assert!(
        refused.errors.contains("0.0.0.0") && refused.errors.contains("--insecure"),
        "{}",
        refused.errors
    );
    let open = sandbox.worker(&["--listen", "0.0.0.0:0", "--insecure"]);
    assert!(open.address.starts_with("0.0.0.0:"), "{}", open.address);
}

#[test]
fn an_address_where_nobody_listens_is_named() {
    let sandbox = Sandbox::new();
    let ended = sandbox.start_run("run", &["--workers", "127.0.0.1:1", "--wait", "1"]).end();
    ended.expect_error(&["no worker was to be had within 1 s", "127.0.0.1:1", "refused"]);
}

#[test]
fn a_name_without_addresses_is_named() {
    let sandbox = Sandbox::new();
    let ended = sandbox.start_run("run", &["--workers", "dns://nowhere.invalid:1", "--wait", "1"]).end();
    ended.expect_error(&["no worker was to be had within 1 s", "nowhere.invalid:1"]);
}

#[test]
fn a_folder_without_a_run_cannot_be_evaluated() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.start("coordinator", &["eval", "empty"]).end().expect_error(&["empty", "no run directory"]);
    assert!(!sandbox.run_dir("empty").has("lock"), "nothing is made");
}
