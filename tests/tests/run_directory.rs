//! What is kept on disk survives damage where it can, names it where it cannot, and is not touched by those who read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use strata_tests::{RunDir, Sandbox, reference, until, weights};

const WORDS: [&str; 4] = ["--local", "1", "--threads", "1"];

/// Kills a run once `moment` has come.
fn interrupted(sandbox: &Sandbox, words: &[&str], moment: impl Fn(&RunDir) -> bool) {
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &[&WORDS, words].concat());
    until("the moment to kill the coordinator", || {
        assert!(process.is_running(), "the run ended early: {}", process.errors());
        moment(&run).then_some(())
    });
    process.kill();
    assert!(!run.has("summary.json"), "it was killed too late");
}

/// A file with a bit flipped in its middle, and in its header's step, cut in two, and empty.
fn damaged(whole: &[u8]) -> [Vec<u8>; 4] {
    let field = b"\"step\":\"";
    let step = whole.windows(field.len()).position(|part| part == field).unwrap() + field.len();
    let flipped = |place: usize| {
        let mut bytes = whole.to_vec();
        bytes[place] ^= 1;
        bytes
    };
    [flipped(whole.len() / 2), flipped(step), whole[..whole.len() / 2].to_vec(), Vec::new()]
}

/// Damages the last checkpoint of an interrupted run in every way; from the one before, all must come to `expected`.
fn goes_on_from_the_checkpoint_before(words: &[&str], name: &str, expected: &str) {
    let sandbox = Sandbox::new();
    let file = format!("checkpoint/{name}.safetensors");
    let previous = format!("checkpoint/{name}.previous.safetensors");
    interrupted(&sandbox, words, |run| run.has(&previous) && run.has(&file));
    let whole = sandbox.run_dir("run").read(&file);
    for (index, damaged) in damaged(&whole).iter().enumerate() {
        let out = format!("run-{index}");
        sandbox.run_dir("run").copy_to(&sandbox.path(&out));
        fs::write(sandbox.path(&out).join(&file), damaged).unwrap();
        let ended = sandbox.start_run(&out, &[&WORDS, words].concat()).end();
        ended.expect_success();
        // Its worker may have something to say of connections that end.
        let of_checkpoints = |line: &&str| line.contains("WARN") && line.contains("checkpoint");
        let warnings: Vec<&str> = ended.errors.lines().filter(of_checkpoints).collect();
        assert_eq!(warnings.len(), 1, "{}", ended.errors);
        for fact in [format!("{out}/{file}: "), "going on from step ".to_owned(), format!("{out}/{previous}")]
        {
            assert!(warnings[0].contains(&fact), "{fact:?} in {}", warnings[0]);
        }
        assert_eq!(weights(&sandbox.run_dir(&out).summary()), expected);
    }
}

#[test]
fn a_damaged_checkpoint_costs_steps_and_no_layer() {
    goes_on_from_the_checkpoint_before(&[], "00", weights(&reference().summary));
}

#[test]
fn a_damaged_checkpoint_of_layers_that_train_together_costs_steps_only() {
    let joint = ["--set", "training.schedule=joint", "--set", "data.views=1"];
    let undisturbed = Sandbox::new().undisturbed(&joint);
    goes_on_from_the_checkpoint_before(&joint, "joint", weights(&undisturbed.summary));
}

#[test]
fn two_damaged_checkpoints_are_named_once_and_nothing_is_changed() {
    let sandbox = Sandbox::new();
    let [file, previous] = ["checkpoint/00.safetensors", "checkpoint/00.previous.safetensors"];
    interrupted(&sandbox, &[], |run| run.has(previous) && run.has(file));
    let run = sandbox.run_dir("run");
    for name in [file, previous] {
        fs::write(run.0.join(name), &run.read(name)[..100]).unwrap();
    }
    let before = run.snapshot();
    let ended = sandbox.start_run("run", &WORDS).end();
    ended.expect_error(&["run/checkpoint/00.safetensors", "remove the file", "00.previous.safetensors"]);
    assert_eq!(ended.errors.matches("not a safetensors file").count(), 1, "{}", ended.errors);
    assert!(run.snapshot() == before, "nothing has changed");
    // What the error advises works.
    for name in [file, previous] {
        fs::remove_file(run.0.join(name)).unwrap();
    }
    assert_eq!(weights(&sandbox.run("run", &WORDS)), weights(&reference().summary));
}

#[test]
fn a_configuration_is_compared_by_value_and_what_changes_no_weights_may_change() {
    let sandbox = Sandbox::new();
    interrupted(&sandbox, &[], |run| run.reports_on(0) >= 14 && run.has("checkpoint/00.safetensors"));
    let run = sandbox.run_dir("run");
    let config = run.0.join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let edited = format!("# the first try\n{}", text.replace("held_out = 0\n", ""));
    fs::write(&config, edited.trim_end()).unwrap();
    let changed = ["--set", "training.report_every=10", "--set", "layers.0.shards=1"];
    let ended = sandbox.start_run("run", &[&WORDS[..], &changed].concat()).end();
    ended.expect_success();
    assert!(ended.errors.contains("training.report_every is 5 there and 10 here"), "{}", ended.errors);
    assert!(ended.errors.contains("dense1: continuing at step "), "{}", ended.errors);
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
    assert!(fs::read_to_string(&config).unwrap().contains("report_every = 10\n"));
    // Every tenth step, and every fifth of those before the change.
    let steps: Vec<u64> = run.metrics().iter().map(|line| line["step"].as_u64().unwrap()).collect();
    let (first, rest) = steps.split_at(steps.iter().position(|step| *step == 240).unwrap());
    assert!(first.is_sorted() && first.contains(&5) && (1..=24).all(|step| steps.contains(&(10 * step))));
    assert!(rest.iter().all(|step| step % 10 == 0 || *step == 264 || *step == 384), "{rest:?}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named_with_what_to_do() {
    let sandbox = Sandbox::new();
    interrupted(&sandbox, &[], |run| run.has("checkpoint/00.safetensors"));
    fs::write(sandbox.path("run/config.toml"), "seed = 1\n[da").unwrap();
    for words in [&["run", Sandbox::CONFIG, "--out", "run"][..], &["eval", "run"]] {
        let ended = sandbox.start("coordinator", words).end();
        ended.expect_error(&["run/config.toml: "]);
        // After the line of the file that TOML shows.
        assert!(ended.errors.contains("mend it, or choose another directory"), "{}", ended.errors);
    }
}

/// Every file and folder, with when it was changed.
fn times(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::from([(folder.to_owned(), fs::metadata(folder).unwrap().modified().unwrap())]);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(times(&path));
        } else {
            let changed = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path, changed);
        }
    }
    found
}

#[test]
fn evaluation_writes_nothing_and_two_at_once_are_not_in_each_others_way() {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    let run = sandbox.run_dir("run");
    assert!(!run.has("lock"));
    let before = times(&run.0);
    let mut both = [0, 1].map(|_| sandbox.start("coordinator", &["eval", "run"]));
    for process in &mut both {
        process.end().expect_success();
    }
    assert_eq!(times(&run.0), before);
}

#[test]
fn what_is_frozen_is_evaluated_while_the_run_goes_on() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &[&WORDS[..], &["--set", "layers.1.epochs=3000"]].concat());
    until("a frozen layer", || run.has("layers/00.safetensors").then_some(()));
    let ended = sandbox.start("coordinator", &["eval", "run", "--threads", "1"]).end();
    assert!(process.is_running(), "{}", process.errors());
    ended.expect_success();
    assert!(ended.output.starts_with("readout of 96 features: "), "{}", ended.output);
}

#[test]
fn a_damaged_summary_is_made_anew_from_the_frozen_layers() {
    let sandbox = Sandbox::new();
    let whole = sandbox.finished("run");
    let file = sandbox.path("run/summary.json");
    for damaged in [&b""[..], b"{\"dataset\": ", b"\xff\xfe"] {
        fs::write(&file, damaged).unwrap();
        let ended = sandbox.start_run("run", &WORDS).end();
        ended.expect_success();
        assert!(
            ended.errors.contains("run/summary.json: not the JSON that it should be"),
            "{}",
            ended.errors
        );
        assert!(!ended.errors.contains("continuing at step"), "{}", ended.errors);
        let again = sandbox.run_dir("run").summary();
        assert_eq!(weights(&again), weights(&whole));
        assert_eq!(again["layers"], whole["layers"]);
        assert_eq!(again["readout"]["test_accuracy"], whole["readout"]["test_accuracy"]);
    }
}

#[test]
fn a_damaged_identity_of_a_run_that_has_trained_is_named_with_what_to_do() {
    let sandbox = Sandbox::new();
    interrupted(&sandbox, &[], |run| run.has("checkpoint/00.safetensors"));
    let file = sandbox.path("run/run.json");
    for damaged in [&b""[..], b"{\"id\": \"a\", \"bl", b"\xff", b"{\"id\": \"a\", \"blas\": null}"] {
        fs::write(&file, damaged).unwrap();
        let before = sandbox.run_dir("run").snapshot();
        let ended = sandbox.start_run("run", &WORDS).end();
        ended.expect_error(&["run/run.json: not the JSON", "remove the file", "BLAS kernel"]);
        assert!(sandbox.run_dir("run").snapshot() == before, "nothing has changed");
    }
    // What the error advises works.
    fs::remove_file(&file).unwrap();
    assert_eq!(weights(&sandbox.run("run", &WORDS)), weights(&reference().summary));
}

#[test]
fn damaged_lines_of_metrics_are_dropped_with_a_warning() {
    let sandbox = Sandbox::new();
    interrupted(&sandbox, &[], |run| run.reports_on(0) >= 9 && run.has("checkpoint/00.safetensors"));
    let file = sandbox.path("run/metrics.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    bytes[3] = 0xff;
    fs::write(&file, bytes).unwrap();
    let ended = sandbox.start_run("run", &WORDS).end();
    ended.expect_success();
    assert!(ended.errors.contains("run/metrics.jsonl: 1 line(s)"), "{}", ended.errors);
    let run = sandbox.run_dir("run");
    assert_eq!(run.course(), reference().course[1..]);
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
}
