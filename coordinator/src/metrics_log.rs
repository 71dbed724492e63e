//! Keeps the reports of a run in its directory, as lines of `metrics.jsonl`.

use std::sync::Arc;

use crate::events::{Event, Listener};
use crate::run_dir::{MetricsFile, RunDir, RunDirError};

/// Writes reports to a run directory.
pub struct MetricsLog {
    dir: Arc<RunDir>,
    file: Option<MetricsFile>,
}

impl MetricsLog {
    /// Writes to `dir`.
    pub fn new(dir: Arc<RunDir>) -> Self {
        Self { dir, file: None }
    }
}

impl Listener for MetricsLog {
    fn hear(&mut self, event: &Event) -> Result<(), RunDirError> {
        match event {
            // Before a phase the metrics are rewound, which makes a new file of them.
            Event::PhaseStarted { .. } => self.file = Some(self.dir.metrics()?),
            Event::Report(metrics) => {
                self.file.as_mut().expect("reports come in a phase").append(metrics)?;
            }
            _ => {}
        }
        Ok(())
    }
}
