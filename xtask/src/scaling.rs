//! `cargo xtask scaling`

mod hosts;
mod many;
mod relay;
mod subject;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use clap::builder::{StringValueParser, TypedValueParser};
use serde::Deserialize;
use xshell::cmd;

use self::hosts::{Host, Link, NO_DELAY, Network};
use self::subject::{CHANGES, Subject};
use crate::noise;
use crate::running::Running;
use crate::summary::{Layer, Metrics, Summary, metrics};
use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// BLAS kernel of all workers; an empty one is none.
    #[arg(long, default_value = "auto", env = "STRATA_BLAS_KERNEL", value_parser = StringValueParser::new().map(kernel))]
    blas_kernel: String,
    /// How often the whole is measured; the best of each is reported.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Measure these numbers of workers instead, which share the cores, over links of this process's own: what each step costs
    /// all of their processors. The first is what the others are compared with.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: Vec<u8>,
}

fn kernel(text: String) -> String {
    if text.trim().is_empty() { "auto".to_owned() } else { text }
}

/// What a layer of a run came to.
#[derive(Debug)]
struct Measured {
    layer: String,
    steps_per_second: f64,
    exchanged: u64,
    forwarded: u64,
}

/// A layer on a network.
#[derive(Debug)]
struct Comparison {
    layer: String,
    /// Steps a second of one worker, while the other core has nothing to do.
    one: f64,
    /// Of two workers that share the layer.
    two: f64,
    /// Of two runs of one worker each at the same time, added up: what both cores can do.
    separate: f64,
    /// Bytes that two workers exchange in a step.
    exchanged: u64,
    /// Bytes of a batch that one hands on to the other.
    forwarded: u64,
}

/// Links to try; `None`: everything on loopback.
const LINKS: [Option<Link>; 3] = [
    None,
    Some(Link { megabits: 1_000, round_trip_ms: 0.2 }),
    Some(Link { megabits: 100, round_trip_ms: 5.0 }),
];

/// Measures the steps of CIFAR-10's layers on one and on two workers of one thread and one core each, and on two runs of one
/// worker each.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    packages::for_building(&shell)?;
    let coordinator = shell::build_release(&shell)?;
    let folder = coordinator.parent().and_then(Path::parent).context("no target folder")?.join("scaling");
    let data = folder.join("data");
    noise::write_cifar10(&data)?;
    let blas_kernel = arguments.blas_kernel.as_str();
    let subject = Subject { blas_kernel, coordinator: &coordinator, data: &data, folder: &folder };
    if !arguments.workers.is_empty() {
        let counts: Vec<usize> = arguments.workers.iter().copied().map(usize::from).collect();
        return many::measure(subject, &counts);
    }
    println!(
        "CIFAR-10's layers, batches of 100, workers of one thread on a core of its own; activations kept"
    );
    for link in LINKS {
        let network = match Network::new(link) {
            Ok(network) => network,
            Err(reason) => {
                println!("\n{}: not measured: {reason:#}", Link::name(link));
                continue;
            }
        };
        let mut best = subject.round(&network)?;
        for _ in 1..arguments.rounds {
            for (best, layer) in best.iter_mut().zip(subject.round(&network)?) {
                best.one = best.one.max(layer.one);
                best.two = best.two.max(layer.two);
                best.separate = best.separate.max(layer.separate);
            }
        }
        print(&network.describe(), &best, &subject.planned(network.link())?);
    }
    Ok(())
}

impl Subject<'_> {
    /// Measures all layers once.
    fn round(self, network: &Network) -> anyhow::Result<Vec<Comparison>> {
        let one = self.measure(network, 0..1)?;
        let two = self.measure(network, 0..2)?;
        let separate = both(|core| self.measure(network, core..core + 1))?;
        let layers = one.into_iter().zip(two).zip(separate[0].iter().zip(&separate[1]));
        let comparison =
            |((one, two), separate): ((Measured, Measured), (&Measured, &Measured))| Comparison {
                layer: one.layer,
                one: one.steps_per_second,
                two: two.steps_per_second,
                separate: separate.0.steps_per_second + separate.1.steps_per_second,
                exchanged: two.exchanged,
                forwarded: two.forwarded,
            };
        Ok(layers.map(comparison).collect())
    }

    /// What `coordinator plan` says of one and of two such workers: steps a second of each layer. For one, it measures the
    /// machine on one core, for two on both at the same time, as the workers use them.
    fn planned(self, link: Option<Link>) -> anyhow::Result<[Vec<f64>; 2]> {
        Ok([self.plan(link, 0, (1, 1.0))?, self.plan_on_both(link, (2, 1.0))?])
    }

    /// What `coordinator plan` says of so many workers, each so much as fast as a core while both are at work.
    fn plan_on_both(self, link: Option<Link>, workers: (usize, f64)) -> anyhow::Result<Vec<f64>> {
        let [first, second] = both(|core| self.plan(link, core, workers))?;
        // Those that share a layer are as fast as the slowest.
        Ok(first.into_iter().zip(second).map(|(first, second)| first.min(second)).collect())
    }

    /// The same for machines as they are seen from one core.
    fn plan(self, link: Option<Link>, core: usize, (count, speed): (usize, f64)) -> anyhow::Result<Vec<f64>> {
        // Loopback is as fast as memory, and its delays are part of what a step takes anyway.
        let Link { megabits, round_trip_ms } =
            link.unwrap_or(Link { megabits: 20_000, round_trip_ms: NO_DELAY });
        let (shell, Self { coordinator, blas_kernel, .. }) = (shell::open()?, self);
        let [core, bandwidth] = [core as u32, megabits].map(|number| number.to_string());
        let [round_trip, count, speed] = [round_trip_ms.to_string(), count.to_string(), speed.to_string()];
        let link = ["--bandwidth", &bandwidth, "--round-trip", &round_trip];
        let plan = cmd!(shell, "taskset --cpu-list {core} {coordinator} --blas-kernel {blas_kernel} plan")
            .args(["configs/cifar10.toml", "--json", "--threads", "1"])
            .args(["--workers", &count, "--speed", &speed]);
        let [planned]: [PlannedWorkers; 1] = serde_json::from_str(&plan.args(link).read()?)?;
        Ok(planned.layers.iter().map(|layer| layer.steps_per_second).collect())
    }

    /// Runs on workers on some of the hosts, each on its core.
    fn measure(self, network: &Network, cores: Range<usize>) -> anyhow::Result<Vec<Measured>> {
        let worker = self.coordinator.with_file_name("worker");
        let out = self.folder.join(format!("run-{}-{}", cores.start, cores.end));
        let start = |core: usize| Running::start(self.command(&worker, &network.hosts[core], core));
        let workers: Vec<Running> = cores.map(start).collect::<anyhow::Result<_>>()?;
        let addresses: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        let (shell, Self { coordinator, blas_kernel, data, .. }) = (shell::open()?, self);
        let addresses = addresses.join(",");
        let changes = CHANGES.iter().flat_map(|change| ["--set", change]);
        cmd!(shell, "{coordinator} --blas-kernel {blas_kernel} run configs/cifar10.toml --out {out}")
            .args(["--workers", &addresses, "--shards", "auto", "--data"])
            .arg(data)
            .args(changes)
            .read()?;
        layers(&out)
    }
}

impl Subject<'_> {
    /// A worker of one thread on its host and core.
    fn command(self, worker: &Path, host: &Host, core: usize) -> Command {
        let mut command = host.command("taskset");
        command.args(["--cpu-list", &core.to_string()]).arg(worker).args(["--listen", &host.listen]);
        command.args(["--blas-kernel", self.blas_kernel, "--threads", "1", "--cache-memory", "1GiB"]);
        if host.namespace.is_some() {
            command.arg("--insecure");
        }
        command
    }
}

/// Does something for both cores at the same time.
fn both<T: Send>(work: impl Fn(usize) -> anyhow::Result<T> + Sync) -> anyhow::Result<[T; 2]> {
    let [first, second] = std::thread::scope(|scope| {
        [0, 1]
            .map(|core| {
                scope.spawn({
                    let work = &work;
                    move || work(core)
                })
            })
            .map(|thread| thread.join().expect("no panic"))
    });
    Ok([first?, second?])
}

/// What `plan --json` prints of a number of workers.
#[derive(Deserialize)]
struct PlannedWorkers {
    layers: Vec<PlannedLayer>,
}

#[derive(Deserialize)]
struct PlannedLayer {
    steps_per_second: f64,
}

fn print(network: &str, measured: &[Comparison], [planned_one, planned_two]: &[Vec<f64>; 2]) {
    println!("\n{network}");
    println!(
        "{:<6} {:>27} {:>24} {:>9} {:>15} {:>11} {:>14} {:>10}",
        "layer",
        "1 worker, steps/s (planned)",
        "2 workers (planned)",
        "speed-up",
        "2 runs, steps/s",
        "2 w./2 runs",
        "exchanged/step",
        "batch/step"
    );
    let beside = |measured: f64, planned: f64| {
        format!("{measured:.3} ({planned:.3}, {:+.0}%)", 100.0 * (planned / measured - 1.0))
    };
    for ((layer, planned_one), planned_two) in measured.iter().zip(planned_one).zip(planned_two) {
        let Comparison { layer, one, two, separate, exchanged, forwarded } = layer;
        println!(
            "{layer:<6} {:>27} {:>24} {:>8.2}x {separate:>15.3} {:>10.0}% {exchanged:>14} {forwarded:>10}",
            beside(*one, *planned_one),
            beside(*two, *planned_two),
            two / one,
            100.0 * two / separate,
        );
    }
}

/// Median rates of the reports after the second epoch, when all activations are kept.
fn layers(out: &Path) -> anyhow::Result<Vec<Measured>> {
    let lines = metrics(out)?;
    let mut measured = Vec::new();
    for (layer, Layer { name, .. }) in Summary::read(out)?.layers.into_iter().enumerate() {
        let of_layer: Vec<&Metrics> =
            lines.iter().filter(|line| line.layer == layer && line.epoch > 2).collect();
        let Some(last) = of_layer.last() else { bail!("{name}: no reports") };
        let mut rates: Vec<f64> = of_layer.iter().map(|line| line.samples_per_second / 100.0).collect();
        rates.sort_by(f64::total_cmp);
        measured.push(Measured {
            layer: name,
            steps_per_second: rates[rates.len() / 2],
            exchanged: last.bytes_exchanged / 5,
            forwarded: last.bytes_forwarded / 5,
        });
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_kernel_is_none() {
        let kernels = ["", " ", "auto", "Haswell"].map(|text| kernel(text.to_owned()));
        assert_eq!(kernels, ["auto", "auto", "auto", "Haswell"]);
    }
}
