//! What xtask reads of a run: its `summary.json`, its `metrics.jsonl`, and the line that `coordinator eval` prints.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use xshell::{Shell, cmd};

/// `summary.json`
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    pub dataset: String,
    pub seed: u64,
    pub workers: usize,
    pub weights_sha256: String,
    pub seconds: f64,
    pub layers: Vec<Layer>,
    pub readout: Readout,
    pub blas: String,
    pub cpu: String,
}

/// One layer of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    pub name: String,
    pub seconds: f64,
}

/// Its readout.
#[derive(Clone, Debug, Deserialize)]
pub struct Readout {
    pub train_accuracy: f64,
    pub test_accuracy: Option<f64>,
    pub validation_accuracy: Option<f64>,
    pub held_out_accuracy: Option<f64>,
    pub seconds: f64,
}

impl Summary {
    /// The summary of a finished run.
    pub fn read(run: &Path) -> anyhow::Result<Self> {
        let file = run.join("summary.json");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// What the accuracy was measured on, and the accuracy.
    pub fn accuracy(&self) -> (&'static str, f64) {
        match self.readout {
            Readout { test_accuracy: Some(test), .. } => ("test", test),
            Readout { held_out_accuracy: Some(held_out), .. } => ("held-out", held_out),
            Readout { train_accuracy, .. } => ("training", train_accuracy),
        }
    }

    /// That, then the others: on what is set aside for validation, and on what was learned from.
    pub fn accuracies(&self) -> Vec<(&'static str, f64)> {
        let validation = self.readout.validation_accuracy.map(|accuracy| ("validation", accuracy));
        let training = ("training", self.readout.train_accuracy);
        [self.accuracy()].into_iter().chain(validation).chain([training]).collect()
    }
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct Metrics {
    pub layer: usize,
    pub epoch: u64,
    pub step: u64,
    pub samples_per_second: f64,
    pub bytes_exchanged: u64,
    pub bytes_forwarded: u64,
}

/// The metrics of a run.
pub fn metrics(run: &Path) -> anyhow::Result<Vec<Metrics>> {
    let file = run.join("metrics.jsonl");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    lines.with_context(|| file.display().to_string())
}

/// The accuracy of a readout of the raw input of a run.
pub fn baseline(shell: &Shell, coordinator: &Path, run: &Path) -> anyhow::Result<f64> {
    let said = cmd!(shell, "{coordinator} eval --features input {run}").read()?;
    println!("{said}");
    accuracy(&said).with_context(|| format!("no accuracy in what eval says: {said:?}"))
}

/// The first accuracy of a line such as `readout of 784 features: 83.10 % test accuracy (...`.
fn accuracy(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.starts_with("readout of "))?;
    let (_, rest) = line.split_once(": ")?;
    let (percent, _) = rest.split_once(" %")?;
    Some(percent.parse::<f64>().ok()? / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accuracy_is_read_from_the_line_of_eval() {
        let said = "note\nreadout of 784 features: 83.10 % test accuracy (85.00 % training), 3.0 s\n";
        assert!((accuracy(said).unwrap() - 0.831).abs() < 1e-12);
        assert_eq!(accuracy("nothing"), None);
    }
}
