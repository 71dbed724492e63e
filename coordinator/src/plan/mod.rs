//! What will happen: shapes inferred, every impossible combination refused.

mod phases;
mod stages;

use proto::rows::Precision;
use scff::layer::LayerSpec;
use scff::readout::ReadoutSpec;
use scff::seed::Seed;

use crate::config::{Config, DataConfig, TrainingSchedule, WireFormat};
use source::{Augmentation, DataSetName, Moves, Shape, TrainingSamples};

pub use phases::{Member, Phase};
pub use stages::Stage;

use phases::{check_joint, phases};
use stages::{UNITS, stages};

/// Everything about a run that is known before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data set.
    pub data: DataSetName,
    /// A sample's shape.
    pub shape: Shape,
    /// Samples that layers train on: the unlabeled ones, or else the labelled ones.
    pub training_samples: u32,
    /// Labelled training samples that the readout learns from: all but those held out.
    pub labelled_samples: u32,
    /// Labelled training samples that are held out for validation; if none, the test set measures.
    pub held_out: u32,
    /// How views of a sample differ.
    pub augmentation: Augmentation,
    /// Whether the halves of a pair are two views.
    pub two_views: bool,
    /// Samples of a batch.
    pub batch: usize,
    /// Steps between two lines of metrics.
    pub report_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Precision of activations.
    pub precision: Precision,
    /// All random choices follow from it.
    pub seed: Seed,
    /// In which order layers train.
    pub schedule: TrainingSchedule,
    /// The stages, in order: one layer each.
    pub stages: Vec<Stage>,
    /// Which stages are at work at the same time, one phase after another.
    pub phases: Vec<Phase>,
    /// How the readout is trained.
    pub readout: ReadoutSpec,
}

/// A configuration that says something impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {found}: expected {expected}")]
pub struct PlanError {
    /// The key's path.
    pub key: String,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

fn check(holds: bool, key: &str, found: impl ToString, expected: impl ToString) -> Result<(), PlanError> {
    if holds {
        return Ok(());
    }
    Err(PlanError { key: key.to_owned(), found: found.to_string(), expected: expected.to_string() })
}

impl Plan {
    /// Plans a run of `config` on a data set of so many training samples of the given shape.
    pub fn new(config: &Config, shape: Shape, samples: TrainingSamples) -> Result<Self, PlanError> {
        let Config { data, training, readout, .. } = config;
        let TrainingSamples { labelled, unlabeled } = used(data, samples)?;
        check(
            data.held_out < labelled,
            "data.held_out",
            data.held_out,
            format!("fewer than the {labelled} samples"),
        )?;
        let labelled_samples = labelled - data.held_out;
        let training_samples = if unlabeled > 0 { unlabeled } else { labelled_samples };
        let augmentation = augmentation(config, shape)?;
        check((1..=2).contains(&data.views), "data.views", data.views, "1 or 2")?;
        check(
            data.views == 1 || augmentation.variants() > 1,
            "data.views",
            data.views,
            "1 where nothing is augmented (no data.translation, data.crop_padding or data.flip)",
        )?;
        check(
            (2..=training_samples.min(65_536)).contains(&training.batch),
            "training.batch",
            training.batch,
            format!("2 to {}", training_samples.min(65_536)),
        )?;
        check(
            (1..=UNITS).contains(&training.block),
            "training.block",
            training.block,
            format!("1 to {UNITS}"),
        )?;
        check(training.report_every > 0, "training.report_every", 0, "1 or more steps")?;
        check(
            training.checkpoint_every > 0 && training.checkpoint_every % training.report_every == 0,
            "training.checkpoint_every",
            training.checkpoint_every,
            format!("a multiple of training.report_every = {}", training.report_every),
        )?;
        check(!config.layers.is_empty(), "layers", "none", "at least one layer")?;
        check(readout.lr > 0.0 && readout.lr.is_finite(), "readout.lr", readout.lr, "a positive number")?;
        check(readout.batch > 0, "readout.batch", readout.batch, "1 or more samples")?;
        check(readout.epochs > 0, "readout.epochs", readout.epochs, "1 or more epochs")?;
        check(
            (0.0..1.0).contains(&readout.dropout),
            "readout.dropout",
            readout.dropout,
            "0 or more, less than 1",
        )?;
        let steps_per_epoch = u64::from(training_samples / training.batch);
        let stages = stages(config, shape, steps_per_epoch)?;
        let schedule = training.schedule;
        if schedule == TrainingSchedule::Joint {
            check_joint(config)?;
        }
        Ok(Self {
            schedule,
            phases: phases(schedule, &stages),
            data: data.name,
            shape,
            training_samples,
            labelled_samples,
            held_out: data.held_out,
            augmentation,
            two_views: data.views == 2,
            batch: training.batch as usize,
            report_every: training.report_every,
            checkpoint_every: training.checkpoint_every,
            precision: match config.wire {
                WireFormat::F32 => Precision::F32,
                WireFormat::F16 => Precision::F16,
            },
            seed: config.seed,
            stages,
            readout: ReadoutSpec {
                learning_rate: readout.lr,
                batch: readout.batch as usize,
                epochs: readout.epochs,
                dropout: readout.dropout,
            },
        })
    }

    /// The stage of a member of a phase.
    pub fn stage(&self, member: &Member) -> &Stage {
        &self.stages[member.layer.0 as usize]
    }

    /// Elements of a sample's features: those of all layers that the readout reads.
    pub fn features(&self) -> usize {
        self.stages.iter().filter(|stage| stage.tapped).map(|stage| stage.spec.features()).sum()
    }

    /// Useful floating-point operations of one training step of a stage: two for each multiply-add of the linear
    /// maps and weight gradients, one map per sample view (or per pair for layers that take pairs).
    pub fn operations(&self, stage: &Stage) -> u64 {
        let maps = |spec: &LayerSpec| 2 * self.rows_of(stage, spec) * spec.map.multiply_adds();
        let prefix = &self.stages[stage.cut_point as usize..stage.layer.0 as usize];
        prefix.iter().map(|stage| maps(&stage.spec)).sum::<u64>() + 2 * maps(&stage.spec)
    }

    /// Samples that come to a training step, each view counted.
    pub fn rows_per_step(&self) -> u64 {
        let views = if self.two_views { 2 } else { 1 };
        views * self.batch as u64
    }

    /// Pairs of a training step of a stage.
    pub fn pairs_per_step(&self, stage: &Stage) -> u64 {
        (1 + stage.negatives as u64) * self.batch as u64
    }

    /// Rows that a layer of a stage's pair prefix, or its own, maps in a training step.
    pub fn rows_of(&self, stage: &Stage, layer: &LayerSpec) -> u64 {
        if layer.makes_pairs() { self.rows_per_step() } else { self.pairs_per_step(stage) }
    }

    /// Views of a sample that the readout learns from: with its mirror image where layers see it too.
    pub fn readout_views(&self) -> usize {
        if self.augmentation.flips() { 2 } else { 1 }
    }

    /// Elements of the widest of a sample and its activations up to a stage's cut point.
    pub fn widest(&self, stage: &Stage) -> usize {
        let below = self.stages[..stage.cut_point as usize].iter().map(|stage| stage.spec.outputs());
        below.fold(self.shape.len(), usize::max)
    }
}

/// The training samples that are used of those there are.
fn used(data: &DataConfig, all: TrainingSamples) -> Result<TrainingSamples, PlanError> {
    let TrainingSamples { labelled, unlabeled } = all;
    let most = if unlabeled > 0 { unlabeled } else { labelled };
    check(data.samples <= most, "data.samples", data.samples, format!("1 to {most}, or 0 for all"))?;
    Ok(match (data.samples, unlabeled) {
        (0, _) => all,
        (samples, 0) => TrainingSamples::labelled(samples),
        (samples, _) => TrainingSamples { labelled, unlabeled: samples },
    })
}

/// How views differ, by the configuration's `[data]`.
fn augmentation(config: &Config, shape: Shape) -> Result<Augmentation, PlanError> {
    let DataConfig { translation, flip, crop_padding: padding, crop_variants: crops, .. } = config.data;
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
    check(!flip || shape.width > 1, "data.flip", flip, format!("false for samples of {shape}"))?;
    let (moves, key, found) = match (translation, padding, crops) {
        (0, 0, _) => (Moves::None, "data.flip", u16::from(flip)),
        (pixels, 0, _) => (Moves::Translation { pixels }, "data.translation", u16::from(pixels)),
        (_, padding, 0) => (Moves::Crop { padding }, "data.crop_padding", u16::from(padding)),
        (_, padding, crops) => {
            (Moves::FewCrops { padding, crops, seed: config.seed }, "data.crop_variants", crops)
        }
    };
    Augmentation::new(moves, flip).ok_or_else(|| PlanError {
        key: key.to_owned(),
        found: found.to_string(),
        expected: format!(
            "less: {} moves{} make more than {} views",
            moves.count(),
            if flip { " and their mirror images" } else { "" },
            u16::MAX
        ),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use scff::batch::Step;

    use super::*;
    use crate::config;

    const MNIST: &str = include_str!("../../../configs/mnist.toml");
    const IMAGE: Shape = Shape { height: 28, width: 28, channels: 1 };
    const SAMPLES: TrainingSamples = TrainingSamples::labelled(60_000);

    fn plan_of(shape: Shape, samples: TrainingSamples, overrides: &[&str]) -> Result<Plan, PlanError> {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        Plan::new(&config::parse("mnist.toml", MNIST, &overrides).unwrap(), shape, samples)
    }

    pub fn plan(overrides: &[&str]) -> Result<Plan, PlanError> {
        plan_of(IMAGE, SAMPLES, overrides)
    }

    #[test]
    fn shapes_and_cut_points_follow_from_the_layers() {
        let plan = plan(&[]).unwrap();
        let [first, second] = &plan.stages[..] else { panic!("two layers") };
        assert_eq!((first.elements, first.cut_point, first.steps()), (784, 0, Step(12_000)));
        assert_eq!((second.elements, second.cut_point, second.spec.map.inputs()), (784, 0, 2000));
        assert_eq!(plan.features(), 4000);
        // 100 samples, two views: 200 maps and as many gradients.
        assert_eq!(plan.operations(first), 2 * 2 * 200 * 784 * 2000);
        let made = self::plan(&["layers.1.pairs=makes"]).unwrap();
        assert_eq!((made.stages[1].cut_point, made.stages[1].elements), (1, 2000));
    }

    #[test]
    fn impossible_plans_are_refused_with_key_and_value() {
        for (change, refusal) in [
            ("training.schedule=joint", "data.views = 2: expected 1 in a joint schedule"),
            ("training.batch=1", "training.batch = 1: expected 2 to 60000"),
            ("layers.1.negatives=100", "layers[1].negatives = 100: expected 1 to 99"),
            ("training.block=0", "training.block = 0"),
            ("training.checkpoint_every=150", "training.checkpoint_every = 150: expected a multiple of"),
            ("data.views=3", "data.views = 3: expected 1 or 2"),
            ("data.translation=0", "data.views = 2: expected 1 where nothing is augmented"),
            ("data.translation=28", "data.translation = 28"),
            ("data.held_out=60000", "data.held_out = 60000: expected fewer than the 60000 samples"),
            ("data.samples=60001", "data.samples = 60001: expected 1 to 60000, or 0 for all"),
            ("data.samples=99", "training.batch = 100: expected 2 to 99"),
            ("layers.0.pairs=takes", "layers[0].pairs = takes: expected `makes`"),
            ("layers.1.units=0", "layers[1].units = 0: expected 1 to"),
            ("layers.1.lr=-1.0", "layers[1].lr = -1: expected a positive number"),
            ("layers.0.period=0", "layers[0].period = 0: expected 1 or more batches"),
            ("layers=[]", "layers = none: expected at least one layer"),
            ("readout.dropout=1.0", "readout.dropout = 1: expected 0 or more, less than 1"),
        ] {
            let error = plan(&[change]).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{change}: {error}");
        }
    }

    #[test]
    fn layers_train_on_what_has_no_labels_and_only_labelled_samples_are_held_out() {
        let plan = |samples| plan_of(IMAGE, samples, &["data.held_out=1000"]).unwrap();
        let labelled = plan(TrainingSamples::labelled(5_000));
        assert_eq!((labelled.training_samples, labelled.labelled_samples), (4_000, 4_000));
        let both = plan(TrainingSamples { labelled: 5_000, unlabeled: 100_000 });
        assert_eq!((both.training_samples, both.labelled_samples), (100_000, 4_000));
        assert_eq!(both.stages[0].steps_per_epoch, 1_000);
    }

    #[test]
    fn layers_train_on_as_many_samples_as_configured() {
        let plan = |samples, changes: &[&str]| plan_of(IMAGE, samples, changes).unwrap();
        let few = plan(SAMPLES, &["data.samples=5000", "data.held_out=1000"]);
        assert_eq!((few.training_samples, few.labelled_samples, few.held_out), (4_000, 4_000, 1_000));
        let unlabeled = TrainingSamples { labelled: 5_000, unlabeled: 100_000 };
        let few = plan(unlabeled, &["data.samples=30000", "data.held_out=1000"]);
        assert_eq!((few.training_samples, few.labelled_samples), (30_000, 4_000));
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
