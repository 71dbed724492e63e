//! A run under Slurm, whose daemons all run on this machine: told to end, preempted, and queued again each time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, bail};
use xshell::{Cmd, Shell, cmd};

use super::bench::{Bench, Outcome};
use super::run::{Programs, check_weights, read_summary};
use super::watch::{Watched, until};
use crate::packages;
use crate::shell::{root, succeeds};

const CONF: &str = include_str!("slurm.conf");
const NODES: [&str; 3] = ["n1", "n2", "n3"];
const METRICS: &str = "127.0.0.1:19553";
const NEEDED: [(&str, &str); 5] = [
    ("/usr/sbin/slurmctld", "slurmctld"),
    ("/usr/sbin/slurmd", "slurmd"),
    ("sbatch", "slurm-client"),
    ("/usr/sbin/munged", "munge"),
    ("scontrol", "slurm-client"),
];

/// Trains on three nodes; the job is told that its time is up, and later another takes its nodes.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    if cmd!(shell, "id -u").quiet().read()? != "0" {
        return Ok(Outcome::Skipped("Slurm's daemons need root".to_owned()));
    }
    if let Err(error) = packages::for_testing(shell, &NEEDED) {
        return Ok(Outcome::Skipped(error.to_string()));
    }
    let folder = bench.folder("slurm")?;
    let programs = Programs::unpack(bench, &folder)?;
    let slurm = Slurm::start(shell, &folder)?;
    let config = root().join("configs/iris.toml");
    let set = ["layers.0.epochs=4000", "layers.1.epochs=4000", "training.checkpoint_every=500"];
    let set = set.into_iter().flat_map(|change| ["--set", change]);
    let words: Vec<&str> = std::iter::once(config.to_str().context("a path in UTF-8")?).chain(set).collect();
    let job = slurm.submit(&programs, &words)?;
    let watched = Watched { address: METRICS.to_owned() };

    watched.until("strata_checkpoint_timestamp_seconds", 1.0)?;
    slurm.command("scancel", &["--batch", "--signal=TERM", &job]).run()?;
    slurm.until_restarted(&job, 1)?;
    watched.until("strata_checkpoint_timestamp_seconds", 1.0)?;
    let other = ["--wait", "--partition=high", "--nodes=3", "--output=/dev/null", "--wrap=true"];
    slurm.command("sbatch", &other).run()?;
    slurm.until_restarted(&job, 2)?;
    until("the end of the job", || Ok(slurm.says(&job, "JobState=COMPLETED").then_some(())))?;

    let summary = read_summary(&folder.join("run"))?;
    let local = programs.local_weights(bench, &words, &summary, &folder.join("local"))?;
    check_weights(&summary, &local)?;
    Ok(Outcome::Passed(
        "a job on three nodes was told that its time is up, and then preempted; queued again each time, it ended with the \
         weights of a local run"
            .to_owned(),
    ))
}

/// Slurm's daemons, which end with this value.
struct Slurm<'a> {
    shell: &'a Shell,
    folder: &'a Path,
    daemons: Vec<Child>,
}

impl<'a> Slurm<'a> {
    fn start(shell: &'a Shell, folder: &'a Path) -> anyhow::Result<Self> {
        let host = cmd!(shell, "hostname").quiet().read()?;
        let conf = CONF.replace("FOLDER", &folder.display().to_string()).replace("HOST", &host);
        fs::write(folder.join("slurm.conf"), conf)?;
        fs::create_dir(folder.join("state"))?;
        let mut slurm = Self { shell, folder, daemons: Vec::new() };
        slurm.munge()?;
        slurm.daemon("slurmctld", "/usr/sbin/slurmctld", &["-D"])?;
        for node in NODES {
            slurm.daemon(node, "/usr/sbin/slurmd", &["-D", "-N", node])?;
        }
        until("three idle nodes", || {
            let idle =
                slurm.command("sinfo", &["--noheader", "--partition=low", "--states=idle", "--format=%D"]);
            Ok(idle
                .ignore_status()
                .read()?
                .trim()
                .parse()
                .is_ok_and(|nodes: usize| nodes == NODES.len())
                .then_some(()))
        })?;
        Ok(slurm)
    }

    /// Who signs what Slurm's daemons say to each other.
    fn munge(&mut self) -> anyhow::Result<()> {
        let key = self.folder.join("munge.key");
        cmd!(self.shell, "dd if=/dev/urandom of={key} bs=64 count=1 status=none").run()?;
        cmd!(self.shell, "chmod 600 {key}").run()?;
        let file = |option: &str, name: &str| format!("--{option}={}", self.folder.join(name).display());
        let files = [
            file("key-file", "munge.key"),
            file("socket", "munge.socket"),
            file("pid-file", "munge.pid"),
            file("log-file", "munge.log"),
            file("seed-file", "munge.seed"),
        ];
        let words: Vec<&str> = files.iter().map(String::as_str).chain(["--foreground", "--force"]).collect();
        self.daemon("munged", "/usr/sbin/munged", &words)?;
        let socket = self.folder.join("munge.socket");
        until("munged", || Ok(socket.exists().then_some(())))
    }

    fn daemon(&mut self, name: &str, program: &str, words: &[&str]) -> anyhow::Result<()> {
        let log = File::create(self.folder.join(name).with_extension("log"))?;
        let mut command = Command::new(program);
        command.args(words).current_dir(self.folder).env("SLURM_CONF", self.folder.join("slurm.conf"));
        self.daemons.push(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    fn command(&self, program: &str, words: &[&str]) -> Cmd<'a> {
        let conf = self.folder.join("slurm.conf");
        cmd!(self.shell, "{program} {words...}").env("SLURM_CONF", conf).quiet().ignore_stderr()
    }

    /// Submits a run; returns the number of its job.
    fn submit(&self, programs: &Programs, words: &[&str]) -> anyhow::Result<String> {
        let script = root().join("deploy/slurm/strata.sbatch");
        let out = self.folder.join("run");
        let log = format!("--output={}", self.folder.join("job.out").display());
        let [script, out] = [&script, &out].map(|path| path.display().to_string());
        let (config, options) = words.split_first().context("a configuration")?;
        let own = ["--parsable", &log, &script, config, &out, "--metrics", METRICS];
        let path = format!("{}:{}", programs.folder().display(), std::env::var("PATH")?);
        Ok(self.command("sbatch", &[&own, options].concat()).env("PATH", path).read()?)
    }

    /// Whether Slurm says something of a job; an error where it has failed.
    fn says(&self, job: &str, what: &str) -> bool {
        let said = self.command("scontrol", &["show", "job", job]).ignore_status().read();
        said.is_ok_and(|said| said.contains(what))
    }

    fn until_restarted(&self, job: &str, times: u32) -> anyhow::Result<()> {
        until(&format!("restart {times} of the job"), || {
            if self.says(job, "JobState=FAILED") || self.says(job, "JobState=COMPLETED") {
                bail!("the job has ended:\n{}", fs::read_to_string(self.folder.join("job.out"))?);
            }
            let again = self.says(job, &format!("Restarts={times}")) && self.says(job, "JobState=RUNNING");
            Ok(again.then_some(()))
        })
    }
}

impl Drop for Slurm<'_> {
    fn drop(&mut self) {
        let _ = self.command("scancel", &["--user=root"]).run();
        let _ = until("no jobs", || {
            let left = self.command("squeue", &["--noheader"]).ignore_status().read().unwrap_or_default();
            Ok(left.trim().is_empty().then_some(()))
        });
        for daemon in self.daemons.iter_mut().rev() {
            let process = daemon.id().to_string();
            if !succeeds(cmd!(self.shell, "kill {process}")) {
                let _ = daemon.kill();
            }
            let _ = daemon.wait();
        }
    }
}
