//! Workers that share a layer give the weights that one gives.

use strata_tests::{Sandbox, Worker, addresses, begun, reference, until, wait_for, weights};

/// Workers with so many threads each: the more, the larger its part.
fn workers(sandbox: &Sandbox, threads: &[&str], cache: &str) -> Vec<Worker> {
    threads.iter().map(|threads| sandbox.worker(&["--threads", threads, "--cache-memory", cache])).collect()
}

fn check(threads: &[&str], cache: &str) {
    let sandbox = Sandbox::new();
    let workers = workers(&sandbox, threads, cache);
    let process = sandbox.start_run("run", &["--workers", &addresses(&workers)]);
    finish_and_compare(&sandbox, process);
    let parts = begun(&workers);
    // The layers have 6, 5 and 4 blocks.
    assert_eq!(parts, [6, 5, 4].map(|blocks: usize| blocks.min(threads.len())).into_iter().sum::<usize>());
}

fn finish_and_compare(sandbox: &Sandbox, mut process: strata_tests::Process) {
    let ended = process.end();
    ended.expect_success();
    let summary = sandbox.run_dir("run").summary();
    assert_eq!(weights(&summary), weights(&reference().summary), "{}", ended.errors);
    assert_eq!(sandbox.run_dir("run").course(), reference().course);
}

#[test]
fn two_three_and_four_workers_share_every_layer() {
    check(&["1", "1"], "1GiB");
    check(&["1", "1", "1"], "0");
    check(&["1", "1", "1", "1"], "400kB");
}

#[test]
fn six_workers_share_what_has_as_many_blocks() {
    check(&["1", "1", "1", "1", "1", "1"], "1GiB");
}

#[test]
fn unequal_workers_have_unequal_parts() {
    check(&["1", "3"], "1GiB");
    check(&["2", "1", "4"], "400kB");
}

#[test]
fn local_workers_share_where_they_are_told_to() {
    let sandbox = Sandbox::new();
    let summary = sandbox.run("run", &["--local", "3", "--threads", "1", "--shards", "2"]);
    assert_eq!(weights(&summary), weights(&reference().summary));
}

#[test]
fn convolutions_are_shared_too() {
    let run = |words: &[&str]| weights(&Sandbox::of_convolutions().run("run", words)).to_owned();
    let one = Sandbox::of_convolutions().undisturbed(&[]).summary;
    let one = weights(&one);
    for workers in ["2", "3"] {
        assert_eq!(
            run(&["--local", workers, "--threads", "1", "--shards", "auto", "--set", "layers.0.shards=2"]),
            one
        );
        assert_eq!(run(&["--local", workers, "--threads", "1", "--shards", "3", "--cache-memory", "0"]), one);
    }
}

/// Each sends the other half of 86 MB, and the totals of its own half.
#[test]
fn sums_of_goodness_may_be_larger_than_a_message() {
    let layer = "layers=[{ name = 'conv', kind = 'conv', units = 2, block = 1, kernel = 1, pairs = 'makes', \
                 transmit = 'relu', sharing = 'channels', negatives = 45, epochs = 1, lr = 0.01, weight_decay = 0.0, \
                 gamma = 1.0, period = 50, theta_pos = 1.0, theta_neg = 1.0, lambda = 0.0 }]";
    let changes = ["--set", "training.batch=600", "--set", layer, "--threads", "1"];
    let run = |words: &[&str]| {
        weights(&Sandbox::of_convolutions().run("run", &[words, &changes].concat())).to_owned()
    };
    assert_eq!(run(&["--local", "2", "--shards", "2"]), run(&["--local", "1"]));
}

/// Its first and third layers are shared by samples.
#[test]
fn unequal_workers_share_samples_and_channels_of_convolutions() {
    let sandbox = Sandbox::of_convolutions();
    let by_channels = ["--set", "layers.1.sharing=channels"];
    let one = sandbox.undisturbed(&by_channels);
    for (run, threads, cache) in
        [("three", &["1", "3", "2"][..], "1GiB"), ("four", &["1"; 4], "0"), ("six", &["1"; 6], "400kB")]
    {
        let workers = workers(&sandbox, threads, cache);
        let all = addresses(&workers);
        let summary = sandbox.run(run, &[&["--workers", &all][..], &by_channels].concat());
        assert_eq!(weights(&summary), weights(&one.summary), "{run}");
        assert_eq!(sandbox.run_dir(run).course(), one.course, "{run}");
        let parts = begun(&workers);
        // The second layer has two blocks.
        assert_eq!(parts, 2 * threads.len() + 2, "{run}");
    }
}

#[test]
fn who_shares_samples_may_die() {
    let sandbox = Sandbox::of_convolutions();
    let longer = ["--set", "layers.0.epochs=10"];
    let undisturbed = sandbox.undisturbed(&longer);
    let mut workers = workers(&sandbox, &["1", "1", "1"], "1GiB");
    let run = sandbox.run_dir("run");
    let mut process = sandbox.start_run("run", &[&["--workers", &addresses(&workers)], &longer[..]].concat());
    wait_for(&mut process, &run, 0, 6);
    workers[1].process.kill();
    let ended = process.end();
    ended.expect_success();
    assert!(ended.errors.contains("going on without it"), "{}", ended.errors);
    assert_eq!(weights(&run.summary()), weights(&undisturbed.summary));
    assert_eq!(run.course(), undisturbed.course);
}

#[test]
fn whoever_of_a_group_dies_the_others_go_on_from_the_last_checkpoint() {
    for index in [0, 1, 2] {
        let sandbox = Sandbox::new();
        let run = sandbox.run_dir("run");
        let mut workers = workers(&sandbox, &["1", "1", "1"], "1GiB");
        let mut process = sandbox.start_run("run", &["--workers", &addresses(&workers)]);
        wait_for(&mut process, &run, 1, 6);
        workers[index].process.kill();
        let ended = process.end();
        ended.expect_success();
        assert!(ended.errors.contains("going on without it"), "{}", ended.errors);
        assert_eq!(weights(&run.summary()), weights(&reference().summary));
        assert_eq!(run.course(), reference().course);
        assert_eq!(run.summary()["workers"], 2);
    }
}

#[test]
fn workers_that_come_take_part_and_one_that_goes_is_done_without() {
    let sandbox = Sandbox::new().measuring();
    let run = sandbox.run_dir("run");
    let longer = ["--set", "layers.0.epochs=200"];
    let undisturbed = sandbox.undisturbed(&longer);
    let [mut first, second] = [(); 2].map(|()| sandbox.worker(&["--threads", "1"]));
    // The second is not there yet when the run begins.
    let address = second.address.clone();
    let mut gone = second.process;
    gone.kill();
    let both = format!("{},{address}", first.address);
    let words = [&["--workers", &both][..], &longer].concat();
    let mut process = sandbox.start_run("run", &words);
    wait_for(&mut process, &run, 0, 5);
    let second = sandbox.worker(&["--threads", "1", "--listen", &address]);
    until("the second to train", || {
        assert!(process.is_running(), "it came too late: {:?}", process.end());
        second.process.errors().contains("training begins").then_some(())
    });
    first.process.kill();
    let ended = process.end();
    ended.expect_success();
    assert!(ended.errors.contains(&format!("{address}: a worker has come")), "{}", ended.errors);
    assert_eq!(weights(&run.summary()), weights(&undisturbed.summary));
    assert_eq!(run.course(), undisturbed.course);
}

#[test]
fn a_killed_coordinator_continues_with_another_number_of_shards() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_dir("run");
    for (shards, layer) in [("3", 0), ("2", 1), ("1", 2)] {
        let mut process = sandbox.start_run("run", &["--local", "3", "--threads", "1", "--shards", shards]);
        wait_for(&mut process, &run, layer, 7);
        process.kill();
    }
    let process = sandbox.start_run("run", &["--local", "2", "--threads", "1", "--shards", "2"]);
    finish_and_compare(&sandbox, process);
}
