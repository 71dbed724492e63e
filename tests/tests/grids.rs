//! Workers that share a layer in a grid of samples and channels give the weights that one gives.

use strata_tests::{Process, RunDir, Sandbox, Worker, until, weights};

/// A convolution that takes pairs, in 16 parts of samples and 16 of channels; two layers about it, in another way each.
const GRID: [&str; 4] = ["--set", "layers.1.block=2", "--set", "layers.2.epochs=1"];

fn workers(sandbox: &Sandbox, count: usize) -> Vec<Worker> {
    (0..count).map(|_| sandbox.worker(&["--threads", "1"])).collect()
}

fn list(workers: &[Worker]) -> String {
    workers.iter().map(|worker| worker.address.as_str()).collect::<Vec<_>>().join(",")
}

/// All rows and columns of so many workers.
fn grids(workers: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..=workers).filter(move |rows| workers.is_multiple_of(*rows)).map(move |rows| (rows, workers / rows))
}

/// How often layers have begun to train on these workers.
fn begun(workers: &[Worker]) -> usize {
    let begun = |worker: &Worker| worker.process.errors().matches("training begins").count();
    workers.iter().map(begun).sum()
}

/// Runs in every grid of these numbers of workers.
fn check(counts: &[usize]) {
    let sandbox = Sandbox::of_convolutions();
    let one = sandbox.undisturbed(&GRID);
    let workers = workers(&sandbox, *counts.iter().max().expect("a number"));
    for &count in counts {
        for (rows, columns) in grids(count) {
            let (run, grid) = (format!("run-{rows}x{columns}"), format!("{rows}x{columns}"));
            let before = begun(&workers);
            let some = list(&workers[..count]);
            let words = ["--workers", &some, "--shards", &grid];
            let summary = sandbox.run(&run, &[&words[..], &GRID].concat());
            assert_eq!(weights(&summary), weights(&one.summary), "{grid}");
            assert_eq!(sandbox.run_dir(&run).course(), one.course, "{grid}");
            // The first layer's batches have as many parts as are needed, and so have the third's.
            assert_eq!(begun(&workers) - before, rows.min(50) + count + rows.min(50), "{grid}");
        }
    }
}

#[test]
fn every_grid_of_two_three_and_four_workers_gives_the_weights_of_one() {
    check(&[2, 3, 4]);
}

#[test]
fn every_grid_of_six_and_eight_workers_gives_the_weights_of_one() {
    check(&[6, 8]);
}

#[test]
fn every_grid_of_sixteen_workers_gives_the_weights_of_one() {
    check(&[16]);
}

/// Soon over.
const FEW_EPOCHS: [&str; 6] =
    ["--set", "layers.0.epochs=2", "--set", "layers.1.epochs=2", "--set", "layers.2.epochs=2"];

/// As many workers as can have a part of each layer.
fn check_all_layers(sandbox: &Sandbox, changes: &[&str]) {
    let one = sandbox.undisturbed(changes);
    let workers = workers(sandbox, 16);
    for count in [2, 3, 4, 6, 8, 16] {
        let (run, some) = (format!("run-{count}"), list(&workers[..count]));
        let words = ["--workers", &some, "--shards", "16x16"];
        let summary = sandbox.run(&run, &[&words[..], changes].concat());
        assert_eq!(weights(&summary), weights(&one.summary), "{count} workers");
        assert_eq!(sandbox.run_dir(&run).course(), one.course, "{count} workers");
    }
}

#[test]
fn any_number_of_workers_shares_dense_layers() {
    check_all_layers(&Sandbox::new(), &FEW_EPOCHS);
}

#[test]
fn any_number_of_workers_shares_convolutions() {
    check_all_layers(&Sandbox::of_convolutions(), &GRID);
}

#[test]
fn any_number_of_workers_shares_recurrent_layers() {
    check_all_layers(&Sandbox::of_recordings(), &[]);
}

fn wait_for(process: &mut Process, run: &RunDir, layer: u64, reports: usize) {
    until("some reports", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        (run.reports_on(layer) >= reports).then_some(())
    });
}

#[test]
fn whoever_of_a_grid_dies_costs_the_steps_since_the_checkpoint_and_no_bits() {
    let sandbox = Sandbox::of_convolutions();
    let longer = [&GRID[..], &["--set", "layers.1.epochs=20"]].concat();
    let one = sandbox.undisturbed(&longer);
    for place in 0..6 {
        let name = format!("run-{place}");
        let run = sandbox.run_dir(&name);
        let mut workers = workers(&sandbox, 6);
        let all = list(&workers);
        let words = ["--workers", &all, "--shards", "2x3"];
        let mut process = sandbox.start_run(&name, &[&words[..], &longer].concat());
        wait_for(&mut process, &run, 1, 6);
        workers[place].process.kill();
        let ended = process.end();
        ended.expect_success();
        let lost = format!("worker {}", workers[place].address);
        let line = ended.errors.lines().find(|line| line.contains("trying again from step"));
        let line = line.unwrap_or_else(|| panic!("{}", ended.errors));
        assert!(line.contains(&lost), "{lost} in {line}");
        assert_eq!(ended.errors.matches("trying again").count(), 1, "{}", ended.errors);
        assert_eq!(run.summary()["workers"], 5);
        assert_eq!(weights(&run.summary()), weights(&one.summary));
        assert_eq!(run.course(), one.course);
    }
}
