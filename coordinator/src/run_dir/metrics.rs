//! `metrics.jsonl`: a line for every report, in the order of the steps.

use std::collections::HashMap;

use scff::batch::{LayerIndex, Step};
use serde::Deserialize;

use super::error::RunDirError;
use super::json;
use super::store::Store;
use crate::totals::Metrics;

const FILE: &str = "metrics.jsonl";

/// Adds a line, after the metrics were rewound to where it belongs; errors where a number of it is not finite.
pub fn append(store: &Store, metrics: &Metrics) -> Result<(), RunDirError> {
    let line = json::line(&store.files().at(FILE), metrics)?;
    store.append(FILE, (line + "\n").as_bytes())
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
    let bytes = store.files().read(FILE)?.unwrap_or_default();
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
        let place = store.files().at(FILE);
        let first = &damaged[..damaged.len().min(NAMED)];
        tracing::warn!(
            "{place}: {} line(s) that cannot be read are dropped: line {}{}",
            damaged.len(),
            first.join(", "),
            if first.len() < damaged.len() { ", ..." } else { "" }
        );
    }
    if kept.as_bytes() != bytes {
        store.write(FILE, kept.as_bytes())?;
    }
    store.open_end(FILE)
}

/// Damaged lines that a warning names.
const NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::objects::Patience;
    use crate::totals::{Measures, Spent};

    #[test]
    fn metrics_are_rewound_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().into(), &[], Patience::default()).unwrap();
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
        let store = Store::open(&folder.path().into(), &[], Patience::default()).unwrap();
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
        let store = Store::open(&folder.path().into(), &[], Patience::default()).unwrap();
        let metrics = Metrics {
            layer: 0,
            epoch: 1,
            step: 1,
            means: Measures { loss: f64::NAN, ..Measures::default() },
            learning_rate: 0.0,
            samples_per_second: 0.0,
            spent: Spent::default(),
        };
        let error = append(&store, &metrics).unwrap_err().to_string();
        assert!(
            error.ends_with("metrics.jsonl: loss is not a finite number; nothing was written"),
            "{error}"
        );
        assert!(!folder.path().join(FILE).exists());
    }
}
