//! What cannot be written whole is said in one line that names it, and nothing of it stays.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

use strata_tests::Sandbox;

/// What lies in the sandbox.
fn files(sandbox: &Sandbox) -> BTreeSet<OsString> {
    let entries = fs::read_dir(sandbox.path(".")).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name()).collect()
}

/// A command on a disk on which no file may have more than so many bytes ends so, and leaves nothing.
fn check(sandbox: &Sandbox, bytes: u64, command: &str, says: &str) {
    let before = files(sandbox);
    let words: Vec<&str> = command.split_whitespace().collect();
    sandbox.start_on_a_full_disk(bytes, &words).end().expect_error(&[says, "File too large"]);
    assert_eq!(files(sandbox), before, "{command}");
}

#[test]
fn tables_and_arrays_that_do_not_fit_are_named_and_nothing_of_them_stays() {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    for (command, ending) in [
        ("features", "npz"),
        ("features", "npy"),
        ("features", "csv"),
        ("features", "parquet"),
        ("predict", "csv"),
        ("predict", "parquet"),
    ] {
        let out = format!("out.{ending}");
        check(&sandbox, 4096, &format!("{command} run mnist:test --threads 1 --out {out}"), &out);
    }
    check(&sandbox, 2048, "score run mnist:test --threads 1 --out out.csv", "out.csv");
}

#[test]
fn exports_and_configurations_that_do_not_fit_are_named_and_nothing_of_them_stays() {
    let sandbox = Sandbox::new();
    sandbox.finished("run");
    for (format, out, file) in [
        ("--onnx", "out.onnx", "out.onnx"),
        ("--npz", "out.npz", "out.npz"),
        ("--torch", "new/module", "new/module/model.safetensors"),
    ] {
        check(&sandbox, 4096, &format!("export run {format} {out}"), file);
    }
    // A folder that is there stays.
    fs::create_dir(sandbox.path("module")).expect("a new folder");
    check(&sandbox, 4096, "export run --torch module", "module/model.safetensors");
    assert_eq!(fs::read_dir(sandbox.path("module")).expect("it stays").count(), 0);
    sandbox.write_images("digits", 20, true);
    check(&sandbox, 1024, "init digits --out digits.toml", "digits.toml");
}
