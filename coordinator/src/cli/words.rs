//! What commands say of what came out, in words.

use std::fmt::Write as _;

use crate::summary::{FewLabelsSummary, LayerWithoutLabels, ReadoutSummary, WithoutLabels};

/// What a readout reached.
pub fn readout_line(readout: &ReadoutSummary) -> String {
    let accuracies = &readout.accuracies;
    let (accuracy, on) = accuracies.measured();
    let validation = accuracies
        .validation_accuracy
        .map(|accuracy| format!("{:.2} % validation, ", 100.0 * accuracy))
        .unwrap_or_default();
    let rank = readout.effective_rank.map(|rank| format!(" effective rank {rank:.0},")).unwrap_or_default();
    format!(
        "readout of {} features: {:.2} % {on} accuracy ({validation}{:.2} % training),{rank} {:.1} s",
        readout.features,
        100.0 * accuracy,
        100.0 * accuracies.train_accuracy,
        readout.seconds
    )
}

/// What can be said of layers without labels, a line for each.
pub fn without_labels(measures: &WithoutLabels) -> String {
    let WithoutLabels { samples, of, neighbours, layers, seconds } = measures;
    let mut text = format!("without labels, by {samples} {of} samples, in {seconds:.1} s:\n");
    writeln!(
        text,
        "{:<10} {:>8} {:>20} {:>15} {:>27}",
        "layer",
        "features",
        "goodness pos / neg",
        "effective rank",
        format!("of {neighbours} neighbours, kept")
    )
    .expect("text");
    for layer in layers {
        let LayerWithoutLabels { name, features, goodness_pos, goodness_neg, .. } = layer;
        let rank = layer.effective_rank.map_or_else(|| "none".to_owned(), |rank| format!("{rank:.1}"));
        let goodness = format!("{goodness_pos:.3} / {goodness_neg:.3}");
        let kept = format!("{:.1} %", 100.0 * layer.neighbour_agreement);
        writeln!(text, "{name:<10} {features:>8} {goodness:>20} {rank:>15} {kept:>27}").expect("text");
    }
    text.truncate(text.trim_end().len());
    text
}

/// What a readout of few labels reached, and how.
pub fn few_labels_line(summary: &FewLabelsSummary) -> String {
    let FewLabelsSummary { labels, features, strength, seconds, .. } = summary;
    let percent = |accuracy: f64| format!("{:.2} %", 100.0 * accuracy);
    let measured = [(summary.test_accuracy, "test"), (summary.held_out_accuracy, "held-out")];
    let mut accuracies: Vec<String> = measured
        .into_iter()
        .filter_map(|(accuracy, on)| Some(format!("{} {on} accuracy", percent(accuracy?))))
        .collect();
    let chosen = match (summary.folds, summary.cross_validated_accuracy) {
        (Some(folds), Some(accuracy)) => {
            accuracies.push(format!("{} by cross-validation in {folds} parts", percent(accuracy)));
            match summary.classes_with_one_label {
                0 => String::new(),
                1 => ", which the label that is alone in its class took no part in".to_owned(),
                alone => {
                    format!(", which the {alone} labels that are alone in their classes took no part in")
                }
            }
        }
        _ => ", not chosen by cross-validation: no class has two labels".to_owned(),
    };
    accuracies.push(format!("{} of the labels themselves", percent(summary.train_accuracy)));
    format!(
        "readout of {features} features, by {labels} labels of {} classes: {}; penalty {strength:.1e}{chosen}; {seconds:.1} s",
        summary.classes_with_labels,
        accuracies.join(", "),
    )
}
