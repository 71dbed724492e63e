//! A worker that is told to stop has its work taken over, and costs no step.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines")]

use std::time::{Duration, Instant};

use strata_tests::{RunDir, Sandbox, Wire, Worker, addresses, random, reference, until, wait_for, weights};

/// No checkpoint but those that somebody asks for.
const SELDOM: [&str; 2] = ["--set", "training.checkpoint_every=1000000"];

fn workers<const N: usize>(sandbox: &Sandbox) -> [Worker; N] {
    [(); N].map(|()| sandbox.worker(&["--threads", "1"]))
}

/// Tells a worker to stop, and waits until it has.
fn stop(worker: &mut Worker) {
    worker.process.pid().signal("TERM");
    let ended = worker.process.end();
    ended.expect_success();
    assert!(ended.errors.contains("leaving: nothing new begins here"), "{}", ended.errors);
    assert!(!ended.errors.contains("is cut off"), "{}", ended.errors);
}

/// Has the worker at `index` of three leave while `layer` trains, shared by `shards`.
fn leave(shards: &str, index: usize, layer: u64) {
    let sandbox = Sandbox::new();
    let mut workers = workers::<3>(&sandbox);
    let longer = format!("layers.{layer}.epochs=100");
    let changes = [&["--set", &longer][..], &SELDOM].concat();
    let undisturbed = sandbox.undisturbed(&changes);
    let all = addresses(&workers);
    let mut process =
        sandbox.start_run("run", &[&["--workers", &all, "--shards", shards], &changes[..]].concat());
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, layer, 5);
    stop(&mut workers[index]);
    let ended = process.end();
    ended.expect_success();
    let left = format!("worker {} leaves; going on without it from step ", workers[index].address);
    assert!(ended.errors.contains(&left), "{left:?} in {}", ended.errors);
    assert!(!ended.errors.contains("trying again"), "{}", ended.errors);
    assert_eq!(run.summary()["workers"], 2);
    assert_eq!(weights(&run.summary()), weights(&undisturbed.summary));
    assert_eq!(run.course(), undisturbed.course);
}

#[test]
fn who_trains_alone_leaves() {
    leave("1", 0, 0);
}

#[test]
fn who_transforms_leaves() {
    // The third trains the third layer, the others transform for it.
    leave("1", 1, 2);
}

#[test]
fn whoever_of_a_group_leaves_the_others_go_on() {
    for index in [0, 1, 2] {
        leave("auto", index, 1);
    }
}

#[test]
fn of_layers_that_train_together_one_loses_its_worker() {
    let sandbox = Sandbox::new();
    let mut workers = workers::<2>(&sandbox);
    let joint = ["training.schedule=joint", "data.views=1", "layers.0.epochs=60", "layers.1.epochs=60"];
    let changes: Vec<&str> = joint.iter().flat_map(|set| ["--set", set]).chain(SELDOM).collect();
    let undisturbed = sandbox.undisturbed(&changes);
    let all = addresses(&workers);
    let mut process = sandbox.start_run("run", &[&["--workers", &all][..], &changes].concat());
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 0, 5);
    stop(&mut workers[1]);
    let ended = process.end();
    ended.expect_success();
    assert!(ended.errors.contains(" leaves; going on without it from step "), "{}", ended.errors);
    assert!(!ended.errors.contains("trying again"), "{}", ended.errors);
    assert_eq!(weights(&run.summary()), weights(&undisturbed.summary));
}

#[test]
fn whoever_shares_one_of_several_layers_leaves() {
    let sandbox = Sandbox::of_convolutions();
    let joint = ["training.schedule=joint", "layers.0.epochs=40", "layers.1.epochs=40", "layers.2.epochs=40"];
    let changes: Vec<&str> = joint.iter().flat_map(|set| ["--set", set]).chain(SELDOM).collect();
    let undisturbed = sandbox.undisturbed(&changes);
    let mut workers = workers::<6>(&sandbox);
    let mut process =
        sandbox.start_run("run", &[&["--workers", &addresses(&workers)][..], &changes].concat());
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 2, 5);
    stop(&mut workers[1]);
    let ended = process.end();
    ended.expect_success();
    assert!(ended.errors.contains(" leaves; going on without it from step "), "{}", ended.errors);
    assert!(!ended.errors.contains("trying again"), "{}", ended.errors);
    assert_eq!(weights(&run.summary()), weights(&undisturbed.summary));
}

#[test]
fn the_only_worker_leaves_and_another_takes_its_place() {
    let sandbox = Sandbox::new();
    let [mut worker] = workers::<1>(&sandbox);
    let changes = [&["--set", "layers.0.epochs=100"][..], &SELDOM].concat();
    let undisturbed = sandbox.undisturbed(&changes);
    let mut process = sandbox.start_run("run", &[&["--workers", &worker.address], &changes[..]].concat());
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 0, 5);
    stop(&mut worker);
    let _next = sandbox.worker(&["--threads", "2", "--listen", &worker.address]);
    let ended = process.end();
    ended.expect_success();
    assert!(ended.errors.contains("dense1: continuing at step "), "{}", ended.errors);
    assert_eq!(weights(&run.summary()), weights(&undisturbed.summary));
    assert_eq!(run.course(), undisturbed.course);
}

#[test]
fn who_leaves_while_features_are_computed_has_the_others_finish_them() {
    let sandbox = Sandbox::new();
    // More than a worker has under way at a time.
    sandbox.write_samples(20_000);
    let mut workers = workers::<2>(&sandbox);
    let run = reference().run.0.to_str().expect("a path in UTF-8");
    let eval = |words: &[&str]| {
        let readout = ["--set", "readout.epochs=1"];
        sandbox.start("coordinator", &[&["--log-format", "json", "eval", run], words, &readout].concat())
    };
    // All but the seconds.
    let measured = |output: &str| output.rsplit_once(", ").expect("seconds").0.to_owned();
    let ended = eval(&["--local", "1", "--threads", "1"]).end();
    ended.expect_success();
    let expected = measured(&ended.output);
    for leaver in [0, 1] {
        let wires = [&workers[0], &workers[1]].map(|worker| Wire::slow(&worker.address, 4_000_000));
        let mut process = eval(&["--workers", &[&wires[0].address[..], &wires[1].address].join(",")]);
        until("features that are computed", || {
            assert!(process.is_running(), "{:?}", process.end());
            process.errors().contains("features_started").then_some(())
        });
        stop(&mut workers[leaver]);
        assert!(process.is_running(), "it left too late: {:?}", process.end());
        let ended = process.end();
        ended.expect_success();
        assert_eq!(measured(&ended.output), expected);
        workers[leaver] = sandbox.worker(&["--threads", "1"]);
    }
}

#[test]
fn where_all_leave_while_features_are_computed_the_run_waits_for_others() {
    let sandbox = Sandbox::new();
    sandbox.write_samples(6_000);
    let mut worker = sandbox.worker(&["--threads", "1"]);
    let changes = ["--set", "layers.0.epochs=1", "--set", "layers.1.epochs=1", "--set", "layers.2.epochs=1"];
    let readout = ["--set", "readout.epochs=1", "--retries", "1"];
    let wire = Wire::slow(&worker.address, 1_500_000);
    let words = [&["--log-format", "json"][..], &["run", Sandbox::CONFIG, "--out", "run"]].concat();
    let workers = ["--workers", &wire.address];
    let mut process = sandbox.start("coordinator", &[&words[..], &changes, &readout, &workers].concat());
    until("features that are computed", || {
        assert!(process.is_running(), "{:?}", process.end());
        process.errors().contains("features_started").then_some(())
    });
    stop(&mut worker);
    let _next = sandbox.worker(&["--threads", "1", "--listen", &worker.address]);
    let ended = process.end();
    ended.expect_success();
    assert!(
        ended.errors.contains("worker_left") && !ended.errors.contains("worker_lost"),
        "{}",
        ended.errors
    );
}

/// Its coordinator cannot hear that it leaves.
#[test]
fn a_worker_leaves_without_its_coordinator_in_the_end() {
    let sandbox = Sandbox::new();
    let mut worker = sandbox.worker(&["--threads", "1", "--grace", "1"]);
    let mut process =
        sandbox.start_run("run", &["--workers", &worker.address, "--set", "layers.0.epochs=400"]);
    wait_for(&mut process, &sandbox.run_dir("run"), 0, 5);
    process.pid().signal("STOP");
    worker.process.pid().signal("TERM");
    let ended = worker.process.end();
    ended.expect_success();
    assert!(ended.errors.contains("is cut off after 1 s"), "{}", ended.errors);
}

/// Where a run stands: the last report, by layer and step.
fn standing(run: &RunDir) -> (u64, u64) {
    let number = |line: &serde_json::Value, key: &str| line[key].as_u64().expect("a number");
    run.metrics().last().map_or((0, 0), |line| (number(line, "layer"), number(line, "step")))
}

/// Workers leave at 50 moments and come back, every other time before anybody has trained again. Were a step lost, its report
/// would be gone for a while.
#[test]
fn workers_that_leave_at_any_moment_cost_no_step() {
    let sandbox = Sandbox::new();
    let mut workers = workers::<2>(&sandbox);
    let changes = ["--set", "layers.0.epochs=3000", "--set", "training.report_every=1"];
    let changes = [&changes[..], &SELDOM].concat();
    let all = addresses(&workers);
    let mut process = sandbox.start_run("run", &[&["--workers", &all], &changes[..]].concat());
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 0, 5);
    let (mut random, mut last, mut index) = (random(11), (0, 0), 0);
    for round in 0..50 {
        // While one is away the other trains, so it is that one that leaves in training.
        index = if round % 2 == 0 { 1 - index } else { random(2) as usize };
        let before = last;
        let mut went_on = |what, done: &mut dyn FnMut((u64, u64)) -> bool| {
            until(what, || {
                assert!(process.is_running(), "in round {round}: {:?}", process.end());
                let now = standing(&run);
                assert!(
                    now >= last,
                    "round {round}: the run went back from {last:?} to {now:?}: {}",
                    process.errors()
                );
                last = now;
                done(now).then_some(())
            });
        };
        if round % 2 == 0 {
            went_on("a step since somebody left", &mut |now| now > before);
        }
        let (began, pause) = (Instant::now(), Duration::from_millis(random(60)));
        let leaver = &mut workers[index].process;
        leaver.pid().signal("TERM");
        went_on("its end, and a moment more", &mut |_| !leaver.is_running() && began.elapsed() >= pause);
        let address = workers[index].address.clone();
        let ended = workers[index].process.end();
        // One that is just executing itself anew with another kernel has nothing to leave, and may know no signals yet.
        if !ended.errors.contains("changing to BLAS kernel") {
            ended.expect_success();
        }
        workers[index] = sandbox.worker(&["--threads", "1", "--listen", &address]);
    }
    assert!(process.is_running(), "all of that was in training");
    let said = process.errors();
    assert!(said.matches(" leaves; going on").count() >= 10, "{said}");
    assert!(!said.contains("is cut off"), "{said}");
    let step = standing(&run).1;
    process.kill();
    let alone = sandbox.start_run("alone", &[&["--local", "1", "--threads", "1"], &changes[..]].concat());
    let (mut alone, run_alone) = (alone, sandbox.run_dir("alone"));
    wait_for(&mut alone, &run_alone, 0, step as usize);
    let courses = run.course().into_iter().zip(run_alone.course());
    let compared: Vec<_> = courses.take(step as usize - 1).collect();
    assert_eq!(compared.len() as u64, step - 1);
    for (disturbed, undisturbed) in compared {
        assert_eq!(disturbed, undisturbed);
    }
}
