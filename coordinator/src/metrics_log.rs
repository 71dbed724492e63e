//! Keeps the reports of a run in its directory, as lines of `metrics.jsonl`.

use std::sync::Arc;

use crate::events::{Event, Listener};
use crate::run_dir::{RunDir, RunDirError};

/// Writes reports to a run directory, whose metrics are rewound before a phase.
pub struct MetricsLog {
    dir: Arc<RunDir>,
}

impl MetricsLog {
    /// Writes to `dir`.
    pub fn new(dir: Arc<RunDir>) -> Self {
        Self { dir }
    }
}

impl Listener for MetricsLog {
    fn hear(&mut self, event: &Event) -> Result<(), RunDirError> {
        match event {
            Event::Report(metrics) => self.dir.append_metrics(metrics),
            _ => Ok(()),
        }
    }
}
