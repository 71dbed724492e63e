//! `cargo xtask deploy-test`: what is under `deploy/`, run on this machine, or checked where it cannot be run.

mod bench;
mod watch;
mod run;

mod programs;
mod wheel;
mod compose;
mod kubernetes;
mod slurm;
mod s3;
mod systemd;

use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;

use self::bench::{Bench, Outcome};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to test [default: everything].
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// A part that can be tested by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The packed programs, on the smallest Debian 12 and 13.
    Programs,
    /// The Python wheel that carries them, in an environment of its own.
    Wheel,
    /// The image and a cluster of its containers, with faults.
    Compose,
    /// Workers under systemd on two machines.
    Systemd,
    /// The manifests for Kubernetes.
    Kubernetes,
    /// A job on Slurm's daemons, preempted and queued again.
    Slurm,
    /// Runs and data on an S3-compatible store, with faults.
    S3,
}

/// Tests all parts that were asked for. Where `CI` is set, a part that cannot be tested fails.
pub fn run(Arguments { parts }: &Arguments) -> anyhow::Result<()> {
    let parts = if parts.is_empty() { Part::value_variants() } else { parts.as_slice() };
    let bench = Bench::new()?;
    let (mut said, mut failed, mut skipped) = (Vec::new(), 0, 0);
    for part in parts {
        let began = Instant::now();
        let outcome = part.test(&bench);
        let name = part.to_possible_value().context("a part has a name")?.get_name().to_owned();
        let words = match outcome {
            Ok(Outcome::Passed(seen)) => format!("passed: {name}: {seen}"),
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                format!("skipped: {name}: {why}")
            }
            Err(error) => {
                failed += 1;
                format!("FAILED: {name}: {error:#}")
            }
        };
        println!("\n{words} ({:.0} s)\n", began.elapsed().as_secs_f64());
        said.push(words);
    }
    println!("{}", said.join("\n"));
    verdict(failed, skipped, std::env::var("CI").is_ok_and(|ci| ci == "true"))
}

fn verdict(failed: u32, skipped: u32, nothing_may_be_skipped: bool) -> anyhow::Result<()> {
    if failed > 0 {
        bail!("{failed} part(s) failed");
    }
    if skipped > 0 && nothing_may_be_skipped {
        bail!("{skipped} part(s) were skipped, which CI=true does not allow");
    }
    Ok(())
}

impl Part {
    fn test(self, bench: &Bench) -> anyhow::Result<Outcome> {
        match self {
            Self::Programs => programs::test(bench),
            Self::Wheel => wheel::test(bench),
            Self::Compose => compose::test(bench),
            Self::Systemd => systemd::test(bench),
            Self::Kubernetes => kubernetes::test(bench),
            Self::Slurm => slurm::test(bench),
            Self::S3 => s3::test(bench),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_fails_only_where_nothing_may_be() {
        verdict(0, 0, true).unwrap();
        verdict(0, 2, false).unwrap();
        assert!(verdict(0, 2, true).unwrap_err().to_string().contains("2 part(s) were skipped"));
        assert!(verdict(1, 0, false).unwrap_err().to_string().contains("1 part(s) failed"));
    }
}
