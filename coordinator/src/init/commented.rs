//! A configuration as a file for people: without what goes without saying, and with the reasons beside what is said.

use scff::layer::PairSource;

use super::survey::Survey;
use crate::config::{Config, LayerKind};

/// Keys that are left out where they say what holds without them.
const DEFAULTS: [&str; 12] = [
    "wire = \"f32\"",
    "samples = 0",
    "held_out = 0",
    "views = 1",
    "translation = 0",
    "flip = false",
    "crop_padding = 0",
    "crop_variants = 0",
    "schedule = \"greedy\"",
    "negatives = 1",
    "readout = true",
    "padding = 0",
];

/// The configuration's text, which reads back as the configuration.
pub fn text(config: &Config, survey: &Survey) -> String {
    let mut text = head(survey);
    let mut section = String::new();
    // Of the section `layers` and those below it.
    let mut layers = 0_usize;
    for line in config.to_toml().lines() {
        if line == "[[layers]]" {
            layers += 1;
        }
        if line.starts_with('[') {
            line.trim_matches(['[', ']']).clone_into(&mut section);
        }
        if DEFAULTS.contains(&line) {
            continue;
        }
        let key = line.split(" = ").next().unwrap_or_default();
        for reason in reason(config, &section, key, layers.saturating_sub(1)) {
            for part in ["# ", reason, "\n"] {
                text.push_str(part);
            }
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn head(survey: &Survey) -> String {
    let mut text = "# What was found:\n#\n".to_owned();
    for line in survey.to_string().lines() {
        text.push_str("#     ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(
        "#\n# `coordinator plan` says how long a run of this takes, `coordinator run` runs it.\n\n",
    );
    text
}

/// Why a key has its value, line by line.
fn reason(config: &Config, section: &str, key: &str, layer: usize) -> &'static [&'static str] {
    let convolution = config.layers[layer].kind == LayerKind::Conv;
    match (section, key) {
        ("", "seed") => {
            &["All random choices follow from it: another seed is another run of the same experiment."]
        }
        ("data", "path") => &["A relative path begins where this file is."],
        ("data", "test") => {
            &["The share that is not learned from, as many of each class, by which the readout is measured."]
        }
        ("data.images", "height") => {
            &["Images of other sizes are cropped about their middle and resized to this."]
        }
        ("data.images", "channels") => &["1 is grey, 3 are red, green and blue."],
        ("training", "batch") => &[
            "Samples of a step, each compared with one other: smaller where there are few samples, so that an epoch has steps.",
        ],
        ("training", "block") => {
            &["Units that are computed together. It fixes the bits of the result, not its quality."]
        }
        ("layers", "name") if layer == 0 => &[],
        ("layers", "name") => &["It learns from what the layer below passes on, once that is frozen."],
        ("layers", "units") if convolution => {
            &["Channels: each looks for a pattern of its own, everywhere in the map."]
        }
        ("layers", "units") => {
            &["Four for each number of a sample, so that a layer can say more than it is told."]
        }
        ("layers", "hidden") => {
            &["Units of each of two directions, one from the first frame on and one from the last."]
        }
        ("layers", "summary") => {
            &["Features are the means of states over the thirds of a recording: what is said when counts."]
        }
        ("layers", "pairs") if config.layers[layer].pairs == PairSource::Takes => {
            &["Its pairs are those of the layer below (algorithm 1 of the paper)."]
        }
        ("layers", "pairs") => {
            &["Samples are paired with themselves (positive) and with one another (negative)."]
        }
        ("layers", "transmit") if config.layers[layer].kind != LayerKind::BiRnn => {
            &["What is passed on is what lies above the mean of all units: few units speak at a time."]
        }
        ("layers", "epochs") => {
            &["Enough for the goodness of pairs to part; more of them bring little without labels to fit."]
        }
        ("layers", "lr") if convolution => {
            &["As for the paper's network of CIFAR-10, whose layers these are."]
        }
        ("layers", "theta_pos") => &[
            "Goodness of positive pairs is pushed above the first, that of negative pairs below the second.",
        ],
        ("layers", "lambda") => &[
            "Weight of the penalty on the goodness of positive pairs, which keeps it from growing for ever.",
        ],
        ("layers.readout_pool", "kind") => &[
            "Features are averages over neighbouring positions: fewer of them, and less dependent on where something is.",
        ],
        ("readout", "lr") => &[
            "The linear classifier that measures the frozen layers by the labels. Without this section none are read.",
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use source::{
        ChannelScale, ImageInput, InputKind, InputSpec, Layout, Lengths, Moments, NumberInput,
        RecordingInput, Shape,
    };

    use super::super::suggestion::suggest;
    use super::*;
    use crate::config;
    use crate::plan::Plan;

    /// A look at samples of this shape, of so many of each class.
    fn survey(shape: Shape, lengths: Lengths, samples: usize, classes: &[usize]) -> Survey {
        let kind = match lengths {
            Lengths::Frames { .. } => InputKind::Recordings(RecordingInput {
                frames: shape.height,
                mfcc: source::MfccOptions::default(),
                moments: None,
            }),
            Lengths::Alike if shape.height > 1 => {
                InputKind::Images(ImageInput { shape, scales: vec![ChannelScale::UNIT; shape.channels] })
            }
            Lengths::Alike => {
                InputKind::Numbers(NumberInput { shape, moments: None, columns: Vec::new(), table: None })
            }
        };
        let mut config = config::parse("given", include_str!("../../../configs/iris.toml"), &[]).unwrap();
        config.data.name = None;
        config.data.path = Some("some data".into());
        Survey {
            data: config.data,
            input: InputSpec { kind, classes: (0..classes.len()).map(|class| class.to_string()).collect() },
            layout: Layout { shape, lengths },
            samples,
            classes: classes.to_vec(),
            channels: vec![Moments { mean: 0.5, deviation: 0.25 }; shape.channels],
        }
    }

    #[test]
    fn whatever_is_found_the_text_is_the_configuration_and_it_plans() {
        for (side, channels) in
            [(1, 1), (1, 4), (1, 3000), (8, 1), (12, 3), (28, 1), (32, 3), (64, 3), (96, 3), (224, 3)]
        {
            for samples in [4, 150, 2000, 60_000, 2_000_000] {
                for classes in [&[][..], &[samples / 2, samples - samples / 2]] {
                    let shape = Shape { height: side, width: side, channels };
                    check(&survey(shape, Lengths::Alike, samples, classes));
                }
            }
        }
        let shape = Shape { height: 150, width: 1, channels: 39 };
        check(&survey(shape, Lengths::Frames { mean: 40.0 }, 3000, &[]));
    }

    fn check(survey: &Survey) {
        let config = suggest(survey);
        let text = text(&config, survey);
        let found = config::parse("written", &text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(found, config, "{text}");
        let training = source::TrainingSamples {
            labelled: if survey.labelled() { survey.samples as u32 * 9 / 10 } else { 0 },
            unlabeled: if survey.labelled() { 0 } else { survey.samples as u32 },
        };
        let plan =
            Plan::new(&config, survey.layout, training).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(plan.readout.is_some(), survey.labelled());
        assert!(plan.features() <= 20_000, "{} features of {:?}", plan.features(), survey.layout);
    }

    #[test]
    fn every_section_has_a_reason_and_nothing_goes_without_saying() {
        let shape = Shape { height: 28, width: 28, channels: 1 };
        let survey = survey(shape, Lengths::Alike, 7000, &[3500, 3500]);
        let text = text(&suggest(&survey), &survey);
        for said in [
            "#     7000 grey images, 28 x 28 pixels each",
            "# A relative path begins where this file is.\npath = \"some data\"",
            "# 1 is grey",
            "[readout]\n# The linear classifier",
            "(algorithm 1 of the paper).\npairs = \"takes\"",
        ] {
            assert!(text.contains(said), "{said} in\n{text}");
        }
        assert!(!text.contains("held_out") && !text.contains("crop_padding"), "{text}");
    }
}
