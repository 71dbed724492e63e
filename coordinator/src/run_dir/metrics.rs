//! `metrics.jsonl`: a line for every report, in the order of the steps.

use std::collections::HashMap;

use scff::batch::{LayerIndex, Step};
use serde::Deserialize;

use super::error::RunDirError;
use super::json;
use super::store::{Appending, Store};
use crate::totals::Metrics;

const FILE: &str = "metrics.jsonl";

/// Takes lines of metrics.
#[derive(Debug)]
pub struct MetricsFile(Appending);

impl MetricsFile {
    /// Adds a line; errors where a number of it is not finite.
    pub fn append(&mut self, metrics: &Metrics) -> Result<(), RunDirError> {
        let line = json::line(self.0.path(), metrics)?;
        self.0.append((line + "\n").as_bytes())
    }
}

/// Opens the metrics, to go on writing.
pub fn open(store: &Store) -> Result<MetricsFile, RunDirError> {
    store.append(FILE).map(MetricsFile)
}

/// What a line of metrics is about.
#[derive(Deserialize)]
struct Place {
    layer: u32,
    step: u64,
}

/// What a line is about, if it can be read: all of a line are numbers.
fn place(line: &str) -> Option<Place> {
    serde_json::from_str::<HashMap<String, f64>>(line).ok()?;
    serde_json::from_str(line).ok()
}

/// Drops the lines but those of `frozen` layers and of `training` ones up to `step`: later steps are taken again. Lines that
/// cannot be read are dropped too.
pub fn rewind(
    store: &Store,
    frozen: &[LayerIndex],
    training: &[LayerIndex],
    step: Step,
) -> Result<(), RunDirError> {
    let Some(bytes) = store.files().read(FILE)? else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes);
    let mut kept = String::new();
    let mut damaged = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        match place(line) {
            Some(Place { layer, step: taken }) => {
                let layer = LayerIndex(layer);
                if frozen.contains(&layer) || (training.contains(&layer) && taken <= step.0) {
                    kept.push_str(line.trim_end());
                    kept.push('\n');
                }
            }
            // Whoever is killed while a line is written leaves its beginning.
            None if line.ends_with('\n') => damaged.push((number + 1).to_string()),
            None => {}
        }
    }
    if !damaged.is_empty() {
        let path = store.files().at(FILE);
        let first = &damaged[..damaged.len().min(NAMED)];
        tracing::warn!(
            "{}: {} line(s) that cannot be read are dropped: line {}{}",
            path.display(),
            damaged.len(),
            first.join(", "),
            if first.len() < damaged.len() { ", ..." } else { "" }
        );
    }
    if kept.as_bytes() == bytes { Ok(()) } else { store.write(FILE, kept.as_bytes()) }
}

/// Damaged lines that a warning names.
const NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::totals::{Measures, Spent};

    #[test]
    fn metrics_are_rewound_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &[]).unwrap();
        let file = folder.path().join(FILE);
        let line = |layer, step| format!("{{\"layer\":{layer},\"step\":{step}}}\n");
        let lines: Vec<String> =
            [(0, 10), (0, 20), (1, 10), (1, 20)].iter().map(|&(l, s)| line(l, s)).collect();
        fs::write(&file, lines.concat() + "{\"layer\":1,\"st").unwrap();
        rewind(&store, &[LayerIndex(0)], &[LayerIndex(1)], Step(10)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), lines[..3].concat());
        rewind(&store, &[], &[LayerIndex(0), LayerIndex(1)], Step(10)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), [line(0, 10), line(1, 10)].concat());
        rewind(&store, &[], &[LayerIndex(0)], Step(0)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn lines_that_cannot_be_read_are_dropped_and_the_others_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &[]).unwrap();
        let file = folder.path().join(FILE);
        let good = "{\"layer\":0,\"step\":10,\"loss\":0.5}\n";
        let damaged = [&b"\n"[..], b"nonsense\n", b"\xff\xfe\n", b"{\"layer\":0,\"step\":5,\"loss\":null}\n"];
        let bytes: Vec<u8> =
            damaged.iter().flat_map(|line| [*line, good.as_bytes()]).flatten().copied().collect();
        fs::write(&file, bytes).unwrap();
        rewind(&store, &[LayerIndex(0)], &[], Step(0)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), good.repeat(4));
    }

    #[test]
    fn a_line_that_could_not_be_read_back_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &[]).unwrap();
        let metrics = Metrics {
            layer: 0,
            epoch: 1,
            step: 1,
            means: Measures { loss: f64::NAN, ..Measures::default() },
            learning_rate: 0.0,
            samples_per_second: 0.0,
            spent: Spent::default(),
        };
        let error = open(&store).unwrap().append(&metrics).unwrap_err().to_string();
        assert!(
            error.ends_with("metrics.jsonl: loss is not a finite number; nothing was written"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "");
    }
}
