//! One process: started, watched through its output, and gone when its handle is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use procfs::process::Stat;

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

/// The folder that everything is built in.
pub fn target_folder() -> PathBuf {
    beside_the_tests().parent().expect("profiles lie in a target folder").to_owned()
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
        let process = procfs::process::Process::new(self.child.id() as i32).expect("not waited for");
        1024 * process.status().expect("its status").vmhwm.expect("a living process")
    }

    /// The same of a process that may have ended; then it is not known any more.
    pub fn peak_rss_bytes_so_far(&self) -> Option<u64> {
        let process = procfs::process::Process::new(self.child.id() as i32).ok()?;
        Some(1024 * process.status().ok()?.vmhwm?)
    }

    /// It, as something that outlives this handle.
    pub fn pid(&self) -> Pid {
        Pid::of(&stat(self.child.id() as i32).expect("it has not been waited for"))
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
        children_of(self.child.id() as i32)
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
    pid: i32,
    started: u64,
}

impl Pid {
    fn of(stat: &Stat) -> Self {
        Self { pid: stat.pid, started: stat.starttime }
    }

    /// Whether it lives.
    pub fn is_running(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.starttime == self.started && stat.state != 'Z')
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

fn children_of(parent: i32) -> Vec<Pid> {
    let processes = procfs::process::all_processes().expect("tests run on Linux");
    let stats = processes.filter_map(|process| process.ok()?.stat().ok());
    let mut children: Vec<Stat> = stats.filter(|stat| stat.ppid == parent).collect();
    children.sort_by_key(|stat| (stat.starttime, stat.pid));
    children.iter().map(Pid::of).collect()
}

fn stat(pid: i32) -> Option<Stat> {
    procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()
}
