//! Hosts as network namespaces, with links between them that are as slow as they should be.

use std::process::Command;

use anyhow::{Context, bail};
use xshell::cmd;

use crate::shell::{self, succeeds};

/// A link between two hosts.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Megabits a second, each way.
    pub megabits: u32,
    /// Milliseconds there and back.
    pub round_trip_ms: f64,
}

impl Link {
    /// What it is called.
    pub fn name(link: Option<Self>) -> String {
        match link {
            None => "loopback".to_owned(),
            Some(Self { megabits, round_trip_ms }) => format!("{megabits} Mbit/s and {round_trip_ms} ms"),
        }
    }
}

/// Milliseconds there and back where nothing is added.
pub const NO_DELAY: f64 = 0.01;

/// Where a worker runs.
pub struct Host {
    /// Its network namespace.
    pub namespace: Option<String>,
    /// Where a worker on it listens.
    pub listen: String,
}

impl Host {
    /// A command that runs there.
    pub fn command(&self, program: &str) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }
}

/// Two hosts on a bridge. Namespaces and bridge are removed when this value is dropped.
pub struct Network {
    /// The hosts.
    pub hosts: Vec<Host>,
    link: Option<Link>,
    delayed: bool,
}

const BRIDGE: &str = "strata-br";

impl Network {
    /// Loopback, or hosts that `link` connects; an error where they may not be made.
    pub fn new(link: Option<Link>) -> anyhow::Result<Self> {
        let Some(shape) = link else {
            let host = || Host { namespace: None, listen: "127.0.0.1:0".to_owned() };
            return Ok(Self { hosts: vec![host(), host()], link, delayed: false });
        };
        let hosts = (0..2).map(|index| Host {
            namespace: Some(format!("strata-{index}")),
            listen: format!("10.213.77.{}:50551", index + 2),
        });
        let mut network = Self { hosts: hosts.collect(), link, delayed: false };
        network.remove();
        network
            .build(shape)
            .context("network namespaces could not be made (root and iproute2 are needed)")?;
        Ok(network)
    }

    fn build(&mut self, shape: Link) -> anyhow::Result<()> {
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["address", "add", "10.213.77.1/24", "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        for (index, host) in self.hosts.iter().enumerate() {
            let namespace = host.namespace.as_deref().context("a host of a network")?;
            let (outer, inner) = (format!("strata-v{index}"), "eth0");
            ip(&["netns", "add", namespace])?;
            ip(&["link", "add", &outer, "type", "veth", "peer", "name", inner, "netns", namespace])?;
            ip(&["link", "set", &outer, "master", BRIDGE, "up"])?;
            let address = format!("10.213.77.{}/24", index + 2);
            ip(&["-n", namespace, "address", "add", &address, "dev", inner])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
            ip(&["-n", namespace, "link", "set", inner, "up"])?;
            // Two links lie between two hosts, and a round trip crosses each twice.
            let delay = shape.round_trip_ms / 4.0;
            let there = slow_down(None, &outer, shape.megabits, delay)?;
            let back = slow_down(Some(namespace), inner, shape.megabits, delay)?;
            self.delayed = there && back;
        }
        Ok(())
    }

    /// The link as it is: without the delay where this kernel adds none.
    pub fn link(&self) -> Option<Link> {
        let round_trip_ms = |link: Link| if self.delayed { link.round_trip_ms } else { NO_DELAY };
        self.link.map(|link| Link { round_trip_ms: round_trip_ms(link), ..link })
    }

    /// What was measured on.
    pub fn describe(&self) -> String {
        let name = Link::name(self.link);
        match self.link {
            Some(_) if !self.delayed => {
                format!("{name} (this kernel has no netem: the rate is kept to, the delay is not added)")
            }
            _ => name,
        }
    }

    fn remove(&self) {
        let Ok(shell) = shell::open() else { return };
        for host in self.hosts.iter().filter_map(|host| host.namespace.as_deref()) {
            succeeds(cmd!(shell, "ip netns del {host}"));
        }
        succeeds(cmd!(shell, "ip link del {BRIDGE}"));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Slows what leaves by a device down; returns whether it is delayed too.
fn slow_down(namespace: Option<&str>, device: &str, megabits: u32, delay_ms: f64) -> anyhow::Result<bool> {
    let shell = shell::open()?;
    let within = namespace.map_or(vec![], |namespace| vec!["ip", "netns", "exec", namespace]);
    let head = [&within, &["tc", "qdisc", "replace", "dev", device, "root"][..]].concat();
    let can = |discipline: &[&str]| {
        let words = [&head, discipline].concat();
        let (program, words) = words.split_first().expect("a program");
        succeeds(cmd!(shell, "{program} {words...}"))
    };
    let (rate, delay) = (format!("{megabits}mbit"), format!("{delay_ms}ms"));
    let netem = ["netem", "rate", &rate, "delay", &delay, "limit", "10000"];
    if can(&netem) {
        return Ok(true);
    }
    // What fits a burst passes at full speed: so it holds a few packets only, and these are small.
    let of_namespace = namespace.map_or(vec![], |namespace| vec!["-n", namespace]);
    let small_packets = ["link", "set", device, "gso_max_size", "3000", "gso_max_segs", "2"];
    ip(&[&of_namespace, &small_packets[..]].concat())?;
    let tbf = ["tbf", "rate", &rate, "burst", "8kb", "latency", "100ms"];
    if can(&tbf) {
        return Ok(false);
    }
    bail!("tc can neither do netem nor tbf here")
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let shell = shell::open()?;
    let output =
        cmd!(shell, "ip {arguments...}").quiet().ignore_status().output().context("ip, of iproute2")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
