//! `cargo xtask test`

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::packages;
use crate::shell::{announce, cargo, run as execute, succeeds};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Repair format and lints instead of checking them.
    #[arg(long)]
    fix: bool,
}

/// Checks, or repairs, the whole workspace.
pub fn run(Arguments { fix }: &Arguments) -> anyhow::Result<()> {
    packages::for_building()?;
    if *fix {
        execute(&mut cargo(&["fmt", "--all"]))?;
        return execute(&mut cargo(&[
            "clippy",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
            "--workspace",
            "--all-targets",
        ]));
    }
    let mut tally = Tally::default();
    let mut times = Vec::new();
    let mut step = |name: &str, step: &mut dyn FnMut() -> anyhow::Result<()>| {
        let start = Instant::now();
        let done = step();
        times.push(format!("{name} {:.0} s", start.elapsed().as_secs_f64()));
        done.with_context(|| format!("cargo xtask test: {name} failed ({})", times.join(", ")))
    };
    step("fmt", &mut || execute(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("clippy", &mut || {
        execute(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    if succeeds("cargo", &["deny", "--version"]) {
        step("deny", &mut deny)?;
    }
    // The tests of whole clusters start these programs.
    step("build", &mut || execute(&mut cargo(&["build", "--workspace"])))?;
    step("tests", &mut || tests(&mut tally))?;
    println!("\n{}", tally.closing());
    println!("cargo xtask test: all is well ({})", times.join(", "));
    Ok(())
}

/// Advisories come from the network, so a failure there is shown and fails nothing.
fn deny() -> anyhow::Result<()> {
    execute(&mut cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    if let Err(error) = execute(&mut cargo(&["deny", "check", "advisories"])) {
        eprintln!("advisories: {error}");
    }
    Ok(())
}

fn tests(tally: &mut Tally) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--", "--show-output"]);
    let line = announce(&command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| line.clone())?;
    for text in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let text = text?;
        if tally.take(&text) {
            println!("{text}");
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}`: {status}\n{}", tally.closing());
    }
    Ok(())
}

/// Adds up what the test programs report.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: Vec<String>,
    /// Between `successes:` and the next heading: what passing tests said.
    among_successes: bool,
}

impl Tally {
    /// Takes note of a line; returns whether a person wants to see it.
    fn take(&mut self, line: &str) -> bool {
        let heading = line == "failures:" || line.starts_with("test result: ");
        self.among_successes = line == "successes:" || self.among_successes && !heading;
        if line.starts_with("skipped:") {
            self.skipped.push(line.to_owned());
            return true;
        }
        if line.starts_with("test result: ") {
            let count = |what: &str| -> u64 {
                let before = line.split(what).next().unwrap_or_default();
                before.split_whitespace().next_back().and_then(|word| word.parse().ok()).unwrap_or(0)
            };
            self.passed += count(" passed");
            self.failed += count(" failed");
            self.ignored += count(" ignored");
        }
        !self.among_successes
    }

    /// The whole in the words of one test program.
    fn closing(&self) -> String {
        let Self { passed, failed, ignored, skipped, .. } = self;
        let result = if *failed == 0 { "ok" } else { "FAILED" };
        let counts =
            format!("{passed} passed; {failed} failed; {ignored} ignored; {} skipped", skipped.len());
        let result = format!("test result: {result}. {counts}");
        skipped.iter().chain([&result]).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_only_skips_are_shown_of_what_passing_tests_say() {
        let said = "test a ... ok\ntest b ... FAILED\n\nsuccesses:\n\n---- a stdout ----\nchatter\n\
                    skipped: a: no data\n\n\nsuccesses:\n    a\n\nfailures:\n\n---- b stdout ----\nwhy\n\
                    test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out\n\
                    test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let mut tally = Tally::default();
        let shown: Vec<&str> = said.lines().filter(|line| tally.take(line)).collect();
        assert!(shown.contains(&"skipped: a: no data") && shown.contains(&"why"), "{shown:?}");
        assert!(!shown.contains(&"chatter") && !shown.contains(&"    a"), "{shown:?}");
        assert_eq!(
            tally.closing(),
            "skipped: a: no data\ntest result: FAILED. 6 passed; 1 failed; 2 ignored; 1 skipped"
        );
    }
}
