//! The image, and a cluster of its containers: how soon it has a layer, how it grows, what faults it endures.

use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use super::bench::{Bench, Outcome, PROFILE};
use super::watch::Watched;
use crate::shell::{root, succeeds};
use crate::{image, packages};

const IMAGE: &str = "strata-deploy-test";
const PROJECT: &str = "strata-deploy-test";
const DATA: &str = "/usr/share/datasets";
const FASHION_MNIST: (&str, &str) = ("/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist");
const METRICS: &str = "127.0.0.1:19551";
const CONFIG: &str = include_str!("compose.toml");

/// Bytes that the image may have besides its base.
const LARGEST: u64 = 150_000_000;
/// Seconds from the built image to the first frozen layer of the quickstart's network.
const SLOWEST: f64 = 120.0;
/// What no image needs that only runs programs.
const COMPILERS: &str = "cc gcc g++ clang ld as make rustc cargo";

/// Builds the image and trains on clusters of it.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    if !succeeds(cmd!(shell, "docker info")) {
        return Ok(Outcome::Skipped("no Docker engine answers (`docker info` says more)".to_owned()));
    }
    let needed = [("docker-compose", "docker-compose"), ("debootstrap", "debootstrap"), FASHION_MNIST];
    if let Err(error) = packages::for_testing(shell, &needed) {
        return Ok(Outcome::Skipped(error.to_string()));
    }
    image::build(shell, IMAGE, PROFILE)?;
    let megabytes = check_image(shell)?;
    let soon = first_layer(shell)?;
    let (one, three) = faults(bench)?;
    Ok(Outcome::Passed(format!(
        "the image has {megabytes:.0} MB besides its base; 3 workers froze the quickstart's first layer {soon:.0} s after \
         `up`; 1, then 3 workers took {one:.0}, then {three:.0} steps/s; a worker that crashed, one killed, one paused and one disconnected, and \
         a restarted head left the weights of a local run"
    )))
}

/// What must be so of the image; returns its megabytes besides its base.
fn check_image(shell: &Shell) -> anyhow::Result<f64> {
    let bytes = image::besides_base(shell, IMAGE)?;
    if bytes > LARGEST {
        bail!("the image has {bytes} bytes besides its base, expected at most {LARGEST}");
    }
    let user = cmd!(shell, "docker image inspect {IMAGE}").args(["--format", "{{.Config.User}}"]).read()?;
    let number = user.split(':').next().unwrap_or_default().parse::<u32>();
    if !number.is_ok_and(|number| number > 0) {
        bail!("the image's user is `{user}`, expected a number other than 0");
    }
    let script =
        format!("for tool in {COMPILERS}; do if command -v $tool; then exit 1; fi; done; worker --version");
    let locked = ["--rm", "--read-only", "--network=none", "--cap-drop=ALL"];
    cmd!(shell, "docker run {locked...} {IMAGE} sh -c {script}")
        .run()
        .context("the image holds a compiler")?;
    Ok(bytes as f64 / 1e6)
}

/// A cluster of containers, which ends with this value.
struct Cluster<'a> {
    shell: &'a Shell,
    variables: Vec<(&'static str, String)>,
    watched: Watched,
}

impl<'a> Cluster<'a> {
    fn new(shell: &'a Shell, variables: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let own = [("STRATA_IMAGE", IMAGE), ("STRATA_DATA", DATA), ("STRATA_METRICS", METRICS)];
        let variables =
            own.iter().chain(variables).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let cluster = Self { shell, variables, watched: Watched { address: METRICS.to_owned() } };
        // Of a test that was killed.
        cluster.compose(&["down", "--volumes", "--timeout", "1"]).ignore_stderr().run()?;
        Ok(cluster)
    }

    fn compose(&self, words: &[&str]) -> Cmd<'a> {
        let file = root().join("deploy/compose/docker-compose.yml");
        let command = cmd!(self.shell, "docker-compose --file {file} --project-name {PROJECT} {words...}");
        self.variables.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn scale(&self, workers: u32) -> anyhow::Result<()> {
        let workers = format!("worker={workers}");
        Ok(self.compose(&["up", "--detach", "--no-recreate", "--scale", &workers]).ignore_stderr().run()?)
    }

    /// Has Docker do something with a container, or with its network.
    fn docker(&self, words: &[&str]) -> anyhow::Result<()> {
        Ok(cmd!(self.shell, "docker {words...}").ignore_stdout().run()?)
    }

    /// Waits for the end of the run; returns its summary.
    fn summary(&self) -> anyhow::Result<Value> {
        let head = container("head", 1);
        let status = cmd!(self.shell, "docker wait {head}").read()?;
        if status != "0" {
            bail!("the head ended with status {status}");
        }
        let volume = format!("{PROJECT}_runs:/runs:ro");
        let text = cmd!(self.shell, "docker run --rm --volume {volume} {IMAGE} cat /runs/run/summary.json")
            .read()?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("STRATA_SHOW_LOGS").is_some() {
            let _ = self.compose(&["logs", "--no-color"]).run();
        }
        let _ = self.compose(&["down", "--volumes", "--timeout", "5"]).ignore_stderr().run();
    }
}

fn container(service: &str, number: u32) -> String {
    format!("{PROJECT}_{service}_{number}")
}

/// Seconds from the built image to the first frozen layer of the quickstart's network, on three workers.
fn first_layer(shell: &Shell) -> anyhow::Result<f64> {
    let cluster = Cluster::new(shell, &[])?;
    let began = Instant::now();
    cluster.scale(3)?;
    cluster.watched.until("strata_frozen_layers", 1.0)?;
    let seconds = began.elapsed().as_secs_f64();
    if seconds > SLOWEST {
        bail!("the first layer took {seconds:.0} s, expected at most {SLOWEST:.0}");
    }
    Ok(seconds)
}

/// A run that grows from one worker to four and endures faults; returns the steps a second of one worker and of three.
fn faults(bench: &Bench) -> anyhow::Result<(f64, f64)> {
    let folder = bench.folder("compose")?;
    bench.shell.write_file(folder.join("faults.toml"), CONFIG)?;
    let configs = folder.display().to_string();
    let variables = [
        ("STRATA_CONFIGS", configs.as_str()),
        ("STRATA_CONFIG", "faults.toml"),
        ("STRATA_SILENCE", "3"),
        ("STRATA_WORKER_CPUS", "0.2"),
    ];
    let cluster = Cluster::new(&bench.shell, &variables)?;
    let watched = &cluster.watched;
    cluster.scale(1)?;
    watched.until_trainers(1)?;
    check_limits(&cluster)?;
    let one = watched.rate(50.0)?;
    cluster.scale(3)?;
    watched.until_trainers(3)?;
    let three = watched.rate(100.0)?;
    if three < 1.3 * one {
        bail!("three workers take {three:.0} steps/s, one {one:.0}: expected a third more at least");
    }
    cluster.scale(4)?;
    watched.until_trainers(4)?;
    endure(&cluster)?;
    let summary = cluster.summary()?;
    let alone = local(&cluster, &configs, &summary)?;
    if summary["weights_sha256"] != alone["weights_sha256"] {
        bail!(
            "the weights are {}, those of a local run {}",
            summary["weights_sha256"],
            alone["weights_sha256"]
        );
    }
    Ok((one, three))
}

/// What a worker found to be its own must be its container's limits.
fn check_limits(cluster: &Cluster) -> anyhow::Result<()> {
    let worker = container("worker", 1);
    let log = cmd!(cluster.shell, "docker logs {worker}").output()?;
    let said = String::from_utf8_lossy(&log.stderr);
    // A quarter of 2 GiB.
    for limit in ["threads=1 ", "CPU quota", "memory=2.0 GiB", "cache_bytes=536870912 "] {
        if !said.contains(limit) {
            bail!("a worker of 0.2 cores and 2 GiB does not say `{limit}`: {said}");
        }
    }
    Ok(())
}

/// A worker's process dies, and the container is started again without anybody's help.
fn crash(cluster: &Cluster) -> anyhow::Result<()> {
    let (shell, worker) = (cluster.shell, container("worker", 4));
    let process = cmd!(shell, "docker inspect {worker}").args(["--format", "{{.State.Pid}}"]).read()?;
    let lost = cluster.watched.total("strata_workers_lost_total").unwrap_or(0.0);
    cmd!(shell, "kill -KILL {process}").run()?;
    cluster.watched.until("strata_workers_lost_total", lost + 1.0)?;
    cluster.watched.until_trainers(4)
}

/// One of four workers crashes. Then one is killed and started again, another paused, a third disconnected, and the head restarted.
fn endure(cluster: &Cluster) -> anyhow::Result<()> {
    let watched = &cluster.watched;
    let network = format!("{PROJECT}_default");
    let [killed, paused, cut_off] = [1, 2, 3].map(|number| container("worker", number));
    crash(cluster)?;
    cluster.docker(&["kill", &killed])?;
    watched.until_trainers(3)?;
    cluster.docker(&["start", &killed])?;
    watched.until_trainers(4)?;
    cluster.docker(&["pause", &paused])?;
    watched.until_trainers(3)?;
    cluster.docker(&["network", "disconnect", &network, &cut_off])?;
    watched.until_trainers(2)?;
    watched.rate(20.0)?;
    cluster.docker(&["unpause", &paused])?;
    cluster.compose(&["restart", "head"]).ignore_stderr().run()?;
    // The one that was paused is back.
    watched.until_trainers(3)
}

/// The summary of the same run in one container, with the kernel that the cluster agreed on.
fn local(cluster: &Cluster, configs: &str, summary: &Value) -> anyhow::Result<Value> {
    let blas = summary["blas"].as_str().context("a summary names its BLAS")?;
    let kernel = blas.rsplit(' ').next().unwrap_or_default();
    let volumes = ["--volume", &format!("{configs}:/own:ro"), "--volume", &format!("{DATA}:/data:ro")];
    let script = "coordinator --blas-kernel \"$0\" run /own/faults.toml --local 2 --out /tmp/run >&2 && cat /tmp/run/summary.json";
    let run =
        cmd!(cluster.shell, "docker run --rm --network=none {volumes...} {IMAGE} sh -ec {script} {kernel}");
    Ok(serde_json::from_str(&run.ignore_stderr().read()?)?)
}
