//! `cargo xtask scaling`

mod hosts;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;

use self::hosts::{Host, Link, Network};
use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// BLAS kernel of all workers.
    #[arg(long, default_value = "auto", env = "STRATA_BLAS_KERNEL")]
    blas_kernel: String,
    /// How often the whole is measured; the best of each is reported.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

/// What a layer of a run came to.
#[derive(Clone, Debug)]
struct Measured {
    layer: String,
    steps_per_second: f64,
    exchanged: u64,
    forwarded: u64,
}

/// Links to try; `None`: everything on loopback.
const LINKS: [Option<Link>; 3] = [
    None,
    Some(Link { megabits: 1_000, round_trip_ms: 0.2 }),
    Some(Link { megabits: 100, round_trip_ms: 5.0 }),
];

/// Samples of a run, and what is changed about configs/cifar10.toml: one view of each, so that from the second epoch on all
/// are kept; a few seconds of steps.
const SAMPLES: usize = 500;
const CHANGES: [&str; 10] = [
    "data.flip=false",
    "training.report_every=5",
    "training.checkpoint_every=1000",
    "layers.0.epochs=20",
    "layers.1.epochs=8",
    "layers.2.epochs=8",
    "readout.epochs=1",
    "layers.0.readout=false",
    "layers.1.readout=false",
    "seed=1",
];

/// Measures the steps of CIFAR-10's layers on one and on two workers of one thread and one core each.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    packages::for_building()?;
    let coordinator = shell::build_release()?;
    let folder = coordinator.parent().and_then(Path::parent).context("no target folder")?.join("scaling");
    let data = folder.join("data");
    write_samples(&data.join("cifar-10-batches-bin"))?;
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
        let mut best: Vec<Vec<Measured>> = Vec::new();
        for _ in 0..arguments.rounds.max(1) {
            for (place, count) in [1, 2].into_iter().enumerate() {
                let out = folder.join(format!("run-{count}"));
                let measured = measure(arguments, &coordinator, &data, &network, &out, count)?;
                match best.get_mut(place) {
                    Some(best) => best.iter_mut().zip(measured).for_each(|(best, measured)| {
                        if measured.steps_per_second > best.steps_per_second {
                            *best = measured;
                        }
                    }),
                    None => best.push(measured),
                }
            }
        }
        let planned = planned(arguments, &coordinator, link)?;
        print(&network.describe(), &best, &planned);
    }
    Ok(())
}

/// What `coordinator plan` says of one and of two such workers.
fn planned(
    arguments: &Arguments,
    coordinator: &Path,
    link: Option<Link>,
) -> anyhow::Result<Vec<PlannedWorkers>> {
    // Loopback is as fast as memory, and its delays are part of what a step takes anyway.
    let Link { megabits, round_trip_ms } = link.unwrap_or(Link { megabits: 20_000, round_trip_ms: 0.01 });
    let mut command = Command::new(coordinator);
    command.args(["--blas-kernel", &arguments.blas_kernel, "plan"]);
    command.arg(shell::root().join("configs/cifar10.toml"));
    command.args(["--json", "--workers", "1,2", "--threads", "1"]);
    command.args(["--bandwidth", &megabits.to_string(), "--round-trip", &round_trip_ms.to_string()]);
    Ok(serde_json::from_str(&shell::output(&mut command)?)?)
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

fn print(network: &str, measured: &[Vec<Measured>], planned: &[PlannedWorkers]) {
    println!("\n{network}");
    println!(
        "{:<8} {:>26} {:>26} {:>9} {:>11} {:>22} {:>17}",
        "layer",
        "1 worker steps/s (planned)",
        "2 workers ...",
        "speed-up",
        "efficiency",
        "exchanged, bytes/step",
        "batch bytes/step"
    );
    let [one, two] = measured else { unreachable!("one worker and two") };
    for (layer, (one, two)) in one.iter().zip(two).enumerate() {
        let ratio = two.steps_per_second / one.steps_per_second;
        let beside = |place: usize, measured: &Measured| {
            let planned = planned[place].layers[layer].steps_per_second;
            let off = 100.0 * (planned / measured.steps_per_second - 1.0);
            format!("{:.3} ({planned:.3}, {off:+.0}%)", measured.steps_per_second)
        };
        println!(
            "{:<8} {:>26} {:>26} {:>8.2}x {:>10.0}% {:>22} {:>17}",
            one.layer,
            beside(0, one),
            beside(1, two),
            ratio,
            50.0 * ratio,
            two.exchanged,
            two.forwarded
        );
    }
}

fn measure(
    arguments: &Arguments,
    coordinator: &Path,
    data: &Path,
    network: &Network,
    out: &Path,
    count: usize,
) -> anyhow::Result<Vec<Measured>> {
    let worker = coordinator.with_file_name("worker");
    let workers: Vec<Running> = network.hosts[..count]
        .iter()
        .enumerate()
        .map(|(core, host)| Running::start(arguments, &worker, host, core))
        .collect::<anyhow::Result<_>>()?;
    let addresses: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    let mut command = Command::new(coordinator);
    command.args(["--blas-kernel", &arguments.blas_kernel, "run"]);
    command.arg(shell::root().join("configs/cifar10.toml")).arg("--out").arg(out);
    command.args(["--workers", &addresses.join(","), "--shards", "auto", "--data"]).arg(data);
    command.args(CHANGES.iter().flat_map(|change| ["--set", change]));
    shell::output(&mut command)?;
    layers(out)
}

/// A line of `metrics.jsonl`.
#[derive(Deserialize)]
struct Line {
    layer: usize,
    epoch: u64,
    samples_per_second: f64,
    bytes_exchanged: u64,
    bytes_forwarded: u64,
}

#[derive(Deserialize)]
struct RunSummary {
    layers: Vec<LayerSummary>,
}

#[derive(Deserialize)]
struct LayerSummary {
    name: String,
}

/// Median rates of the reports after the second epoch, when all activations are kept.
fn layers(out: &Path) -> anyhow::Result<Vec<Measured>> {
    let read =
        |name: &str| fs::read_to_string(out.join(name)).with_context(|| out.join(name).display().to_string());
    let summary: RunSummary = serde_json::from_str(&read("summary.json")?)?;
    let lines: Vec<Line> =
        read("metrics.jsonl")?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut measured = Vec::new();
    for (layer, LayerSummary { name }) in summary.layers.into_iter().enumerate() {
        let of_layer: Vec<&Line> =
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

/// A worker; it ends when this value is dropped.
struct Running {
    process: Child,
    address: String,
}

impl Running {
    fn start(arguments: &Arguments, worker: &Path, host: &Host, core: usize) -> anyhow::Result<Self> {
        let mut command = host.command("taskset");
        command.args(["--cpu-list", &core.to_string()]).arg(worker);
        command.args(["--blas-kernel", &arguments.blas_kernel, "--threads", "1", "--cache-memory", "1GiB"]);
        command.args(["--until-stdin-closes", "--listen", &host.listen]);
        if host.namespace.is_some() {
            command.arg("--insecure");
        }
        command.env("RUST_LOG", "warn").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("taskset, of util-linux, starts workers on a core")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let address =
            line.trim().strip_prefix("listening on ").context("the worker did not start")?.to_owned();
        Ok(Self { process, address })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Files in CIFAR-10's format with images of noise: how long a step takes does not depend on what they show.
fn write_samples(folder: &PathBuf) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut state = 1_u32;
    let mut file = |name: &str, records: usize| {
        let mut bytes = Vec::with_capacity(records * 3073);
        for record in 0..records {
            bytes.push((record % 10) as u8);
            bytes.extend((0..3072).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }));
        }
        fs::write(folder.join(name), bytes)
    };
    for batch in 1..=5 {
        file(&format!("data_batch_{batch}.bin"), SAMPLES / 5)?;
    }
    file("test_batch.bin", 100)?;
    Ok(())
}
