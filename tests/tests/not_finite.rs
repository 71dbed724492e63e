//! Numbers that run away end a run at that step, and say where and what to try; nothing that is not finite is kept.

use strata_tests::{Sandbox, reference};

/// Runs the configuration with changes that cannot go well, on one worker and on groups of two and three.
fn check(sandbox: impl Fn() -> Sandbox, changes: &[&str], says: &[&str]) {
    for workers in
        [&["--local", "1"][..], &["--local", "2", "--shards", "2"], &["--local", "3", "--shards", "3"]]
    {
        let sandbox = sandbox();
        let changes = changes.iter().flat_map(|&change| ["--set", change]);
        let words: Vec<&str> = workers.iter().copied().chain(["--threads", "1"]).chain(changes).collect();
        let ended = sandbox.start_run("run", &words).end();
        ended.expect_error(says);
        for wrong in ["trying again", "broke the protocol", "panicked"] {
            assert!(!ended.errors.contains(wrong), "{wrong:?} in {}", ended.errors);
        }
        assert!(!sandbox.run_dir("run").has("summary.json"));
    }
}

#[test]
fn a_dense_layer_that_diverges_is_named_with_step_and_rate() {
    let says = ["layer 0 (`dense1`): goodness is not finite any more in step 1", "try a lower layers.0.lr"];
    check(Sandbox::new, &["layers.0.lr=1e20"], &says);
}

#[test]
fn a_convolution_whose_samples_are_shared_is_named_too() {
    let says = ["layer 0 (`conv1`)", "is not finite any more in step 1", "try a lower layers.0.lr"];
    check(Sandbox::of_convolutions, &["layers.0.lr=1e20"], &says);
}

#[test]
fn half_precision_that_overflows_is_blamed_on_the_layer_that_made_it() {
    let changes = ["wire=f16", "layers.1.lr=1e7", "layers.1.weight_decay=0.0"];
    let says = ["layer 1 (`dense2`) passes on", "half precision ends at 65504: try wire = \"f32\""];
    check(Sandbox::new, &changes, &says);
}

#[test]
fn the_last_good_checkpoint_stays() {
    let sandbox = Sandbox::new();
    // The rate grows a hundredfold every ten steps until it is too high.
    let changes = ["layers.0.gamma=100.0", "layers.0.period=10", "layers.0.epochs=20"];
    let changes: Vec<&str> = changes.iter().flat_map(|&change| ["--set", change]).collect();
    let words = [&["--local", "2", "--shards", "2", "--threads", "1"], &changes[..]].concat();
    let first = sandbox.start_run("run", &words).end();
    first.expect_error(&["layer 0 (`dense1`)", "is not finite any more in step"]);
    let again = sandbox.start_run("run", &words).end();
    again.expect_error(&["layer 0 (`dense1`)", "is not finite any more in step"]);
    assert!(again.errors.contains("dense1: continuing at step"), "{}", again.errors);
}

#[test]
fn a_readout_that_diverges_ends_the_run_and_leaves_its_layers_to_be_read() {
    let sandbox = Sandbox::new();
    let words = ["--local", "1", "--threads", "1"];
    let ended = sandbox.start_run("run", &[&words[..], &["--set", "readout.lr=1e38"]].concat()).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
    ended.expect_error(&["the readout's loss or weights are not finite", "try a smaller readout.lr"]);
    let run = sandbox.run_dir("run");
    assert!(!run.has("summary.json"));
    assert!(run.read("model.safetensors") == reference().model, "the layers are as ever");
    let evaluated = sandbox.start("coordinator", &["eval", "run", "--set", "readout.lr=0.01"]).end();
    evaluated.expect_success();
    let summary = sandbox.run("run", &words);
    assert_eq!(summary["readout"]["test_accuracy"], reference().summary["readout"]["test_accuracy"]);
    let accuracy = 100.0 * summary["readout"]["test_accuracy"].as_f64().unwrap();
    assert!(evaluated.output.contains(&format!("{accuracy:.2} % test accuracy")), "{}", evaluated.output);
}
