//! Runs that others are compared with, made once for all tests.
//!
//! cargo-nextest has a process for each test: what one has made lies in the target folder, under the number of its run of all
//! tests, and the others wait for it. Without cargo-nextest every process makes its own.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::process::target_folder;
use crate::{RunDir, Sandbox};

/// How long finished runs of other runs of all tests stay.
const KEPT: Duration = Duration::from_hours(2);

/// What a run that nobody disturbed gave, on one worker with one thread.
#[derive(Clone)]
pub struct Undisturbed {
    /// Its summary.
    pub summary: Value,
    /// Its metrics without speeds.
    pub course: Vec<Value>,
    /// Its `model.safetensors`.
    pub model: Vec<u8>,
    /// Its run directory, which others read too.
    pub run: RunDir,
}

/// The run that all others of the configuration of dense layers must equal.
pub fn reference() -> &'static Undisturbed {
    static REFERENCE: OnceLock<Undisturbed> = OnceLock::new();
    REFERENCE.get_or_init(|| Sandbox::new().undisturbed(&[]))
}

impl Sandbox {
    /// What the configuration with these changes gives, on one worker with one thread.
    pub fn undisturbed(&self, changes: &[&str]) -> Undisturbed {
        let mut hasher = DefaultHasher::new();
        (self.config, changes).hash(&mut hasher);
        let run = RunDir(folder().join(format!("{:016x}", hasher.finish())));
        let lock = File::create(run.0.with_extension("lock")).expect("a file to lock");
        lock.lock().expect("a lock");
        if !run.0.exists() {
            let part = run.0.with_extension("part");
            // Of a process that was killed.
            let _ = fs::remove_dir_all(&part);
            let out = part.to_str().expect("a path in UTF-8");
            self.run(out, &[&["--local", "1", "--threads", "1"], changes].concat());
            fs::rename(&part, &run.0).expect("a new name");
        }
        Undisturbed {
            summary: run.summary(),
            course: run.course(),
            model: run.read("model.safetensors"),
            run,
        }
    }

    /// Has the run directory of an undisturbed run, finished, as `out`; returns its summary.
    pub fn finished(&self, out: &str) -> Value {
        let undisturbed = self.undisturbed(&[]);
        undisturbed.run.copy_to(&self.path(out));
        undisturbed.summary
    }
}

/// Where the runs of this run of all tests lie.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let all = target_folder().join("tmp/undisturbed");
        remove_old(&all);
        let own = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
            format!("{}-{}", std::process::id(), now.as_nanos())
        });
        let folder = all.join(own);
        fs::create_dir_all(&folder).expect("a new folder");
        folder
    })
}

fn remove_old(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        if changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > KEPT)) {
            // Another process may have been faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
