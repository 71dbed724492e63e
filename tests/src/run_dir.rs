//! What a run leaves behind, as tests look at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A run directory.
#[derive(Clone, Debug)]
pub struct RunDir(pub PathBuf);

impl RunDir {
    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// A file's content.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.0.join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `summary.json`
    pub fn summary(&self) -> Value {
        serde_json::from_slice(&self.read("summary.json")).expect("a summary")
    }

    /// The whole lines of `metrics.jsonl` so far.
    pub fn metrics(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.0.join("metrics.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of metrics")).collect()
    }

    /// How many reports on a layer there are so far.
    pub fn reports_on(&self, layer: u64) -> usize {
        self.metrics().iter().filter(|line| line["layer"] == layer).count()
    }

    /// Copies it to a place where nothing is yet.
    pub fn copy_to(&self, place: &Path) {
        for (path, content) in self.snapshot() {
            let copy = place.join(path.strip_prefix(&self.0).expect("a file of it"));
            fs::create_dir_all(copy.parent().expect("a folder")).expect("a new folder");
            fs::write(copy, content).expect("a new file");
        }
    }

    /// The metrics without speed, waiting and what workers send each other, which differ between any two runs.
    pub fn course(&self) -> Vec<Value> {
        let mut metrics = self.metrics();
        for line in &mut metrics {
            for way in ["samples_per_second", "waiting_seconds", "bytes_exchanged", "bytes_forwarded"] {
                line.as_object_mut().expect("an object").remove(way).expect("a number");
            }
        }
        metrics
    }

    /// The same, layer by layer: reports on layers that train together come in any order.
    pub fn course_by_layer(&self) -> Vec<Value> {
        let mut course = self.course();
        course.sort_by_key(|line| (line["layer"].as_u64(), line["step"].as_u64()));
        course
    }

    /// All files with their content, but for the lock.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.0, &mut files);
        files.remove(&self.0.join("lock"));
        files
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
}

/// The `weights_sha256` of a summary.
pub fn weights(summary: &Value) -> &str {
    summary["weights_sha256"].as_str().expect("a hash")
}
