//! A folder of its own for a test, and what is started in it.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Ended, Process, program};
use crate::{RunDir, data, until};

/// A folder with a data set and a configuration; run directories come to lie in it.
pub struct Sandbox {
    folder: TempDir,
    started: Cell<u32>,
    /// Whether coordinators measure workers and links. Who shares what then depends on the machine.
    measures: bool,
    /// What its configuration file says.
    pub(crate) config: &'static str,
}

/// A worker that runs on its own.
pub struct Worker {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: String,
}

impl Sandbox {
    /// The name of its configuration file.
    pub const CONFIG: &str = "small.toml";

    /// A new one, with the configuration of three dense layers.
    #[expect(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        Self::with(include_str!("small.toml"))
    }

    /// A new one, with the configuration of three convolutions.
    pub fn of_convolutions() -> Self {
        Self::with(include_str!("convolutions.toml"))
    }

    /// A new one, with recordings of different lengths besides images, and the configuration of three recurrent layers.
    pub fn of_sequences() -> Self {
        let sandbox = Self::with(include_str!("sequences.toml"));
        data::write_spoken(&sandbox.path("data/spoken"));
        sandbox
    }

    /// A new one, with recordings of different lengths and the configuration of two recurrent layers.
    pub fn of_recordings() -> Self {
        let sandbox = Self::with(include_str!("recordings.toml"));
        data::write_spoken(&sandbox.path("data/spoken"));
        sandbox
    }

    /// A new one, with so many images without labels in the folder `digits`, and the configuration of three dense layers and no
    /// readout.
    pub fn of_unlabelled_images(count: usize) -> Self {
        let sandbox = Self::new();
        sandbox.write_images("digits", count, false);
        let (without, _) = sandbox.config.split_once("[readout]").expect("the last section");
        let config = without.replace("name = \"mnist\"", "path = \"digits\"");
        fs::write(sandbox.path(Self::CONFIG), config).expect("a file");
        sandbox
    }

    fn with(config: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        data::write(&folder.path().join("data/mnist"), data::TRAINING);
        fs::create_dir(folder.path().join("logs")).expect("a new folder");
        fs::write(folder.path().join(Self::CONFIG), config).expect("a new file");
        Self { folder, started: Cell::new(0), measures: false, config }
    }

    /// The same, whose coordinators measure workers and the links to them.
    #[must_use]
    pub fn measuring(self) -> Self {
        Self { measures: true, ..self }
    }

    /// Puts a data set of so many samples to learn from into the place of the one that is there.
    pub fn write_samples(&self, training: usize) {
        data::write(&self.path("data/mnist"), training);
    }

    /// Writes so many images of the same kind into a folder in it, as grey PNG files called by their numbers; where `labelled`, in
    /// a folder for each label.
    pub fn write_images(&self, folder: &str, count: usize, labelled: bool) {
        data::write_images(&self.path(folder), count, labelled);
    }

    /// A place in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The run directory of this name.
    pub fn run_dir(&self, name: &str) -> RunDir {
        RunDir(self.path(name))
    }

    /// Starts a program of the workspace with these words.
    pub fn start(&self, name: &str, words: &[&str]) -> Process {
        self.spawn(name, Command::new(program(name)).args(words))
    }

    /// Starts a coordinator for which no file may have more than so many bytes, as on a full disk.
    pub fn start_on_a_full_disk(&self, bytes: u64, words: &[&str]) -> Process {
        // Limits count blocks of 512 bytes; where a signal says so a program ends before it learns what failed.
        let script = format!("trap '' XFSZ && ulimit -f {} && exec \"$0\" \"$@\"", bytes / 512);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program("coordinator")).args(words);
        self.spawn("coordinator", &mut command)
    }

    /// Starts a command in its folder, with its data and without what the environment says otherwise.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Process {
        self.started.set(self.started.get() + 1);
        let log = self.path(&format!("logs/{name}-{}", self.started.get()));
        command.current_dir(self.folder.path());
        command.env("STRATA_DATA", self.path("data"));
        command.env("STRATA_UNMEASURED", (!self.measures).to_string());
        // A kernel that the environment names holds for local workers alone: runs that are compared would have other bits.
        for variable in ["RUST_LOG", "STRATA_BLAS_KERNEL", "STRATA_LOG_FORMAT", "OPENBLAS_CORETYPE"] {
            command.env_remove(variable);
        }
        // What workers remember of their kernels, they remember for all tests.
        command.env("XDG_CACHE_HOME", program("worker").with_file_name("test-cache"));
        Process::start(command, &log)
    }

    /// Starts a run of the configuration in the run directory `out`.
    pub fn start_run(&self, out: &str, words: &[&str]) -> Process {
        self.start("coordinator", &[&["run", Self::CONFIG, "--out", out], words].concat())
    }

    /// Starts the same in a shell's `script`, to which it comes as "$@".
    pub fn start_run_in_shell(&self, script: &str, out: &str, words: &[&str]) -> Process {
        let coordinator = program("coordinator");
        let coordinator = coordinator.to_str().expect("a path in UTF-8");
        let run = ["run", Self::CONFIG, "--out", out];
        self.spawn("shell", Command::new("sh").args(["-c", script, "sh", coordinator]).args(run).args(words))
    }

    /// Runs the configuration to its end; returns the summary.
    pub fn run(&self, out: &str, words: &[&str]) -> Value {
        self.start_run(out, words).end().expect_success();
        self.run_dir(out).summary()
    }

    /// Starts a worker, on a port of its own choice unless `words` name one.
    pub fn worker(&self, words: &[&str]) -> Worker {
        serving(self.start("worker", &to_serve(words)))
    }

    /// Starts a worker where a shell has set limits or variables, such as `ulimit -n 64` or `export A=b`.
    pub fn worker_under(&self, limits: &str, words: &[&str]) -> Worker {
        let script = format!("{limits} && exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program("worker")).args(to_serve(words));
        serving(self.spawn("worker", &mut command))
    }
}

/// A worker, once it listens.
fn serving(mut process: Process) -> Worker {
    let address = until("a worker's address", || {
        let output = process.output();
        let line = output.strip_suffix('\n').and_then(|line| line.strip_prefix("listening on "));
        assert!(line.is_some() || process.is_running(), "{}", process.errors());
        line.map(str::to_owned)
    });
    Worker { process, address }
}

/// The words of a worker that serves.
fn to_serve<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let listen: &[&str] = if words.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    [&["--until-stdin-closes"], listen, words].concat()
}

impl Ended {
    /// Fails the test unless it went well.
    pub fn expect_success(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.errors);
    }

    /// The one line of error that it must have ended with, which must state all `facts`.
    pub fn expect_error(&self, facts: &[&str]) {
        assert!(!self.status.success(), "{}", self.output);
        let errors: Vec<&str> = self.errors.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one clear error: {}", self.errors);
        assert!(!self.errors.contains("panicked"), "{}", self.errors);
        for fact in facts {
            assert!(errors[0].contains(fact), "{:?} says {fact:?}", errors[0]);
        }
    }
}
