//! Data that memory has no room for: decoded once, into a file, and read as they are needed.

use std::fs;

use strata_tests::{Sandbox, until, weights, write_bitmaps};

/// Bytes of a decoded image.
const IMAGE: u64 = 64 * 64;

const CONFIG: &str = r#"
seed = 3

[data]
path = "images"
images = { height = 64, width = 64, channels = 1 }

[training]
batch = 200
block = 8
report_every = 10
checkpoint_every = 1000

[[layers]]
name = "dense1"
kind = "dense"
units = 16
pairs = "makes"
transmit = "triangle"
epochs = 1
lr = 0.003
weight_decay = 1e-4
gamma = 1.0
period = 50
theta_pos = 4.0
theta_neg = 6.0
lambda = 1e-4
"#;

fn sandbox(images: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    write_bitmaps(&sandbox.path("images"), images);
    fs::write(sandbox.path(Sandbox::CONFIG), CONFIG).expect("a file");
    sandbox
}

/// A small memory for samples, and a folder for those that it has no room for.
const NO_ROOM: [&str; 8] =
    ["--data-memory", "1KiB", "--data-cache", "cache", "--threads", "1", "--cache-memory", "8MiB"];

/// The files of decoded samples, and whatever else is in their folder but locks.
fn kept(sandbox: &Sandbox) -> Vec<String> {
    let Ok(folders) = fs::read_dir(sandbox.path("cache")) else { return Vec::new() };
    let files = folders.flat_map(|folder| fs::read_dir(folder.expect("an entry").path()).expect("a folder"));
    let names = files.map(|file| file.expect("an entry").file_name().into_string().expect("a name"));
    names.filter(|name| name != ".fetch.lock").collect()
}

#[test]
fn weights_are_the_same_and_the_file_serves_later_runs() {
    let sandbox = sandbox(600);
    let in_memory = sandbox.run("in-memory", &["--threads", "1"]);
    let first = sandbox.start_run("first", &NO_ROOM).end();
    first.expect_success();
    assert!(first.errors.contains("images: 600 samples of 2.5 MB together"), "{}", first.errors);
    assert!(first.errors.contains("as they are needed"), "{}", first.errors);
    assert!(first.errors.contains("images, decoded"), "{}", first.errors);
    let second = sandbox.start_run("second", &NO_ROOM).end();
    second.expect_success();
    assert!(!second.errors.contains("images, decoded"), "it is there already: {}", second.errors);
    for out in ["first", "second"] {
        let run = sandbox.run_dir(out);
        assert_eq!(weights(&run.summary()), weights(&in_memory));
        let manifest = |out: &str| fs::read(sandbox.path(out).join("manifest.json")).expect("a manifest");
        assert_eq!(manifest(out), manifest("in-memory"));
    }
    assert_eq!(kept(&sandbox), ["samples"]);
    let plan = sandbox
        .start("coordinator", &["plan", Sandbox::CONFIG, "--data-memory", "1KiB", "--data-cache", "cache"]);
    let plan = { plan }.end();
    plan.expect_success();
    assert!(plan.errors.contains("as they are needed"), "{}", plan.errors);
}

#[test]
fn the_coordinators_memory_does_not_grow_with_the_number_of_images() {
    let peak = |images: usize| {
        let sandbox = sandbox(images);
        let mut process = sandbox.start_run("run", &NO_ROOM);
        let mut peak = 0;
        until("the end", || {
            peak = process.peak_rss_bytes_so_far().unwrap_or(0).max(peak);
            (!process.is_running()).then_some(())
        });
        process.end().expect_success();
        peak
    };
    let (few, many) = (peak(12_000), peak(36_000));
    // Pieces of 32 MB are decoded at a time, of either. Of each image there are its name and what its file held.
    let more = 24_000 * IMAGE;
    assert!(many < few + more / 3, "{few} bytes for few, {many} for many, which have {more} more");
}

#[test]
fn two_runs_at_once_make_it_once() {
    let sandbox = sandbox(3_000);
    let both = ["one", "two"].map(|out| sandbox.start_run(out, &NO_ROOM));
    let ended = both.map(|mut process| process.end());
    ended.iter().for_each(strata_tests::Ended::expect_success);
    let made = ended.iter().filter(|ended| ended.errors.contains("images, decoded")).count();
    assert_eq!(made, 1, "{} {}", ended[0].errors, ended[1].errors);
    assert_eq!(weights(&sandbox.run_dir("one").summary()), weights(&sandbox.run_dir("two").summary()));
    assert_eq!(kept(&sandbox), ["samples"]);
}

#[test]
fn a_disk_that_is_full_is_one_error_and_nothing_is_left() {
    let sandbox = sandbox(600);
    // No file may be longer, as on a disk that has no more space.
    let ended =
        sandbox.start_run_in_shell("trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "run", &NO_ROOM).end();
    ended.expect_error(&[
        "File too large",
        "2.5 MB are needed for decoded samples",
        "--data-cache names another",
    ]);
    assert_eq!(kept(&sandbox), Vec::<String>::new());
    sandbox.run("run", &NO_ROOM);
}
