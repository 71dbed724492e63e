//! Workers of different BLAS kernels agree on one, and a run keeps to its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use proto::address::Address;
use proto::dial::Dialer;
use proto::wire;
use serde_json::Value;
use strata_tests::{Process, Sandbox, Worker, program, until, weights};

/// A kernel of this machine, and the digest of its bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kernel {
    name: String,
    digest: String,
}

/// What the kernel of this name says of itself, if there is one.
fn kernel(name: &str) -> Option<Kernel> {
    let mut child = Command::new(program("worker"));
    let output = child.arg("--self-test-blas").env("OPENBLAS_CORETYPE", name).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let ["kernel", running, digest] = said.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    (running == name).then(|| Kernel { name: name.to_owned(), digest: digest.to_owned() })
}

/// Two kernels of different bits, the faster one first.
fn two_kernels(test: &str) -> Option<[Kernel; 2]> {
    let newest = ["SapphireRapids", "Cooperlake", "SkylakeX"];
    let older = ["Haswell", "Sandybridge", "Nehalem", "Core2", "Prescott", "neoversen1", "armv8"];
    let mut found = newest.into_iter().chain(older).filter_map(kernel);
    let fast = found.next();
    let slow = fast.as_ref().and_then(|fast| found.find(|slow| slow.digest != fast.digest));
    let both = fast.zip(slow).map(|(fast, slow)| [fast, slow]);
    if both.is_none() {
        println!("skipped: {test}: this machine has no two BLAS kernels of different bits");
    }
    both
}

fn worker(sandbox: &Sandbox, kernel: &Kernel) -> Worker {
    sandbox.worker(&["--threads", "1", "--blas-kernel", &kernel.name])
}

/// A worker that remembers, wrongly, to have only kernels whose bits nobody else has.
fn worker_of_other_bits(sandbox: &Sandbox, listen: &str) -> Worker {
    let folder = sandbox.path("other-cache");
    if !folder.exists() {
        let find_out = format!("export XDG_CACHE_HOME={}", folder.display());
        let worker = sandbox.worker_under(&find_out, &["--threads", "1"]);
        sandbox.run("to-find-out", &["--workers", &worker.address]);
        forge(&folder.join("strata"));
    }
    let recall = format!("export XDG_CACHE_HOME={}", folder.display());
    sandbox.worker_under(&recall, &["--threads", "1", "--listen", listen])
}

fn forge(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a worker's cache") {
        let path = entry.unwrap().path();
        let mut remembered: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let kernels = remembered["kernels"].as_object_mut().unwrap();
        assert!(!kernels.is_empty());
        kernels.values_mut().for_each(|digest| *digest = Value::from(format!("0{digest}").replace('"', "")));
        fs::write(&path, remembered.to_string()).unwrap();
    }
}

fn identity(sandbox: &Sandbox, run: &str) -> Value {
    serde_json::from_slice(&sandbox.run_dir(run).read("run.json")).unwrap()
}

fn wait_for(process: &mut Process, sandbox: &Sandbox, reports: usize) {
    until("some reports", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        (sandbox.run_dir("run").reports_on(0) >= reports).then_some(())
    });
}

#[test]
fn workers_of_different_kernels_train_with_the_fastest_that_all_have() {
    let Some([fast, slow]) = two_kernels("workers_of_different_kernels_train_together") else { return };
    let sandbox = Sandbox::new();
    let expected = sandbox.run("expected", &["--local", "1", "--blas-kernel", &fast.name]);
    let mut workers = [&slow, &fast].map(|kernel| worker(&sandbox, kernel));
    let both = workers.each_ref().map(|worker| worker.address.as_str()).join(",");
    let processes = workers.each_ref().map(|worker| worker.process.pid());
    let summary = sandbox.run("run", &["--workers", &both]);
    assert_eq!(summary["workers"], 2);
    assert_eq!(weights(&summary), weights(&expected));
    assert!(summary["blas"].as_str().unwrap().ends_with(&format!(" {}", fast.name)), "{summary}");
    assert_eq!(identity(&sandbox, "run")["blas_digest"], *fast.digest);
    assert_eq!(identity(&sandbox, "expected")["blas_digest"], *fast.digest);
    assert!(workers[0].process.errors().contains(&format!("changing to BLAS kernel {}", fast.name)));
    assert!(!workers[1].process.errors().contains("changing to BLAS kernel"));
    // They have changed in place, and change again for whoever asks for another.
    assert!(workers.iter_mut().all(|worker| worker.process.is_running()));
    assert_eq!(workers.each_ref().map(|worker| worker.process.pid()), processes);
    let slower = sandbox.run("slower", &["--workers", &both, "--blas-kernel", &slow.name]);
    assert!(slower["blas"].as_str().unwrap().ends_with(&format!(" {}", slow.name)), "{slower}");
    assert_ne!(weights(&slower), weights(&expected));
    assert_eq!(workers.each_ref().map(|worker| worker.process.pid()), processes);
}

#[test]
fn a_run_goes_on_with_the_kernel_it_began_with_whatever_workers_start_with() {
    let Some([fast, slow]) = two_kernels("a_run_goes_on_with_the_kernel_it_began_with") else { return };
    let sandbox = Sandbox::new();
    let expected = sandbox.run("expected", &["--local", "1", "--blas-kernel", &slow.name]);
    let began = worker(&sandbox, &slow);
    let words = ["--workers", &began.address, "--blas-kernel", &slow.name];
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &sandbox, 5);
    process.kill();
    let other = worker(&sandbox, &fast);
    let summary = sandbox.run("run", &["--workers", &other.address]);
    assert_eq!(weights(&summary), weights(&expected));
    assert!(summary["blas"].as_str().unwrap().ends_with(&format!(" {}", slow.name)), "{summary}");
}

/// Starts a run on a worker of the first kernel and brings another when it is under way.
fn a_worker_comes(
    sandbox: &Sandbox,
    kernel: &Kernel,
    bring: impl FnOnce(&str) -> Worker,
) -> (Process, Worker, Worker) {
    let first = worker(sandbox, kernel);
    let place = worker(sandbox, kernel);
    let address = place.address.clone();
    drop(place);
    let both = format!("{},{address}", first.address);
    let mut process = sandbox.start_run("run", &["--workers", &both, "--set", "layers.0.epochs=300"]);
    wait_for(&mut process, sandbox, 5);
    let second = bring(&address);
    (process, first, second)
}

#[test]
fn a_worker_that_comes_to_a_run_changes_to_its_kernel() {
    let Some([fast, slow]) = two_kernels("a_worker_that_comes_to_a_run_changes_to_its_kernel") else {
        return;
    };
    let sandbox = Sandbox::new();
    let bring =
        |address: &str| sandbox.worker(&["--threads", "1", "--listen", address, "--blas-kernel", &slow.name]);
    let (mut process, _first, second) = a_worker_comes(&sandbox, &fast, bring);
    until("the second to train", || {
        assert!(process.is_running(), "it came too late: {:?}", process.end());
        second.process.errors().contains("training begins").then_some(())
    });
    assert!(second.process.errors().contains(&format!("changing to BLAS kernel {}", fast.name)));
    process.end().expect_success();
    let words = ["--local", "1", "--set", "layers.0.epochs=300", "--blas-kernel", &fast.name];
    let alone = sandbox.run("alone", &words);
    assert_eq!(weights(&sandbox.run_dir("run").summary()), weights(&alone));
}

#[test]
fn a_worker_that_cannot_have_a_runs_kernel_is_left_out_with_one_warning() {
    let Some([fast, _]) = two_kernels("a_worker_that_cannot_have_a_runs_kernel_is_left_out") else { return };
    let sandbox = Sandbox::new();
    drop(worker_of_other_bits(&sandbox, "127.0.0.1:0"));
    let (mut process, _first, second) =
        a_worker_comes(&sandbox, &fast, |address| worker_of_other_bits(&sandbox, address));
    let named = format!("worker {}", second.address);
    until("a warning", || {
        assert!(process.is_running(), "it came too late: {:?}", process.end());
        process.errors().contains(&named).then_some(())
    });
    let ended = process.end();
    ended.expect_success();
    let warnings: Vec<&str> = ended.errors.lines().filter(|line| line.contains(&named)).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.errors);
    assert!(warnings[0].contains(&fast.name) && warnings[0].contains("going on without it"), "{warnings:?}");
    assert!(!second.process.errors().contains("training begins"));
    assert!(!ended.errors.contains("a worker has come"), "{}", ended.errors);
    assert_eq!(sandbox.run_dir("run").summary()["workers"], 1);
}

#[test]
fn without_a_common_kernel_the_error_says_what_each_worker_has() {
    let Some([fast, slow]) = two_kernels("without_a_common_kernel_the_error_says_what_each_has") else {
        return;
    };
    let sandbox = Sandbox::new();
    let workers = [worker(&sandbox, &slow), worker_of_other_bits(&sandbox, "127.0.0.1:0")];
    let [one, other] = workers.each_ref().map(|worker| worker.address.as_str());
    let ended = sandbox.start_run("run", &["--workers", &format!("{one},{other}")]).end();
    ended.expect_error(&["no BLAS kernel", one, other, &fast.name, &slow.name, "OpenBLAS"]);
    assert_eq!(identity(&sandbox, "run")["blas"], "");
}

#[test]
fn a_run_waits_for_who_may_have_its_kernel() {
    let Some([fast, _]) = two_kernels("a_run_waits_for_who_may_have_its_kernel") else { return };
    let sandbox = Sandbox::new();
    let began = worker(&sandbox, &fast);
    let long = ["--workers", &began.address, "--set", "layers.0.epochs=300"];
    let mut process = sandbox.start_run("run", &long);
    wait_for(&mut process, &sandbox, 5);
    process.kill();
    let address = began.address.clone();
    drop(began);
    let other = worker_of_other_bits(&sandbox, "127.0.0.1:0");
    let both = format!("{},{address}", other.address);
    let words = ["--workers", &both, "--set", "layers.0.epochs=300", "--wait", "60"];
    let mut process = sandbox.start_run("run", &words);
    until("a word about it", || {
        assert!(process.is_running(), "{:?}", process.end());
        let errors = process.errors();
        (errors.contains("waiting for ") && errors.contains("no worker has it")).then_some(())
    });
    let _back = sandbox.worker(&["--threads", "1", "--listen", &address]);
    process.end().expect_success();
    assert_eq!(sandbox.run_dir("run").summary()["workers"], 1);
}

#[test]
fn a_worker_that_is_told_to_end_while_it_changes_ends() {
    let Some([fast, slow]) = two_kernels("a_worker_that_is_told_to_end_while_it_changes_ends") else {
        return;
    };
    let sandbox = Sandbox::new();
    let mut worker = worker(&sandbox, &slow);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dialled = runtime.block_on(Dialer::default().dial(&Address::given(&worker.address)));
    let (connection, _) = dialled.unwrap();
    // A call that does not end keeps it from changing for a while.
    let mut host = connection.client();
    runtime.spawn(async move { host.host_layer(tokio_stream::pending()).await });
    let change = wire::UseKernelRequest { name: fast.name.clone() };
    runtime.block_on(connection.client().use_kernel(change)).unwrap();
    until("its word", || worker.process.errors().contains("changing to BLAS kernel").then_some(()));
    worker.process.pid().signal("TERM");
    worker.process.end().expect_success();
    assert!(worker.process.errors().contains("shutting down"), "{}", worker.process.errors());
}

#[test]
fn an_empty_kernel_is_none_and_the_environments_is_honoured() {
    let sandbox = Sandbox::new();
    for (script, words) in [("export STRATA_BLAS_KERNEL=", &[][..]), (":", &["--blas-kernel", ""])] {
        sandbox.worker_under(script, words);
    }
    let ended = sandbox.start("coordinator", &["--blas-kernel", "", "data", "list"]).end();
    ended.expect_success();
    let Some([_, slow]) = two_kernels("the_environments_kernel_is_honoured") else { return };
    let worker = sandbox.worker_under(&format!("export STRATA_BLAS_KERNEL={}", slow.name), &[]);
    until("its first line of log", || worker.process.errors().contains("is ready").then_some(()));
    assert!(worker.process.errors().contains(&slow.name), "{}", worker.process.errors());
}
