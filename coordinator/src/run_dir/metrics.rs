//! `metrics.jsonl`: a line for every report, in the order of the steps.

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
    /// Adds a line.
    pub fn append(&mut self, metrics: &Metrics) -> Result<(), RunDirError> {
        self.0.append((json::line(metrics) + "\n").as_bytes())
    }
}

/// Opens the metrics, to go on writing.
pub fn open(store: &Store) -> Result<MetricsFile, RunDirError> {
    store.append(FILE).map(MetricsFile)
}

/// Reads a step from a line of metrics.
#[derive(Deserialize)]
struct Place {
    layer: u32,
    step: u64,
}

/// Drops the lines but those of `frozen` layers and of `training` ones up to `step`: later steps are taken again.
pub fn rewind(
    store: &Store,
    frozen: &[LayerIndex],
    training: &[LayerIndex],
    step: Step,
) -> Result<(), RunDirError> {
    let Some(bytes) = store.files().read(FILE)? else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes);
    let stays = |line: &&str| {
        serde_json::from_str::<Place>(line).is_ok_and(|place| {
            let layer = LayerIndex(place.layer);
            frozen.contains(&layer) || (training.contains(&layer) && place.step <= step.0)
        })
    };
    let kept: String = text.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
    if kept.len() == bytes.len() { Ok(()) } else { store.write(FILE, kept.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
}
