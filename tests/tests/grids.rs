//! Workers that share a layer in a grid of samples and channels give the weights that one gives.

use strata_tests::{Sandbox, addresses, begun, check_killed, wait_for};

/// A convolution that takes pairs, in 16 parts of samples and 16 of channels; two layers about it, in another way each.
const GRID: [&str; 4] = ["--set", "layers.1.block=2", "--set", "layers.2.epochs=1"];

/// All rows and columns of so many workers.
fn grids(workers: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..=workers).filter(move |rows| workers.is_multiple_of(*rows)).map(move |rows| (rows, workers / rows))
}

/// Runs in every grid of these numbers of workers.
fn check(counts: &[usize]) {
    let sandbox = Sandbox::of_convolutions();
    let one = sandbox.undisturbed(&GRID);
    let workers = sandbox.workers(*counts.iter().max().expect("a number"));
    for &count in counts {
        for (rows, columns) in grids(count) {
            let (run, grid) = (format!("run-{rows}x{columns}"), format!("{rows}x{columns}"));
            let before = begun(&workers);
            let some = addresses(&workers[..count]);
            let words = ["--workers", &some, "--shards", &grid];
            sandbox.run(&run, &[&words[..], &GRID].concat());
            sandbox.run_dir(&run).check_same(&one, &grid);
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
    sandbox.check_any_number_of_workers(&["--shards", "16x16"], changes, |_, _| {});
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

#[test]
fn whoever_of_a_grid_dies_costs_the_steps_since_the_checkpoint_and_no_bits() {
    let sandbox = Sandbox::of_convolutions();
    let longer = [&GRID[..], &["--set", "layers.1.epochs=20"]].concat();
    let one = sandbox.undisturbed(&longer);
    for place in 0..6 {
        let name = format!("run-{place}");
        let run = sandbox.run_dir(&name);
        let mut workers = sandbox.workers(6);
        let all = addresses(&workers);
        let words = ["--workers", &all, "--shards", "2x3"];
        let mut process = sandbox.start_run(&name, &[&words[..], &longer].concat());
        wait_for(&mut process, &run, 1, 6);
        let ended = check_killed(process, &run, &mut workers[place], &one);
        assert_eq!(ended.errors.matches("trying again").count(), 1, "{}", ended.errors);
        assert_eq!(run.summary()["workers"], 5);
    }
}
