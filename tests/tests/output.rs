//! Output that nobody reads ends no work.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use strata_tests::{Sandbox, program, reference, weights};

#[test]
fn a_worker_whose_output_nobody_reads_serves_all_the_same() {
    let sandbox = Sandbox::new();
    let mut worker = Command::new(program("worker"))
        .args(["--listen", "127.0.0.1:0", "--threads", "1", "--until-stdin-closes"])
        .env("RUST_LOG", "debug")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a worker");
    drop(worker.stderr.take());
    let mut line = String::new();
    BufReader::new(worker.stdout.take().expect("a pipe")).read_line(&mut line).expect("an address");
    let address = line.trim().strip_prefix("listening on ").expect("an address");
    let summary = sandbox.run("run", &["--workers", address]);
    assert_eq!(weights(&summary), weights(&reference().summary));
    assert!(worker.try_wait().expect("a child").is_none(), "it has not ended");
    drop(worker.stdin.take());
    assert!(worker.wait().expect("a child").success());
}

const WORDS: [&str; 4] = ["--local", "1", "--threads", "1"];

#[test]
fn a_coordinator_whose_output_nobody_reads_any_more_runs_to_its_end() {
    let sandbox = Sandbox::new();
    // A pipeline's own status is that of its last command.
    let script = "{ \"$@\" 2>&1; echo $? >status; } | head -n 1";
    let ended = sandbox.start_run_in_shell(script, "run", &WORDS).end();
    assert_eq!(ended.output.lines().count(), 1, "{}", ended.output);
    assert_eq!(fs::read_to_string(sandbox.path("status")).unwrap(), "0\n");
    assert_eq!(weights(&sandbox.run_dir("run").summary()), weights(&reference().summary));
}

#[test]
fn a_coordinator_without_output_runs_to_its_end() {
    let sandbox = Sandbox::new();
    let ended = sandbox.start_run_in_shell("exec \"$@\" >&- 2>&-", "run", &WORDS).end();
    assert_eq!((ended.status.code(), &*ended.output, &*ended.errors), (Some(0), "", ""));
    assert_eq!(weights(&sandbox.run_dir("run").summary()), weights(&reference().summary));
}
