//! How many tests passed, by what those say who run them.

use std::io::{BufRead, BufReader, Read};

use anyhow::Context;

/// Adds up what test runners report.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: Vec<String>,
}

impl Tally {
    /// Adds a report in JUnit's format, with what passing tests printed.
    pub fn take_report(&mut self, report: &str) -> anyhow::Result<()> {
        let report = roxmltree::Document::parse(report)?;
        let tests = report.descendants().filter(|node| node.has_tag_name("testcase"));
        for test in tests {
            let has = |name| test.children().any(|child| child.has_tag_name(name));
            let outcome = if has("failure") || has("error") {
                &mut self.failed
            } else if has("skipped") {
                &mut self.ignored
            } else {
                &mut self.passed
            };
            *outcome += 1;
            let outputs = test.children().filter(|child| child.has_tag_name("system-out"));
            let lines = outputs.filter_map(|output| output.text()).flat_map(str::lines);
            self.skipped.extend(lines.filter(|line| is_skip(line)).map(str::to_owned));
        }
        Ok(())
    }

    /// Shows what `cargo test -- --show-output` says as it comes, but for what passing tests printed, and adds its results.
    pub fn take_output(&mut self, output: impl Read) -> anyhow::Result<()> {
        let mut among_successes = false;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if self.take_line(&line, &mut among_successes).with_context(|| line.clone())? {
                println!("{line}");
            }
        }
        Ok(())
    }

    /// Takes note of a line; returns whether a person wants to see it.
    fn take_line(&mut self, line: &str, among_successes: &mut bool) -> anyhow::Result<bool> {
        let result = line.strip_prefix("test result: ");
        *among_successes =
            line == "successes:" || *among_successes && line != "failures:" && result.is_none();
        if is_skip(line) {
            self.skipped.push(line.to_owned());
            return Ok(false);
        }
        for part in result.into_iter().flat_map(|result| result.split(['.', ';'])) {
            match part.trim().split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse::<u64>()?,
                Some((count, "failed")) => self.failed += count.parse::<u64>()?,
                Some((count, "ignored")) => self.ignored += count.parse::<u64>()?,
                _ => {}
            }
        }
        Ok(!*among_successes)
    }

    /// Which tests were skipped and why, and a last line of how many there were of each kind. A test that skips itself passes
    /// by what its runner says.
    pub fn closing(&self) -> String {
        let Self { passed, failed, ignored, skipped } = self;
        let itself = skipped.len() as u64;
        let counts = format!(
            "{} passed, {failed} failed, {} skipped",
            passed.saturating_sub(itself),
            ignored + itself
        );
        skipped.iter().chain([&counts]).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Whether a test says that it lacks what it needs.
fn is_skip(line: &str) -> bool {
    line.starts_with("skipped:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_only_skips_are_kept_of_what_passing_tests_say() {
        let said = "test a ... ok\ntest b ... FAILED\n\nsuccesses:\n\n---- a stdout ----\nchatter\n\
                    skipped: a: no data\n\n\nsuccesses:\n    a\n\nfailures:\n\n---- b stdout ----\nwhy\n\
                    test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out\n\
                    test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let (mut tally, mut among_successes) = (Tally::default(), false);
        let shows = |line: &&str| tally.take_line(line, &mut among_successes).unwrap();
        let shown: Vec<&str> = said.lines().filter(shows).collect();
        assert!(shown.contains(&"why") && shown.contains(&"test b ... FAILED"), "{shown:?}");
        assert!(!shown.contains(&"chatter") && !shown.contains(&"    a"), "{shown:?}");
        assert_eq!(tally.closing(), "skipped: a: no data\n5 passed, 1 failed, 3 skipped");
    }

    #[test]
    fn a_report_says_what_passed_what_failed_and_what_was_skipped() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="nextest-run" tests="3" failures="1" errors="0"><testsuite name="source" tests="3">
            <testcase name="a"><system-out>running 1 test&#10;skipped: a: no data&#10;test a ... ok</system-out></testcase>
            <testcase name="b"><failure type="test failure">why</failure><system-out>b</system-out></testcase>
            <testcase name="c"></testcase>
            </testsuite></testsuites>"#;
        let mut tally = Tally::default();
        tally.take_report(report).unwrap();
        assert_eq!(tally.closing(), "skipped: a: no data\n1 passed, 1 failed, 1 skipped");
    }
}
