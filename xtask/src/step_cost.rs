//! `cargo xtask step-cost`

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use xshell::cmd;

use crate::noise;
use crate::running::Running;
use crate::summary::{Summary, metrics};
use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The coordinator of another build, with its worker beside it, to compare with.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// How often each is measured, in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What is changed about configs/cifar10.toml: only its third layer takes more than a few steps.
const CHANGES: [&str; 10] = [
    "data.flip=false",
    "training.report_every=5",
    "training.checkpoint_every=1000",
    "layers.0.epochs=1",
    "layers.1.epochs=1",
    "layers.2.epochs=8",
    "readout.epochs=1",
    "layers.0.readout=false",
    "layers.1.readout=false",
    "seed=1",
];
const LAYER: usize = 2;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Build {
    /// Of another build.
    Before,
    /// Of this one, metrics shown.
    Plain,
    /// The same with certificates.
    Certificates,
}

impl Build {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Plain => "plain",
            Self::Certificates => "certificates",
        }
    }
}

/// Workers of a run, which have both cores together.
const WORKERS: [(usize, &str); 2] = [(1, "one worker of two threads"), (2, "two workers of one thread")];

/// Measures the steps of CIFAR-10's third layer.
pub fn run(Arguments { before, rounds }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    packages::for_building(&shell)?;
    let coordinator = shell::build_release(&shell)?;
    let folder = shell::target()?.join("step-cost");
    fs::create_dir_all(&folder)?;
    let data = folder.join("data");
    noise::write_cifar10(&data)?;
    let certificates = folder.join("authority");
    issue(&coordinator, &certificates)?;
    let builds = [before.as_ref().map(|_| Build::Before), Some(Build::Plain), Some(Build::Certificates)];
    let measured = Measured { coordinator: &coordinator, before: before.as_deref(), folder: &folder };
    println!(
        "CIFAR-10's third layer, batches of 100, both cores, loopback; milliseconds a step, {rounds} rounds in turns"
    );
    for (workers, name) in WORKERS {
        let mut rounds_of: BTreeMap<Build, Vec<f64>> = BTreeMap::new();
        let mut weights = None;
        for round in 0..*rounds {
            for build in builds.into_iter().flatten() {
                let (seconds, sha256) = measured.run(build, workers, &data, &certificates)?;
                eprintln!("{name}, round {round}, {}: {:.1} ms", build.name(), 1e3 * seconds);
                if *weights.get_or_insert_with(|| sha256.clone()) != sha256 {
                    bail!("{name}, {}: other weights than the first run", build.name());
                }
                rounds_of.entry(build).or_default().push(seconds);
            }
        }
        println!("\n{name}");
        report(&rounds_of);
    }
    Ok(())
}

/// Each build's median, and how it relates to the first one's, round by round.
fn report(rounds_of: &BTreeMap<Build, Vec<f64>>) {
    let Some((first, reference)) = rounds_of.first_key_value() else { return };
    for (build, seconds) in rounds_of {
        let ratios = sorted(seconds.iter().zip(reference).map(|(seconds, reference)| seconds / reference));
        let times = sorted(seconds.iter().copied());
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!(
            "{:<14} {:>8.1} (best {:.1})   {:.3} of {} ({least:.3} to {most:.3}), of the best {:.3}",
            build.name(),
            1e3 * median(&times),
            1e3 * times[0],
            median(&ratios),
            first.name(),
            times[0] / sorted(reference.iter().copied())[0],
        );
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Of sorted numbers.
fn median(numbers: &[f64]) -> f64 {
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { f64::midpoint(numbers[middle - 1], numbers[middle]) }
}

/// An authority, and certificates for loopback.
fn issue(coordinator: &Path, folder: &Path) -> anyhow::Result<()> {
    let shell = shell::open()?;
    cmd!(shell, "{coordinator} certs init --dir {folder}").read()?;
    for role in ["coordinator", "worker"] {
        cmd!(shell, "{coordinator} certs issue --dir {folder} --role {role} --name 127.0.0.1").read()?;
    }
    Ok(())
}

/// `--tls-...` of a role.
fn tls(certificates: &Path, role: &str) -> Vec<String> {
    let option = |name: &str, file: String| format!("--tls-{name}={}", certificates.join(file).display());
    vec![
        option("ca", "ca.pem".to_owned()),
        option("cert", format!("{role}.pem")),
        option("key", format!("{role}-key.pem")),
    ]
}

struct Measured<'a> {
    coordinator: &'a Path,
    before: Option<&'a Path>,
    folder: &'a Path,
}

impl Measured<'_> {
    /// Median seconds of a step of the layer, once all activations are kept, and the run's weights.
    fn run(
        &self,
        build: Build,
        workers: usize,
        data: &Path,
        certificates: &Path,
    ) -> anyhow::Result<(f64, String)> {
        let coordinator = match (build, self.before) {
            (Build::Before, Some(before)) => before,
            _ => self.coordinator,
        };
        let out = self.folder.join(build.name());
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        let extra = |role| match build {
            Build::Before => Vec::new(),
            Build::Plain => vec!["--metrics=127.0.0.1:0".to_owned()],
            Build::Certificates => {
                [vec!["--metrics=127.0.0.1:0".to_owned()], tls(certificates, role)].concat()
            }
        };
        let start = |core: usize| {
            let cores = if workers == 1 { "0,1".to_owned() } else { core.to_string() };
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &cores]).arg(coordinator.with_file_name("worker"));
            command.args(["--threads", if workers == 1 { "2" } else { "1" }, "--cache-memory", "1GiB"]);
            command.args(["--listen", "127.0.0.1:0"]).args(extra("worker"));
            Running::start(command)
        };
        let running = (0..workers).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let addresses: Vec<&str> = running.iter().map(|worker| worker.address.as_str()).collect();
        let addresses = addresses.join(",");
        let shell = shell::open()?;
        let changes = CHANGES.iter().flat_map(|change| ["--set", change]);
        cmd!(shell, "{coordinator} run configs/cifar10.toml --out {out} --data {data} --shards auto")
            .args(["--workers", &addresses])
            .args(changes)
            .args(extra("coordinator"))
            .quiet()
            .ignore_stderr()
            .read()?;
        let rates: Vec<f64> = metrics(&out)?
            .iter()
            .filter(|line| line.layer == LAYER && line.epoch > 2)
            .map(|line| 100.0 / line.samples_per_second)
            .collect();
        if rates.is_empty() {
            bail!("{}: no reports of layer {LAYER}", out.display());
        }
        let sha256 = Summary::read(&out).context("the run has ended")?.weights_sha256;
        Ok((median(&sorted(rates.into_iter())), sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_two() {
        assert!((median(&sorted([3.0, 1.0, 2.0].into_iter())) - 2.0).abs() < 1e-12);
        assert!((median(&sorted([4.0, 1.0, 2.0, 3.0].into_iter())) - 2.5).abs() < 1e-12);
    }
}
