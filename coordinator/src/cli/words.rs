//! What commands say of what came out, in words.

use crate::summary::ReadoutSummary;

/// What a readout reached.
pub fn readout_line(readout: &ReadoutSummary) -> String {
    let (accuracy, on) = readout.measured();
    let validation = readout
        .validation_accuracy
        .map(|accuracy| format!("{:.2} % validation, ", 100.0 * accuracy))
        .unwrap_or_default();
    let rank = readout.effective_rank.map(|rank| format!(" effective rank {rank:.0},")).unwrap_or_default();
    format!(
        "readout of {} features: {:.2} % {on} accuracy ({validation}{:.2} % training),{rank} {:.1} s",
        readout.features,
        100.0 * accuracy,
        100.0 * readout.train_accuracy,
        readout.seconds
    )
}
