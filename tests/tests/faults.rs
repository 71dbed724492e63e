//! A lost worker costs time and nothing else.

use strata_tests::{Process, RunDir, Sandbox, addresses, reference, until, wait_for, weights};

/// Waits for the end and compares with the undisturbed run.
fn finish_and_compare(mut process: Process, run: &RunDir, facts: &[&str]) {
    let ended = process.end();
    ended.expect_success();
    for fact in facts {
        assert!(ended.errors.contains(fact), "{fact:?} in {}", ended.errors);
    }
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
    assert_eq!(run.course(), reference().course);
}

/// Of two local workers kills one while `layer` is trained, for long enough that it is met at work; the
/// coordinator must say which one failed, and what it was doing.
fn kill_a_local_worker(layer: u64, index: usize, doing: &str) {
    let sandbox = Sandbox::new();
    let longer = format!("layers.{layer}.epochs=100");
    let words = ["--local", "2", "--threads", "1", "--set", &longer];
    let undisturbed = sandbox.undisturbed(&["--set", &longer]);
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &run, layer, 5);
    let workers = process.children();
    assert_eq!(workers.len(), 2);
    workers[index].kill();
    let ended = process.end();
    ended.expect_success();
    let restart = format!("local worker {index} ended");
    for fact in ["worker 127.0.0.1:", doing, &restart, "trying again from step"] {
        assert!(ended.errors.contains(fact), "{fact:?} in {}", ended.errors);
    }
    let summary = run.summary();
    assert_eq!(weights(&summary), weights(&undisturbed.summary));
    assert_eq!(run.course(), undisturbed.course);
    assert_eq!(summary["workers"], 2);
}

#[test]
fn a_local_worker_that_trains_is_killed_and_started_again() {
    kill_a_local_worker(0, 0, "while it trained dense1, after step ");
}

#[test]
fn a_local_worker_that_transforms_is_killed_and_started_again() {
    // Layer 2 goes to the first worker; the second transforms for it.
    kill_a_local_worker(2, 1, "while it transformed samples");
}

#[test]
fn a_local_worker_that_has_nothing_to_do_is_killed_and_replaced() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &["--local", "2", "--threads", "1"]);
    wait_for(&mut process, &run, 0, 5);
    process.children()[1].kill();
    finish_and_compare(process, &run, &["local worker 1 ended"]);
}

#[test]
fn of_two_running_workers_one_is_lost_for_good() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let [mut one, two] = [(); 2].map(|()| sandbox.worker(&["--threads", "1"]));
    let mut process = sandbox.start_run("run", &["--workers", &addresses([&one, &two])]);
    wait_for(&mut process, &run, 0, 5);
    one.process.kill();
    finish_and_compare(process, &run, &[&one.address, "going on without it"]);
    assert_eq!(run.summary()["workers"], 1);
}

#[test]
fn the_only_worker_is_killed_and_comes_back_on_its_port() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut worker = sandbox.worker(&["--threads", "1"]);
    let mut process = sandbox.start_run("run", &["--workers", &worker.address]);
    wait_for(&mut process, &run, 0, 5);
    worker.process.kill();
    let again = sandbox.worker(&["--threads", "1", "--listen", &worker.address]);
    wait_for(&mut process, &run, 2, 5);
    worker = again;
    worker.process.kill();
    let _again = sandbox.worker(&["--threads", "2", "--listen", &worker.address]);
    finish_and_compare(process, &run, &["trying again from step"]);
}

#[test]
fn running_workers_outlive_a_killed_coordinator_and_serve_the_next() {
    let sandbox = Sandbox::new();
    let [one, two] = [(); 2].map(|()| sandbox.worker(&["--threads", "1"]));
    let both = addresses([&one, &two]);
    for layer in [0, 2] {
        let other = format!("other{layer}");
        let mut killed = sandbox.start_run(&other, &["--workers", &both, "--set", "seed=7"]);
        wait_for(&mut killed, &sandbox.run_dir(&other), layer, 3);
        killed.kill();
        let run = format!("run{layer}");
        let process = sandbox.start_run(&run, &["--workers", &both]);
        finish_and_compare(process, &sandbox.run_dir(&run), &[]);
    }
}

#[test]
fn a_worker_in_use_refuses_a_second_run_and_finishes_the_first() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let worker = sandbox.worker(&["--threads", "1"]);
    let mut process = sandbox.start_run("run", &["--workers", &worker.address]);
    wait_for(&mut process, &run, 0, 2);
    let mut second = sandbox.start_run("second", &["--workers", &worker.address, "--wait", "0"]);
    second.end().expect_error(&["to be had within 0 s", &worker.address, "is training for run `"]);
    finish_and_compare(process, &run, &[]);
}

#[test]
fn without_any_worker_left_the_run_ends_with_a_clear_error() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut worker = sandbox.worker(&["--threads", "1"]);
    let words = ["--workers", &worker.address, "--wait", "1"];
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &run, 0, 9);
    until("a checkpoint", || run.has("checkpoint/00.safetensors").then_some(()));
    worker.process.kill();
    process.end().expect_error(&["no worker was to be had within 1 s", &worker.address]);
    // Nothing is lost.
    let _again = sandbox.worker(&["--listen", &worker.address]);
    finish_and_compare(sandbox.start_run("run", &words), &run, &["dense1: continuing at step"]);
}
