//! What a run has learned leaves it, and says who made it.

use std::fs;
use std::process::Command;

use serde_json::Value;
use strata_tests::{FEW_EPOCHS, Sandbox};

#[test]
fn a_run_is_exported_as_onnx_for_pytorch_and_for_numpy_and_nothing_is_overwritten() {
    for sandbox in [Sandbox::new(), Sandbox::of_convolutions(), Sandbox::of_sequences()] {
        sandbox.run("run", &FEW_EPOCHS);
        let export =
            |words: &[&str]| sandbox.start("coordinator", &[&["export", "run"], words].concat()).end();
        let ended = export(&["--onnx", "network.onnx", "--readout"]);
        ended.expect_success();
        assert!(ended.output.contains("probabilities of 10 classes"), "{}", ended.output);
        export(&["--onnx", "network.onnx"]).expect_error(&["network.onnx", "there already"]);
        let few = export(&["--onnx", "few.onnx", "--layers", "0"]);
        few.expect_success();
        let size = |name: &str| fs::metadata(sandbox.path(name)).unwrap().len();
        assert!(size("few.onnx") < size("network.onnx"));
        export(&["--onnx", "none.onnx", "--layers", "7"]).expect_error(&["layer 7", "indices below 3"]);
        export(&["--npz", "weights.npz"]).expect_success();
        assert!(size("weights.npz") > 1000);
        export(&["--torch", "module", "--readout"]).expect_success();
        let module = fs::read_to_string(sandbox.path("module/model.py")).unwrap();
        let mut python = Command::new("python3");
        match python.args(["-c", "import ast, sys; ast.parse(sys.argv[1])", &module]).status() {
            Ok(status) => assert!(status.success()),
            Err(error) => println!("skipped: whether model.py is Python: {error}"),
        }
        assert!(size("module/model.safetensors") > 1000);
        fs::remove_file(sandbox.path("module/model.safetensors")).unwrap();
        export(&["--torch", "module"]).expect_error(&["module/model.py", "there already"]);
        assert_eq!(fs::read_dir(sandbox.path("module")).unwrap().count(), 1, "half a module is none");
    }
}

#[test]
fn a_run_says_which_program_and_command_began_it_and_that_another_build_goes_on() {
    let sandbox = Sandbox::new();
    let words = [&FEW_EPOCHS[..], &["--out", "run"]].concat();
    sandbox.run("run", &FEW_EPOCHS);
    let path = sandbox.path("run/run.json");
    let identity = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap();
    let begun = identity();
    assert_eq!(begun["version"], env!("CARGO_PKG_VERSION"));
    let command: Vec<&str> = begun["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        command[0].ends_with("coordinator") && command[1..].starts_with(&["run", Sandbox::CONFIG]),
        "{command:?}"
    );
    assert!(begun.get("continued_by").is_none());
    // Another build, whose run is not finished.
    let mut earlier = begun.clone();
    earlier["version"] = "0.0.1".into();
    fs::write(&path, earlier.to_string()).unwrap();
    fs::remove_file(sandbox.path("run/summary.json")).unwrap();
    let ended = sandbox.start("coordinator", &[&["run", Sandbox::CONFIG], &words[..]].concat()).end();
    ended.expect_success();
    assert!(ended.errors.contains("this run was worked on by Strata 0.0.1"), "{}", ended.errors);
    let continued = identity();
    assert_eq!((&continued["version"], &continued["id"]), (&earlier["version"], &begun["id"]));
    assert_eq!(continued["continued_by"][0]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn run_and_eval_print_numbers_for_programs() {
    let sandbox = Sandbox::new();
    let ended = sandbox.start_run("run", &[&FEW_EPOCHS[..], &["--json"]].concat()).end();
    ended.expect_success();
    let printed: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(printed, sandbox.run_dir("run").summary());
    let ended = sandbox.start("coordinator", &["eval", "run", "--threads", "1", "--json"]).end();
    ended.expect_success();
    let readout: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(readout["test_accuracy"], printed["readout"]["test_accuracy"]);
}
