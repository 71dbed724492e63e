//! Workers that compute without an end, or whose connection is cut one way: given up in time, and the run goes on.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines")]

use std::time::{Duration, Instant};

use strata_tests::{
    Direction, Process, RunDir, Sandbox, Wire, Worker, program, reference, until, wait_for, weights,
};

/// Gives up who is silent for three seconds ...
const IMPATIENT: [&str; 2] = ["--silence", "3"];
/// ... and a second later at the latest.
const IN_TIME: Duration = Duration::from_secs(4);

/// Reports after every step.
const EVERY_STEP: [&str; 2] = ["--set", "training.report_every=1"];

fn list(workers: &[&str]) -> String {
    workers.join(",")
}

/// Waits until a run says `fact`, which must be in time.
fn given_up(process: &mut Process, fact: &str) {
    let began = Instant::now();
    until(fact, || {
        let errors = process.errors();
        assert!(process.is_running() || errors.contains(fact), "{:?}", process.end());
        errors.contains(fact).then_some(())
    });
    assert!(began.elapsed() < IN_TIME, "given up after {:?}: {}", began.elapsed(), process.errors());
}

fn finish_and_compare(mut process: Process, run: &RunDir, workers: u64) {
    process.end().expect_success();
    assert_eq!(weights(&run.summary()), weights(&reference().summary));
    assert_eq!(run.summary()["workers"], workers);
}

/// It is not told how long the coordinator waits.
fn stuck_in(sandbox: &Sandbox, step: &str) -> Worker {
    sandbox.worker(&["--threads", "1", "--hang-in-step", step])
}

#[test]
fn a_worker_that_computes_without_an_end_is_given_up() {
    let sandbox = Sandbox::new();
    let (stuck, other) = (stuck_in(&sandbox, "7"), sandbox.worker(&["--threads", "1"]));
    let both = list(&[&stuck.address, &other.address]);
    let words = [&["--shards", "1", "--workers", &both][..], &IMPATIENT, &EVERY_STEP].concat();
    let mut process = sandbox.start_run("run", &words);
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 0, 7);
    let fact = format!(
        "worker {}: it has computed for 3 s without an end, while it trained dense1, after step 7",
        stuck.address
    );
    given_up(&mut process, &fact);
    finish_and_compare(process, &run, 1);
}

#[test]
fn one_of_a_group_that_computes_without_an_end_is_named_and_done_without() {
    for place in [0, 1, 2] {
        let sandbox = Sandbox::new();
        let mut workers: Vec<Worker> = (0..2).map(|_| sandbox.worker(&["--threads", "1"])).collect();
        workers.insert(place, stuck_in(&sandbox, "7"));
        let addresses: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
        let all = list(&addresses);
        let mut process =
            sandbox.start_run("run", &[&["--workers", &all][..], &IMPATIENT, &EVERY_STEP].concat());
        let run = sandbox.run_dir("run");
        wait_for(&mut process, &run, 0, 7);
        given_up(&mut process, "it has computed for 3 s without an end");
        let ended = process.end();
        ended.expect_success();
        let stuck = format!("worker {}", addresses[place]);
        let line = ended.errors.lines().find(|line| line.contains("without an end")).expect("it is there");
        assert!(line.contains(&stuck), "{stuck} in {line}");
        assert_eq!(ended.errors.matches("trying again").count(), 1, "{}", ended.errors);
        assert_eq!(weights(&run.summary()), weights(&reference().summary));
        assert_eq!(run.summary()["workers"], 2);
    }
}

/// The first process hangs, those after it do not.
#[test]
fn a_local_worker_that_computes_without_an_end_is_started_again() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let script = sandbox.path("worker.sh");
    let (worker, marker) = (program("worker"), sandbox.path("hangs"));
    let (worker, marker) = (worker.display(), marker.display());
    let text = format!(
        "#!/bin/sh\nif mkdir '{marker}' 2>&-; then exec '{worker}' \"$@\" --hang-in-step 7; fi\nexec '{worker}' \"$@\"\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["--local", "1", "--threads", "1", "--worker-program", script.to_str().unwrap()];
    let ended = sandbox.start_run("run", &[&words[..], &IMPATIENT].concat()).end();
    ended.expect_success();
    assert!(ended.errors.contains("without an end"), "{}", ended.errors);
    assert_eq!(weights(&sandbox.run_dir("run").summary()), weights(&reference().summary));
}

/// A run of two workers that share layers, or not, of which the way to one is cut.
fn cut(direction: Direction, shards: &str) {
    let sandbox = Sandbox::new();
    let [one, two] = [(); 2].map(|()| sandbox.worker(&[&["--threads", "1"], &IMPATIENT[..]].concat()));
    let wires = [&one, &two].map(|worker| Wire::to(&worker.address));
    let both = list(&[&wires[0].address, &wires[1].address]);
    let words = [&["--workers", &both, "--shards", shards][..], &IMPATIENT, &EVERY_STEP].concat();
    let mut process = sandbox.start_run("run", &words);
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 0, 7);
    // Where it is shared, the second is reached by the first alone.
    let place = usize::from(shards != "1");
    wires[place].cut(direction);
    given_up(&mut process, &format!("worker {}", wires[place].address));
    given_up(&mut process, "trying again from step ");
    finish_and_compare(process, &run, 1);
}

#[test]
fn a_worker_that_hears_and_is_not_heard_is_given_up() {
    cut(Direction::Back, "1");
    cut(Direction::Back, "2");
}

#[test]
fn a_worker_that_is_heard_and_does_not_hear_is_given_up() {
    cut(Direction::There, "1");
    cut(Direction::There, "2");
}

/// A run of two workers that share layers, or not, of which one is stopped for good.
fn stopped(place: usize, shards: &str) {
    let sandbox = Sandbox::new();
    let workers = [(); 2].map(|()| sandbox.worker(&[&["--threads", "1"], &IMPATIENT[..]].concat()));
    let both = list(&[&workers[0].address, &workers[1].address]);
    let words = [&["--workers", &both, "--shards", shards][..], &IMPATIENT, &EVERY_STEP].concat();
    let mut process = sandbox.start_run("run", &words);
    let run = sandbox.run_dir("run");
    wait_for(&mut process, &run, 0, 7);
    workers[place].process.pid().signal("STOP");
    given_up(&mut process, &format!("worker {}", workers[place].address));
    given_up(&mut process, "trying again from step ");
    finish_and_compare(process, &run, 1);
    workers[place].process.pid().signal("CONT");
}

#[test]
fn a_worker_that_is_stopped_is_given_up() {
    stopped(0, "1");
}

#[test]
fn one_of_a_group_that_is_stopped_is_given_up() {
    stopped(0, "2");
    stopped(1, "2");
}

/// It is stopped most of the time, as by a neighbour on its machine that needs the processor.
#[test]
fn a_worker_that_the_others_wait_for_is_named() {
    let sandbox = Sandbox::new();
    let workers = [(); 2].map(|()| sandbox.worker(&["--threads", "1"]));
    let both = list(&[&workers[0].address, &workers[1].address]);
    let words = ["--workers", &both, "--set", "layers.0.epochs=2000"];
    let mut process = sandbox.start_run("run", &[&words[..], &EVERY_STEP].concat());
    wait_for(&mut process, &sandbox.run_dir("run"), 0, 7);
    let slow = format!("worker {} is slow: it computes ", workers[1].address);
    until(&slow, || {
        assert!(process.is_running(), "{:?}", process.end());
        workers[1].process.pid().signal("STOP");
        std::thread::sleep(Duration::from_millis(20));
        workers[1].process.pid().signal("CONT");
        std::thread::sleep(Duration::from_millis(2));
        process.errors().contains(&slow).then_some(())
    });
    let said = process.errors();
    let line = said.lines().find(|line| line.contains(&slow)).expect("it is there");
    assert!(line.contains("s of each step of dense1, the others "), "{line}");
    process.kill();
}
