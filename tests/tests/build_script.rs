//! What the build says where OpenBLAS is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use strata_tests::workspace;
use tempfile::TempDir;

/// A program of this name in a folder.
fn fake(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The build script of `scff`, run where `pkg-config` and `cc` are what these scripts are.
fn build_script(pkg_config: &str, linker: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("build-script");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = workspace().join("scff/build.rs");
    let compiled = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&program).arg(source).status();
    assert!(compiled.unwrap().success());
    fake(folder.path(), "pkg-config", pkg_config);
    fake(folder.path(), "cc", linker);
    let mut command = Command::new(program);
    command.env_clear().env("PATH", folder.path()).env("OUT_DIR", folder.path());
    command.envs([("HOST", "machine"), ("TARGET", "machine"), ("CARGO_CFG_TARGET_OS", "linux")]);
    command.output().unwrap()
}

const NOT_FOUND: &str = "exit 1";
const WITHOUT_OPENBLAS: &str = "for word; do [ \"$word\" != -lopenblas ] || exit 1; done";

#[test]
fn a_missing_openblas_is_named_with_the_packages_to_install() {
    let output = build_script(NOT_FOUND, WITHOUT_OPENBLAS);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    for fact in
        ["cargo::error=OpenBLAS is missing", "apt-get install pkg-config libopenblas-dev", "openblas-devel"]
    {
        assert!(said.contains(fact), "{fact}: {said}");
    }
}

#[test]
fn an_openblas_that_pkg_config_or_the_linker_finds_is_enough() {
    for (pkg_config, linker) in [("exit 0", WITHOUT_OPENBLAS), (NOT_FOUND, "exit 0"), ("exit 0", "exit 1")] {
        let output = build_script(pkg_config, linker);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && !said.contains("cargo::error"), "{said}");
    }
}

#[test]
fn where_nothing_can_be_linked_at_all_it_is_left_to_the_linker_to_say_so() {
    assert!(build_script(NOT_FOUND, "exit 1").status.success());
}
