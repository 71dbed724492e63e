//! Data of one's own: runs on arrays and tables, which are continued like others.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;
use strata_tests::{Sandbox, random, until, weights};

const WORDS: [&str; 4] = ["--local", "1", "--threads", "1"];
const COLUMNS: usize = 12;
const SAMPLES: usize = 240;
const CLASSES: [&str; 3] = ["ash", "birch", "cedar"];

const LAYERS: &str = r#"
[training]
batch = 20
block = 16
report_every = 4
checkpoint_every = 4

[[layers]]
name = "dense1"
kind = "dense"
units = 48
pairs = "makes"
transmit = "triangle"
epochs = 200
lr = 0.003
weight_decay = 1e-4
gamma = 1.0
period = 50
theta_pos = 4.0
theta_neg = 6.0
lambda = 1e-4

[readout]
lr = 0.01
batch = 20
epochs = 40
dropout = 0.0
"#;

/// Rows of numbers: each class has a pattern of its own, in noise.
fn rows() -> Vec<([f32; COLUMNS], usize)> {
    let mut random = random(5);
    let patterns: [[f32; COLUMNS]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| random(200) as f32));
    let row = |sample: usize| {
        let class = sample % CLASSES.len();
        (std::array::from_fn(|column| patterns[class][column] + random(80) as f32), class)
    };
    (0..SAMPLES).map(row).collect()
}

/// A NumPy array.
fn npy(descr: &str, axes: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {axes}, }}");
    let header = format!("{header:<117}\n");
    let length = (header.len() as u16).to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), elements].concat()
}

/// A sandbox whose configuration reads what `data` says.
fn sandbox(data: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = format!("seed = 3\n\n[data]\n{data}\n{LAYERS}");
    fs::write(sandbox.path(Sandbox::CONFIG), config).unwrap();
    sandbox
}

fn write_arrays(folder: &Path) {
    let rows = rows();
    let numbers: Vec<u8> =
        rows.iter().flat_map(|(row, _)| row.iter().flat_map(|value| value.to_le_bytes())).collect();
    let labels: Vec<u8> = rows.iter().map(|&(_, class)| class as u8).collect();
    fs::write(folder.join("x.npy"), npy("<f4", &format!("({SAMPLES}, {COLUMNS})"), &numbers)).unwrap();
    fs::write(folder.join("y.npy"), npy("|u1", &format!("({SAMPLES},)"), &labels)).unwrap();
}

/// A table with a column of names, one value that is missing, and rows of `first`.
fn write_table(file: &Path, first: f32) {
    let mut table = "tree,kind".to_owned();
    (0..COLUMNS).for_each(|column| write!(table, ",c{column}").unwrap());
    for (sample, (mut row, class)) in rows().into_iter().enumerate() {
        if sample == 0 {
            row[0] = first;
        }
        write!(table, "\nt{sample},{}", CLASSES[class]).unwrap();
        for (column, value) in row.iter().enumerate() {
            let missing = (sample, column) == (7, 3);
            if missing { table.push_str(",NA") } else { write!(table, ",{value}").unwrap() }
        }
    }
    fs::write(file, table).unwrap();
}

/// Kills a run in the directory `out` at its first checkpoint.
fn interrupt(sandbox: &Sandbox, out: &str) {
    let run = sandbox.run_dir(out);
    let mut process = sandbox.start_run(out, &WORDS);
    until("a checkpoint", || {
        assert!(process.is_running() || run.has("checkpoint/00.safetensors"), "{:?}", process.errors());
        run.has("checkpoint/00.safetensors").then_some(())
    });
    process.kill();
}

/// The run to its end at once, and once more after it was killed at a checkpoint; returns the summary and `input.json`.
fn run_and_resume(sandbox: &Sandbox) -> (Value, Value) {
    let whole = sandbox.run("whole", &WORDS);
    interrupt(sandbox, "run");
    let summary = sandbox.run("run", &WORDS);
    assert_eq!(weights(&summary), weights(&whole));
    assert_eq!(summary["readout"]["test_accuracy"], whole["readout"]["test_accuracy"]);
    let input = fs::read(sandbox.path("run/input.json")).unwrap();
    (summary, serde_json::from_slice(&input).unwrap())
}

#[test]
fn a_run_on_an_array_learns_its_classes_and_is_continued() {
    let sandbox = sandbox("path = \"x.npy\"\nlabels = \"y.npy\"\ntest = 0.25");
    write_arrays(&sandbox.path(""));
    let (summary, input) = run_and_resume(&sandbox);
    assert_eq!(summary["layers"][0]["steps"], 200 * (180 / 20));
    assert!(summary["readout"]["test_accuracy"].as_f64().unwrap() > 0.9, "{}", summary["readout"]);
    assert_eq!(input["classes"], serde_json::json!(["0", "1", "2"]));
    assert_eq!(input["kind"]["numbers"]["moments"].as_array().unwrap().len(), COLUMNS);
    let read =
        |file: &str| -> Value { serde_json::from_slice(&fs::read(sandbox.path(file)).unwrap()).unwrap() };
    let manifest = read("run/manifest.json");
    let files: Vec<_> = manifest["files"].as_array().unwrap().iter().map(|file| &file["path"]).collect();
    assert_eq!(files, ["x.npy", "y.npy"]);
    assert_eq!(read("run/run.json")["data_sha256"], manifest["sha256"]);
}

#[test]
fn a_run_on_a_table_learns_its_classes_is_continued_and_refuses_another_table() {
    let data = "path = \"trees.csv\"\ntable = { label = \"kind\", name = \"tree\", missing = \"mean\" }";
    let sandbox = sandbox(data);
    let table = sandbox.path("trees.csv");
    write_table(&table, 1.0);
    let (summary, input) = run_and_resume(&sandbox);
    assert!(summary["readout"]["test_accuracy"].as_f64().unwrap() > 0.9, "{}", summary["readout"]);
    assert_eq!(input["classes"], serde_json::json!(CLASSES));
    let numbers = &input["kind"]["numbers"];
    assert_eq!(
        (&numbers["columns"][11], &numbers["table"]["label"]),
        (&Value::from("c11"), &Value::from("kind"))
    );
    interrupt(&sandbox, "changed");
    write_table(&table, 99.0);
    sandbox
        .start_run("changed", &WORDS)
        .end()
        .expect_error(&["manifest.json: the run began with other data: trees.csv has another content"]);
    fs::write(&table, "tree,kind,c0\nt0,ash,1\nt1,birch\n").unwrap();
    sandbox
        .start_run("other", &WORDS)
        .end()
        .expect_error(&["trees.csv: found 2 cells in line 3, expected 3"]);
}

#[test]
fn broken_recordings_are_left_out_of_a_run_that_may_and_listed() {
    let sandbox = Sandbox::of_recordings();
    let config = fs::read_to_string(sandbox.path(Sandbox::CONFIG)).unwrap();
    let config = config
        .replace("name = \"wav-folder\"\nfolder = \"spoken\"", "path = \"data/spoken\"\nsplit = \"random\"");
    fs::write(sandbox.path(Sandbox::CONFIG), config).unwrap();
    fs::write(sandbox.path("data/spoken/one/zoe_0.wav"), "RIFF").unwrap();
    sandbox
        .start_run("strict", &WORDS)
        .end()
        .expect_error(&["spoken/one/zoe_0.wav: found a file that ends after 4 bytes"]);
    let ended = sandbox.start_run("run", &[&WORDS[..], &["--set", "data.skip_broken=true"]].concat()).end();
    ended.expect_success();
    assert!(
        ended.errors.contains("left out: spoken/one/zoe_0.wav: found a file that ends"),
        "{}",
        ended.errors
    );
    let manifest: Value =
        serde_json::from_slice(&fs::read(sandbox.path("run/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["left_out"][0]["path"], "spoken/one/zoe_0.wav");
    assert_eq!(manifest["files"].as_array().unwrap().len(), 96);
}

#[test]
fn a_plan_of_ones_own_data_counts_what_is_learned_from() {
    let sandbox = sandbox("path = \"x.npy\"\nlabels = \"y.npy\"");
    write_arrays(&sandbox.path(""));
    let ended = sandbox.start("coordinator", &["plan", Sandbox::CONFIG]).end();
    ended.expect_success();
    assert!(ended.output.starts_with("x.npy: 216 training samples"), "{}", ended.output);
}
