//! Workers under systemd, on containers that stand for machines: installed over ssh, upgraded while they train.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use super::bench::{Bench, Outcome};
use super::run::{Programs, Run, check_weights, read_summary};
use super::watch::{Watched, until};
use crate::shell::{root, succeeds};
use crate::{image, packages};

const IMAGE: &str = "strata-systemd-test";
const HOSTS: [&str; 2] = ["strata-systemd-test-1", "strata-systemd-test-2"];
const METRICS: &str = "127.0.0.1:19552";
const UNIT: &str = "strata-worker.service";
/// The highest exposure, in tenths, that `systemd-analyze security` may find.
const EXPOSURE: &str = "30";

const MACHINE: &str = "FROM debian:bookworm-slim
RUN apt-get update \\
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends systemd systemd-sysv openssh-server
CMD [\"/sbin/init\"]
";

/// Installs workers on two machines, trains on them, and upgrades them meanwhile.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    if !succeeds(cmd!(shell, "docker info")) {
        return Ok(Outcome::Skipped(
            "no Docker engine answers, whose containers would be the machines".to_owned(),
        ));
    }
    let needed = [("ssh", "openssh-client"), ("scp", "openssh-client"), ("debootstrap", "debootstrap")];
    if let Err(error) = packages::for_testing(shell, &needed) {
        return Ok(Outcome::Skipped(error.to_string()));
    }
    let folder = bench.folder("systemd")?;
    let programs = Programs::unpack(bench, &folder)?;
    let machines = Machines::start(shell, &folder)?;
    let certs = machines.certificates(&programs)?;
    machines.install(bench, &certs)?;
    let exposure = machines.check_unit()?;
    train(bench, &programs, &machines, &certs)?;
    Ok(Outcome::Passed(format!(
        "workers were installed on two machines over ssh and upgraded one by one while they trained, with the weights of \
         a local run; {exposure}"
    )))
}

/// Containers that run systemd and sshd, which end with this value.
struct Machines<'a> {
    shell: &'a Shell,
    folder: &'a Path,
    addresses: Vec<String>,
}

impl<'a> Machines<'a> {
    fn start(shell: &'a Shell, folder: &'a Path) -> anyhow::Result<Self> {
        image::provide_base(shell)?;
        cmd!(shell, "docker build --quiet -t {IMAGE} -")
            .stdin(MACHINE)
            .ignore_stdout()
            .ignore_stderr()
            .run()?;
        let key = folder.join("key");
        cmd!(shell, "ssh-keygen -q -t ed25519 -N").arg("").arg("-f").arg(&key).run()?;
        let mut machines = Self { shell, folder, addresses: Vec::new() };
        machines.remove();
        for host in HOSTS {
            machines.boot(host, &std::fs::read_to_string(key.with_extension("pub"))?)?;
        }
        Ok(machines)
    }

    fn boot(&mut self, host: &str, key: &str) -> anyhow::Result<()> {
        let shell = self.shell;
        let rights = [
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
        ];
        let places = ["--tmpfs=/run", "--tmpfs=/tmp:exec", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"];
        cmd!(shell, "docker run --detach --name {host} --cgroupns=private {rights...} {places...} {IMAGE}")
            .ignore_stdout()
            .run()?;
        let script = "mkdir -p -m 700 ~/.ssh && cat > ~/.ssh/authorized_keys";
        cmd!(shell, "docker exec --interactive {host} sh -ec {script}").stdin(key).run()?;
        until("sshd", || {
            Ok(succeeds(cmd!(shell, "docker exec {host} systemctl is-active ssh")).then_some(()))
        })?;
        let address =
            cmd!(shell, "docker inspect {host}").args(["--format", "{{.NetworkSettings.IPAddress}}"]);
        self.addresses.push(address.read()?);
        Ok(())
    }

    /// A folder of certificates for these machines.
    fn certificates(&self, programs: &Programs) -> anyhow::Result<std::path::PathBuf> {
        let (shell, coordinator, certs) = (self.shell, programs.coordinator(), self.folder.join("certs"));
        let names = self.addresses.iter().flat_map(|address| ["--name", address]);
        cmd!(shell, "{coordinator} certs init --dir {certs}").ignore_stdout().ignore_stderr().run()?;
        let issue = cmd!(shell, "{coordinator} certs issue --dir {certs} --role worker {names...}");
        issue.ignore_stdout().ignore_stderr().run()?;
        let issue = cmd!(shell, "{coordinator} certs issue --dir {certs} --role coordinator --name head");
        issue.ignore_stdout().ignore_stderr().run()?;
        Ok(certs)
    }

    /// What a user does: the script, for a list of machines.
    fn install(&self, bench: &Bench, certs: &Path) -> anyhow::Result<()> {
        let hosts: Vec<String> = self.addresses.iter().map(|address| format!("root@{address}\n")).collect();
        let list = self.folder.join("hosts");
        std::fs::write(&list, hosts.concat())?;
        let folder = self.folder.display();
        let options = format!(
            "-i {folder}/key -o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known -o LogLevel=ERROR"
        );
        let (script, archive) = (root().join("deploy/systemd/install"), bench.archive()?);
        cmd!(self.shell, "{script} {list} {archive} {certs}")
            .env("SSH", format!("ssh {options}"))
            .env("SCP", format!("scp {options}"))
            .run()
            .context("the installation")
    }

    /// Has systemd check the unit, with the program installed; returns its exposure in systemd's words.
    fn check_unit(&self) -> anyhow::Result<String> {
        let (shell, host) = (self.shell, HOSTS[0]);
        let found = cmd!(shell, "docker exec {host} systemd-analyze verify {UNIT}").output()?;
        let said = [found.stdout, found.stderr].concat();
        if !said.is_empty() {
            bail!("systemd-analyze verify: {}", String::from_utf8_lossy(&said));
        }
        let unit = format!("/etc/systemd/system/{UNIT}");
        let words = ["--no-pager", "--offline=yes", "--threshold", EXPOSURE];
        let found = cmd!(shell, "docker exec {host} systemd-analyze security {words...} {unit}");
        let said = found.ignore_stderr().read().context("more exposure than is allowed")?;
        let line = said.lines().rev().find(|line| line.contains("Overall exposure level"));
        Ok(line.context("no exposure level")?.trim_start_matches(['→', ' ']).to_owned())
    }

    fn remove(&self) {
        let hosts = HOSTS;
        let _ = cmd!(self.shell, "docker rm --force --volumes {hosts...}")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run();
    }
}

impl Drop for Machines<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A run during which all workers are upgraded, one after the other.
fn train(bench: &Bench, programs: &Programs, machines: &Machines, certs: &Path) -> anyhow::Result<()> {
    let config = root().join("configs/iris.toml");
    let words = [
        &config.display().to_string(),
        "--set",
        "layers.0.epochs=8000",
        "--set",
        "training.checkpoint_every=500",
    ];
    let workers: Vec<String> = machines.addresses.iter().map(|address| format!("{address}:50551")).collect();
    let out = machines.folder.join("run");
    let mut command = Command::new(programs.coordinator());
    command
        .arg("run")
        .args(words)
        .args(["--metrics", METRICS, "--workers", &workers.join(","), "--out"])
        .arg(&out);
    for (variable, file) in [
        ("STRATA_TLS_CA", "ca.pem"),
        ("STRATA_TLS_CERT", "coordinator.pem"),
        ("STRATA_TLS_KEY", "coordinator-key.pem"),
    ] {
        command.env(variable, certs.join(file));
    }
    let mut run = Run::start(&mut command, &machines.folder.join("run.log"))?;
    let watched = Watched { address: METRICS.to_owned() };
    watched.until_trainers(2)?;
    watched.until("strata_checkpoint_timestamp_seconds", 1.0)?;
    machines.install(bench, certs)?;
    watched.until_trainers(2).context("after the upgrade")?;
    run.end()?;
    let summary = read_summary(&out)?;
    let local = programs.local_weights(bench, &words, &summary, &machines.folder.join("local"))?;
    check_weights(&summary, &local)
}
