//! What of a data set is used, and how views of its samples differ.

use scff::layer::{LayerSpec, RowLength};
use source::{Augmentation, Lengths, Moves, Shape, TrainingSamples};

use super::error::{PlanError, check};
use crate::config::{Config, DataConfig};

/// Samples of a batch, at least: a sample is compared with another one.
pub const SMALLEST_BATCH: u32 = 2;

/// Whether the first layer reads samples of such lengths.
pub fn check_lengths(first: &LayerSpec, lengths: Lengths) -> Result<(), PlanError> {
    let reads = first.reads();
    let fits = lengths == Lengths::Alike || matches!(reads, RowLength::Sequences { .. });
    let found = format!("a kind that reads {reads}");
    check(fits, "layers[0].kind", found, "one that reads sequences of any length, as samples are")
}

/// The training samples that are used of those there are.
pub fn used(data: &DataConfig, all: TrainingSamples) -> Result<TrainingSamples, PlanError> {
    let TrainingSamples { labelled, unlabeled } = all;
    let most = if unlabeled > 0 { unlabeled } else { labelled };
    let few = format!("{SMALLEST_BATCH} to {most}, or 0 for all");
    check(
        data.samples == 0 || (SMALLEST_BATCH..=most).contains(&data.samples),
        "data.samples",
        data.samples,
        few,
    )?;
    Ok(match (data.samples, unlabeled) {
        (0, _) => all,
        (samples, 0) => TrainingSamples::labelled(samples),
        (samples, _) => TrainingSamples { labelled, unlabeled: samples },
    })
}

/// How many of the labelled samples are not held out: enough for a batch where layers train on them, and for the readout.
pub fn not_held_out(data: &DataConfig, used: TrainingSamples) -> Result<u32, PlanError> {
    let TrainingSamples { labelled, unlabeled } = used;
    let (kept, purpose) = if unlabeled > 0 {
        (1, "since the readout learns from the others")
    } else {
        (SMALLEST_BATCH, "since layers train on the others, two at least")
    };
    let most = labelled.saturating_sub(kept);
    let expected = if labelled == 0 {
        "0: only labelled samples are held out; of others, data.test sets a share aside".to_owned()
    } else {
        format!("0 to {most} of the {labelled} samples, {purpose}")
    };
    check(data.held_out <= most, "data.held_out", data.held_out, expected)?;
    Ok(labelled - data.held_out)
}

/// Where the samples that layers train on come from, in words.
pub fn remain(data: &DataConfig, training_samples: u32, unlabeled: bool) -> String {
    let DataConfig { samples, held_out, .. } = *data;
    if held_out > 0 && !unlabeled {
        let all = training_samples + held_out;
        return format!("{training_samples} samples are left of {all} after data.held_out = {held_out}");
    }
    if samples > 0 {
        return format!("layers train on data.samples = {samples}");
    }
    format!("there are {training_samples} samples")
}

/// How views differ, by the configuration's `[data]`.
pub fn augmentation(config: &Config, shape: Shape) -> Result<Augmentation, PlanError> {
    check_moves(&config.data, shape)?;
    let (moves, key, found) = moves(config);
    let flip = config.data.flip;
    let augmentation = Augmentation::new(moves, flip).ok_or_else(|| PlanError {
        key: key.to_owned(),
        found: found.to_string(),
        expected: format!(
            "less: {} moves{} make more than {} views",
            moves.count(),
            if flip { " and their mirror images" } else { "" },
            u16::MAX
        ),
    })?;
    let views = config.data.views;
    check((1..=2).contains(&views), "data.views", views, "1 or 2")?;
    check(
        views == 1 || augmentation.variants() > 1,
        "data.views",
        views,
        "1 where nothing is augmented (no data.translation, data.crop_padding or data.flip)",
    )?;
    Ok(augmentation)
}

/// How samples are moved, with the key that says so and its value.
fn moves(config: &Config) -> (Moves, &'static str, u16) {
    let DataConfig { translation, flip, crop_padding: padding, crop_variants: crops, .. } = config.data;
    match (translation, padding, crops) {
        (0, 0, _) => (Moves::None, "data.flip", u16::from(flip)),
        (pixels, 0, _) => (Moves::Translation { pixels }, "data.translation", u16::from(pixels)),
        (_, padding, 0) => (Moves::Crop { padding }, "data.crop_padding", u16::from(padding)),
        (_, padding, crops) => {
            (Moves::FewCrops { padding, crops, seed: config.seed }, "data.crop_variants", crops)
        }
    }
}

fn check_moves(data: &DataConfig, shape: Shape) -> Result<(), PlanError> {
    let DataConfig { translation, flip, crop_padding: padding, crop_variants: crops, .. } = *data;
    let reach = shape.height.min(shape.width);
    let few_enough = format!("fewer pixels than an image of {shape} has");
    check(usize::from(translation) < reach, "data.translation", translation, &few_enough)?;
    check(usize::from(padding) < reach, "data.crop_padding", padding, &few_enough)?;
    check(
        padding == 0 || translation == 0,
        "data.crop_padding",
        padding,
        format!("0 where images are translated (data.translation = {translation})"),
    )?;
    check(
        crops == 0 || padding > 0,
        "data.crop_variants",
        crops,
        "0 where nothing is cropped (data.crop_padding = 0)",
    )?;
    let all = Moves::Crop { padding }.count();
    check(
        crops == 0 || (2..=all).contains(&u32::from(crops)),
        "data.crop_variants",
        crops,
        format!("0 for all {all} crops, or 2 to {all}"),
    )?;
    check(!flip || shape.width > 1, "data.flip", flip, format!("false for samples of {shape}"))
}

#[cfg(test)]
mod tests {
    use scff::seed::Seed;
    use source::Layout;

    use super::*;
    use crate::plan::tests::{IMAGE, SAMPLES, plan, plan_of};

    #[test]
    fn sequences_are_read_by_no_layer_of_rows() {
        let layout = Layout { shape: IMAGE, lengths: Lengths::Frames { mean: 20.0 } };
        let error = plan_of(layout, SAMPLES, &["data.translation=0", "data.views=1"]).unwrap_err();
        let refusal = "layers[0].kind = a kind that reads 784 elements: expected one that reads sequences of any length";
        assert!(error.to_string().starts_with(refusal), "{error}");
    }

    #[test]
    fn views_are_augmented_as_configured() {
        let augmentation = |changes: &[&str]| plan(changes).unwrap().augmentation;
        let views = |moves, flip| Augmentation::new(moves, flip).unwrap();
        assert_eq!(augmentation(&[]), views(Moves::Translation { pixels: 2 }, false));
        assert_eq!(augmentation(&["data.translation=0", "data.flip=true"]), views(Moves::None, true));
        let crop = ["data.translation=0", "data.crop_padding=4", "data.flip=true"];
        assert_eq!(augmentation(&crop), views(Moves::Crop { padding: 4 }, true));
        let few = [&crop[..], &["data.crop_variants=8", "seed=5"]].concat();
        let moves = Moves::FewCrops { padding: 4, crops: 8, seed: Seed(5) };
        assert_eq!(augmentation(&few), views(moves, true));
    }

    #[test]
    fn impossible_augmentations_are_refused_with_key_and_value() {
        let large = Shape { height: 300, width: 300, channels: 3 };
        let column = Shape { height: 28, width: 1, channels: 1 };
        let crop = |padding: u8| format!("data.crop_padding={padding}");
        for (shape, padding, changes, refusal) in [
            (
                IMAGE,
                4,
                &["data.translation=2"][..],
                "data.crop_padding = 4: expected 0 where images are translated",
            ),
            (IMAGE, 28, &[], "data.crop_padding = 28: expected fewer pixels than an image of 28x28x1 has"),
            (
                IMAGE,
                0,
                &["data.crop_variants=3"],
                "data.crop_variants = 3: expected 0 where nothing is cropped",
            ),
            (
                IMAGE,
                1,
                &["data.crop_variants=1"],
                "data.crop_variants = 1: expected 0 for all 9 crops, or 2 to 9",
            ),
            (IMAGE, 1, &["data.crop_variants=10"], "data.crop_variants = 10: expected 0 for all 9 crops"),
            (column, 0, &["data.flip=true"], "data.flip = true: expected false for samples of 28x1x1"),
            (large, 128, &[], "data.crop_padding = 128: expected less: 66049 moves make more than 65535"),
            (
                large,
                91,
                &["data.flip=true"],
                "data.crop_padding = 91: expected less: 33489 moves and their mirror images make more",
            ),
            (
                large,
                0,
                &["data.translation=130"],
                "data.translation = 130: expected less: 68121 moves make more",
            ),
            (
                large,
                120,
                &["data.crop_variants=40000", "data.flip=true"],
                "data.crop_variants = 40000: expected less",
            ),
        ] {
            let crop = crop(padding);
            let changes = [&["data.translation=0", crop.as_str()], changes].concat();
            let error = plan_of(shape, SAMPLES, &changes).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{changes:?}: {error}");
        }
    }
}
