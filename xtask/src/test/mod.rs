//! `cargo xtask test`

mod tally;

use std::time::Instant;

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use self::tally::Tally;
use crate::packages;
use crate::shell::{self, root, succeeds};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Repair format and lints instead of checking them.
    #[arg(long)]
    fix: bool,
}

/// Checks, or repairs, the whole workspace.
pub fn run(Arguments { fix }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    packages::for_building(&shell)?;
    if *fix {
        cmd!(shell, "cargo fmt --all").run()?;
        let lints = cmd!(shell, "cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets");
        return Ok(lints.run()?);
    }
    let mut times = Vec::new();
    let mut step = |name: &str, step: &mut dyn FnMut() -> anyhow::Result<()>| {
        let start = Instant::now();
        let done = step();
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
        done.with_context(|| format!("cargo xtask test: {name} failed ({})", times.join(", ")))
    };
    step("fmt", &mut || Ok(cmd!(shell, "cargo fmt --all --check").run()?))?;
    step("clippy", &mut || Ok(cmd!(shell, "cargo clippy --workspace --all-targets -- -D warnings").run()?))?;
    if succeeds(cmd!(shell, "cargo deny --version")) {
        step("deny", &mut || deny(&shell))?;
    }
    // The tests of whole clusters start these programs. Without the tests, dependencies would have fewer features, and all
    // upon them would be built twice.
    step("build", &mut || Ok(cmd!(shell, "cargo build --workspace --bins --tests").run()?))?;
    let mut tally = Tally::default();
    step("tests", &mut || tests(&shell, &mut tally))?;
    println!("cargo xtask test: all is well ({})", times.join(", "));
    println!("\n{}", tally.closing());
    Ok(())
}

/// Advisories come from the network, so a failure there is shown and fails nothing.
fn deny(shell: &Shell) -> anyhow::Result<()> {
    cmd!(shell, "cargo deny --offline check bans licenses sources").run()?;
    if let Err(error) = cmd!(shell, "cargo deny check advisories").run() {
        eprintln!("advisories: {error}");
    }
    Ok(())
}

/// All tests: by cargo-nextest, and then examples in documentation, which it does not run; or all by `cargo test`.
fn tests(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    let passed = if succeeds(cmd!(shell, "cargo nextest --version")) {
        nextest(shell, tally)? & cargo_test(shell, tally, &["--doc"])?
    } else {
        cargo_test(shell, tally, &[])?
    };
    if !passed {
        bail!("tests failed\n\n{}", tally.closing());
    }
    Ok(())
}

/// Runs the tests by cargo-nextest, whose report says what they printed; returns whether all passed.
fn nextest(shell: &Shell, tally: &mut Tally) -> anyhow::Result<bool> {
    // There also where CARGO_TARGET_DIR names another folder for what is built.
    let report = root().join("target/nextest/default/junit.xml");
    // Where nothing is built, none is written.
    shell.remove_path(&report)?;
    let passed = cmd!(shell, "cargo nextest run --workspace").run().is_ok();
    if !report.exists() {
        bail!("the tests did not run");
    }
    tally.take_report(&shell.read_file(&report)?).with_context(|| report.display().to_string())?;
    Ok(passed)
}

/// Runs tests by `cargo test`, showing what it says as it comes; returns whether all passed.
fn cargo_test(shell: &Shell, tally: &mut Tally, which: &[&str]) -> anyhow::Result<bool> {
    let command = cmd!(shell, "cargo test --workspace --no-fail-fast {which...} -- --show-output");
    eprintln!("$ {command}");
    let mut child = std::process::Command::from(command)
        .current_dir(root())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    tally.take_output(child.stdout.take().expect("piped"))?;
    Ok(child.wait()?.success())
}
