//! SIGTERM and SIGINT: a checkpoint, exit status 75, and the same command continues to the same weights.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines")]

use std::process::Command;
use std::time::{Duration, Instant};

use strata_tests::{Pid, Process, RunDir, Sandbox, program, random, reference, until, weights};

const WORDS: [&str; 4] = ["--local", "2", "--threads", "1"];
const CONTINUE_ME: Option<i32> = Some(75);

/// Sends a signal to a run once `moment` has come.
fn signal_at(process: &mut Process, run: &RunDir, signal: &str, moment: impl Fn(&RunDir) -> bool) -> Pid {
    until("the moment to stop the coordinator", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        moment(run).then_some(())
    });
    let pid = process.pid();
    pid.signal(signal);
    pid
}

/// Stops a run at a moment of its training, which leaves a checkpoint; returns what it said.
fn stop(sandbox: &Sandbox, words: &[&str], signal: &str, moment: impl Fn(&RunDir) -> bool) -> String {
    let mut process = sandbox.start_run("run", words);
    let workers = until("local workers", || Some(process.children()).filter(|workers| workers.len() == 2));
    // What an earlier sitting reported is there before this one is at work.
    until("layers in training", || process.errors().contains(" on worker ").then_some(()));
    signal_at(&mut process, &sandbox.run_dir("run"), signal, moment);
    let ended = process.end();
    assert_eq!(ended.status.code(), CONTINUE_ME, "{}", ended.errors);
    assert!(ended.errors.contains("the same command continues"), "{}", ended.errors);
    until("the workers of a stopped run to end", || {
        (!workers.iter().any(|worker| worker.is_running())).then_some(())
    });
    ended.errors
}

/// The step that a run says it has stopped after.
fn step_of(said: &str) -> u64 {
    let (_, rest) = said.split_once("stopped after step ").unwrap_or_else(|| panic!("{said}"));
    rest.split(' ').next().and_then(|step| step.parse().ok()).expect("a step")
}

/// Continues a run to its end and compares it with the uninterrupted one.
fn finish_and_compare(sandbox: &Sandbox, words: &[&str]) -> String {
    let ended = sandbox.start_run("run", words).end();
    ended.expect_success();
    let run = sandbox.run_dir("run");
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
    assert_eq!(run.course(), reference().course);
    ended.errors
}

#[test]
fn a_signal_in_training_costs_no_step() {
    let sandbox = Sandbox::new();
    let said = stop(&sandbox, &WORDS, "TERM", |run| run.reports_on(0) >= 3);
    let step = step_of(&said);
    assert!(step >= 15, "{said}");
    let said = finish_and_compare(&sandbox, &WORDS);
    assert!(said.contains(&format!("dense1: continuing at step {step} of")), "{said}");
}

/// Where a run stands by its metrics: the last report's layer and step.
fn standing(run: &RunDir) -> Option<(u64, u64)> {
    let last = run.metrics().pop()?;
    Some((last["layer"].as_u64()?, last["step"].as_u64()?))
}

#[test]
fn signals_again_and_again_cost_no_step() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut last = None;
    for (signal, more) in [("INT", 1), ("TERM", 3), ("INT", 6)] {
        // A stop comes some steps after what brought it about, so what is waited for is counted from there.
        let reports = run.metrics().len() + more;
        let said = stop(&sandbox, &WORDS, signal, |run| run.metrics().len() >= reports);
        let now = standing(&run);
        assert!(now > last, "{now:?} after {last:?}: {said}");
        last = now;
    }
    stop(&sandbox, &WORDS, "TERM", |run| run.reports_on(2) >= 9);
    finish_and_compare(&sandbox, &WORDS);
}

/// A signal at each of 25 moments of a run that look random; were a step lost, its report would be gone.
fn signals_at_random_moments(seed: u64) {
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1"]);
    let words =
        ["--workers", &worker.address, "--set", "training.report_every=1", "--set", "layers.0.epochs=2000"];
    let run = sandbox.run_dir("run");
    let (mut random, mut stopped, mut last) = (random(seed), 0, None);
    for round in 0..25 {
        let mut process = sandbox.start_run("run", &words);
        let (began, moment) = (Instant::now(), Duration::from_millis(random(300)));
        until("the moment to stop the coordinator", || (began.elapsed() >= moment).then_some(()));
        process.pid().signal(if round % 2 == 0 { "TERM" } else { "INT" });
        let ended = process.end();
        let now = standing(&run);
        assert!(now >= last, "round {round}: it stands at {now:?} after {last:?}");
        last = now;
        match ended.status.code() {
            CONTINUE_ME if ended.errors.contains("stopped after step ") => {
                let step = step_of(&ended.errors);
                assert_eq!(now.map_or(0, |(_, step)| step), step, "round {round}: {}", ended.errors);
                stopped += 1;
            }
            CONTINUE_ME => {}
            // It came before the program had begun to listen to signals.
            None => assert!(ended.errors.is_empty(), "round {round}: {}", ended.errors),
            code => panic!("round {round}: status {code:?}: {}", ended.errors),
        }
    }
    assert!(stopped >= 10, "{stopped} of 25 were in training");
    let steps = last.expect("it has trained").1 as usize;
    let mut alone = sandbox.start_run("alone", &[&["--local", "1", "--threads", "1"], &words[2..]].concat());
    until("as many steps", || {
        assert!(alone.is_running(), "{:?}", alone.end());
        (sandbox.run_dir("alone").reports_on(0) >= steps).then_some(())
    });
    let course = |name: &str| sandbox.run_dir(name).course().into_iter().take(steps).collect::<Vec<_>>();
    let without_bytes = |course: Vec<serde_json::Value>| -> Vec<_> {
        course.into_iter().map(|line| (line["step"].clone(), line["loss"].clone())).collect()
    };
    assert_eq!(without_bytes(course("run")), without_bytes(course("alone")));
}

#[test]
fn signals_at_random_moments_cost_no_step() {
    signals_at_random_moments(5);
}

#[test]
fn signals_at_other_random_moments_cost_no_step() {
    signals_at_random_moments(7);
}

#[test]
fn layers_that_train_together_stop_at_the_same_step() {
    let joint = ["training.schedule=joint", "data.views=1", "layers.2.epochs=21", "layers.0.epochs=21"];
    let changes: Vec<&str> = joint.iter().flat_map(|set| ["--set", set]).collect();
    let words = [&WORDS[..], &changes].concat();
    let sandbox = Sandbox::new();
    let uninterrupted = sandbox.undisturbed(&changes);
    let mut steps = Vec::new();
    for reports in [4, 40, 130] {
        steps.push(step_of(&stop(&sandbox, &words, "TERM", |run| run.metrics().len() >= reports)));
    }
    assert!(steps.is_sorted(), "{steps:?}");
    let ended = sandbox.start_run("run", &words).end();
    ended.expect_success();
    assert!(ended.errors.contains(&format!(": continuing at step {} of", steps[2])), "{}", ended.errors);
    let run = sandbox.run_dir("run");
    assert_eq!(weights(&run.summary()), weights(&uninterrupted.summary));
    let in_order = |mut course: Vec<serde_json::Value>| {
        course.sort_by_key(|line| (line["layer"].as_u64(), line["step"].as_u64()));
        course
    };
    assert_eq!(in_order(run.course()), in_order(uninterrupted.course));
}

#[test]
fn a_signal_while_no_worker_is_there_or_in_the_readout_ends_the_run_at_once() {
    let sandbox = Sandbox::new();
    let alone = ["--workers", "127.0.0.1:1"];
    let mut process = sandbox.start_run("run", &alone);
    signal_at(&mut process, &sandbox.run_dir("run"), "TERM", |run| run.has("run.json"));
    assert_eq!(process.end().status.code(), CONTINUE_ME);
    let words = [&WORDS[..], &["--set", "readout.epochs=100000"]].concat();
    let mut process = sandbox.start_run("long", &words);
    signal_at(&mut process, &sandbox.run_dir("long"), "INT", |run| run.has("model.safetensors"));
    let ended = process.end();
    assert_eq!(ended.status.code(), CONTINUE_ME, "{}", ended.errors);
    assert!(ended.errors.contains("the same command continues"), "{}", ended.errors);
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &WORDS);
    let workers = until("local workers", || Some(process.children()).filter(|workers| workers.len() == 2));
    until("a report", || (run.reports_on(0) >= 1).then_some(()));
    // A worker that is halted keeps the run from its checkpoint.
    for worker in &workers {
        worker.signal("STOP");
    }
    let pid = process.pid();
    pid.signal("TERM");
    until("word of the first signal", || process.errors().contains("a second signal").then_some(()));
    assert!(process.is_running());
    pid.signal("TERM");
    assert_eq!(process.end().status.code(), Some(143));
    for worker in &workers {
        worker.signal("CONT");
    }
    until("its workers to end", || (!workers.iter().any(|worker| worker.is_running())).then_some(()));
    finish_and_compare(&sandbox, &WORDS);
}

/// A program as the first process of a namespace of its own, where signals that it does not take do nothing.
fn first_process(sandbox: &Sandbox, name: &str, words: &[&str], log: &str) -> Option<Process> {
    let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let can = Command::new("unshare").args(namespace).arg("true").output();
    if !can.is_ok_and(|tried| tried.status.success()) {
        println!("skipped: {log}: no namespaces of processes here");
        return None;
    }
    let mut command = Command::new("unshare");
    Some(sandbox.spawn(log, command.args(namespace).arg(program(name)).args(words)))
}

#[test]
fn the_first_process_of_a_container_stops_as_any_other() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    let words = [&["run", Sandbox::CONFIG, "--out", "run"], &WORDS[..]].concat();
    let Some(mut container) = first_process(&sandbox, "coordinator", &words, "contained") else { return };
    let coordinator = until("the coordinator", || container.children().first().copied());
    until("reports", || (run.reports_on(0) >= 2).then_some(()));
    coordinator.signal("TERM");
    let ended = container.end();
    assert_eq!(ended.status.code(), CONTINUE_ME, "{}", ended.errors);
    assert!(step_of(&ended.errors) >= 10);
    finish_and_compare(&sandbox, &WORDS);
}

#[test]
fn a_worker_that_is_the_first_process_of_a_container_ends_on_a_signal() {
    let sandbox = Sandbox::new();
    let words = ["--listen", "127.0.0.1:0"];
    let Some(mut container) = first_process(&sandbox, "worker", &words, "contained") else { return };
    until("its address", || container.output().contains("listening on ").then_some(()));
    until("the worker", || container.children().first().copied()).signal("INT");
    assert_eq!(container.end().status.code(), Some(0));
}
