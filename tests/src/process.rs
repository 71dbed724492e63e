//! One process: started, watched through its output, and gone when its handle is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::until;

/// The path of a program of this workspace.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("STRATA_BIN_DIR").map_or_else(beside_the_tests, PathBuf::from);
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is not there: build it with `cargo build --workspace`, or name its folder in STRATA_BIN_DIR",
        program.display()
    );
    program
}

/// A test program is TARGET/PROFILE/deps/NAME.
fn beside_the_tests() -> PathBuf {
    let own = std::env::current_exe().expect("tests know where they are");
    own.ancestors().nth(2).expect("tests lie in a target folder").to_owned()
}

/// A process that has not been waited for. Dropped, it is killed, and so are its children.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it printed.
    pub output: String,
    /// What it said on standard error.
    pub errors: String,
}

impl Process {
    /// Starts a command whose output goes to `log.out` and `log.err`. Its standard input is open while this lives.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = |extension| File::create(log.with_extension(extension)).expect("a log file");
        command.stdin(Stdio::piped()).stdout(file("out")).stderr(file("err"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log.with_extension("out")).expect("its log")
    }

    /// What it has said on standard error so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.log.with_extension("err")).expect("its log")
    }

    /// The most memory that it has had resident so far, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it has not been waited for");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says");
        let kibibytes = line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
        1024 * kibibytes.expect("a number of kB")
    }

    /// It, as something that outlives this handle.
    pub fn pid(&self) -> Pid {
        let stat = Stat::read(self.child.id()).expect("it has not been waited for");
        Pid { pid: stat.pid, started: stat.started }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Ended {
        let awaited = format!("the end of {}", self.log.display());
        let status = until(&awaited, || self.child.try_wait().expect("a child"));
        Ended { status, output: self.output(), errors: self.errors() }
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its children, the eldest first.
    pub fn children(&self) -> Vec<Pid> {
        children_of(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it has ended, its number may be another's.
        let children = if self.is_running() { self.children() } else { Vec::new() };
        self.kill();
        for child in children {
            child.kill();
        }
    }
}

/// A process that is not a child of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid {
    pid: u32,
    started: u64,
}

impl Pid {
    /// Whether it lives.
    pub fn is_running(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != "Z")
    }

    /// Kills it as `kill -9` does.
    pub fn kill(self) {
        self.signal("KILL");
    }

    /// Sends it a signal by its name, such as TERM.
    pub fn signal(self, signal: &str) {
        if self.is_running() {
            let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {} 2>&-", self.pid)]).status();
        }
    }

    /// Its children, the eldest first.
    pub fn children(self) -> Vec<Self> {
        children_of(self.pid)
    }
}

fn children_of(parent: u32) -> Vec<Pid> {
    let mut children: Vec<(u64, u32)> = fs::read_dir("/proc")
        .expect("tests run on Linux")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Stat::read(pid).filter(|stat| stat.parent == parent))
        .map(|stat| (stat.started, stat.pid))
        .collect();
    children.sort_unstable();
    children.into_iter().map(|(started, pid)| Pid { pid, started }).collect()
}

struct Stat {
    pid: u32,
    state: String,
    parent: u32,
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name, in parentheses, may hold spaces. What follows it is field 3 and so on.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        Some(Self {
            pid,
            state: fields[0].to_owned(),
            parent: fields[1].parse().ok()?,
            started: fields[19].parse().ok()?,
        })
    }
}
