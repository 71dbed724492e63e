//! What will happen: shapes inferred, every impossible combination refused.

mod data;
mod error;
mod phases;
mod layers;
mod parts;
mod selection;
mod stages;

use proto::rows::Precision;
use scff::batch::{LayerIndex, Step};
use scff::layer::{CHANNELS, LayerMap, LayerSpec};
use scff::readout::ReadoutSpec;
use scff::seed::Seed;

use crate::config::{Config, ReadoutConfig, TrainingConfig, TrainingSchedule, WireFormat};
use source::{Augmentation, DataSource, Layout, Lengths, Shape, TrainingSamples};

pub use error::PlanError;
pub use parts::Parts;
pub use phases::{Member, Phase};
pub use selection::{selection, source};
pub use stages::Stage;

use data::{SMALLEST_BATCH, augmentation, check_lengths, not_held_out, remain, used};
use error::check;
use phases::{check_joint, phases};
use stages::stages;

/// Samples of a batch, at most.
const LARGEST_BATCH: u32 = 65_536;

/// Everything about a run that is known before it starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data set.
    pub data: DataSource,
    /// A sample's shape; of sequences, that of the longest.
    pub shape: Shape,
    /// How long samples are.
    pub lengths: Lengths,
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
    /// How the readout is trained, if there is one.
    pub readout: Option<ReadoutSpec>,
}

impl Plan {
    /// Plans a run of `config` on a data set of so many training samples of the given shape or layout.
    pub fn new(
        config: &Config,
        layout: impl Into<Layout>,
        samples: TrainingSamples,
    ) -> Result<Self, PlanError> {
        let Layout { shape, lengths } = layout.into();
        let Config { data, training, readout, .. } = config;
        let used = used(data, samples)?;
        let unlabeled = used.unlabeled;
        let labelled_samples = not_held_out(data, used)?;
        check(
            labelled_samples > 0 || readout.is_none(),
            "readout",
            "given",
            "no [readout]: the data set has no labels that it could learn from",
        )?;
        let training_samples = if unlabeled > 0 { unlabeled } else { labelled_samples };
        let augmentation = augmentation(config, shape)?;
        check_training(training, training_samples, &remain(data, training_samples, unlabeled > 0))?;
        check(!config.layers.is_empty(), "layers", "none", "at least one layer")?;
        readout.as_ref().map_or(Ok(()), check_readout)?;
        let stages = stages(config, shape, u64::from(training_samples / training.batch))?;
        check_lengths(&stages[0].spec, lengths)?;
        let schedule = training.schedule;
        if schedule == TrainingSchedule::Joint {
            check_joint(config)?;
        }
        Ok(Self {
            schedule,
            phases: phases(schedule, &stages),
            data: source(data)?,
            shape,
            lengths,
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
            readout: readout.as_ref().map(|readout| ReadoutSpec {
                learning_rate: readout.lr,
                batch: readout.batch as usize,
                epochs: readout.epochs,
                dropout: readout.dropout,
            }),
        })
    }

    /// The stage of a member of a phase.
    pub fn stage(&self, member: &Member) -> &Stage {
        &self.stages[member.layer.0 as usize]
    }

    /// Whether workers that share the samples of a member need only what the layer below passes on of their own samples' pairs: it
    /// takes pairs, and so do the layers below it that run on what arrives, which are all convolutions.
    pub fn own_pairs_suffice(&self, member: &Member) -> bool {
        let takes = |stage: &Stage| matches!(stage.spec.map, LayerMap::Conv(_)) && !stage.spec.makes_pairs();
        member.live && self.stages[member.from as usize..=member.layer.0 as usize].iter().all(takes)
    }

    /// Epochs of a phase.
    pub fn epochs(&self, phase: &Phase) -> u32 {
        let steps_per_epoch = self.stage(&phase.members[0]).steps_per_epoch;
        ((phase.steps.end - phase.steps.start) / steps_per_epoch) as u32
    }

    /// Where a run goes on: the index of its phase, or the number of phases where none is left. `frozen`: which layers are
    /// frozen; `checkpoint`: how far the others have come, if they have begun.
    pub fn phase_at(&self, frozen: &[bool], checkpoint: Option<Step>) -> usize {
        match (self.schedule, checkpoint) {
            (TrainingSchedule::Greedy, _) => frozen.iter().take_while(|frozen| **frozen).count(),
            (TrainingSchedule::Joint, _) if frozen.iter().all(|frozen| *frozen) => self.phases.len(),
            (TrainingSchedule::Joint, None) => 0,
            (TrainingSchedule::Joint, Some(step)) => {
                self.phases.iter().take_while(|phase| phase.steps.end <= step.0).count()
            }
        }
    }

    /// Whether a layer is frozen when a phase begins.
    pub fn frozen_before(&self, layer: LayerIndex, phase: usize) -> bool {
        let trains = |phase: &Phase| phase.members.iter().any(|member| member.layer == layer);
        !self.phases[phase..].iter().any(trains) && self.phases[..phase].iter().any(trains)
    }

    /// What of a stage's layer cannot be divided any further.
    pub fn parts(&self, stage: &Stage) -> Parts {
        Parts::of(stage.hyperparameters.sharing, &stage.spec, self.batch)
    }

    /// Bytes of an activation at a stage's cut point, on the wire and kept; of sequences, of the longest.
    pub fn row_bytes(&self, stage: &Stage) -> u64 {
        (stage.elements * self.precision.bytes()) as u64
    }

    /// The same for a sample of mean length.
    pub fn mean_row_bytes(&self, stage: &Stage) -> f64 {
        self.mean_share() * self.row_bytes(stage) as f64
    }

    /// How long a sample is on average, as a share of the longest.
    pub fn mean_share(&self) -> f64 {
        Layout { shape: self.shape, lengths: self.lengths }.mean_share()
    }

    /// The indices of the layers that the readout reads.
    pub fn tapped(&self) -> Vec<usize> {
        self.stages.iter().filter(|stage| stage.tapped).map(|stage| stage.layer.0 as usize).collect()
    }

    /// Elements of a sample's features: those of all layers that the readout reads.
    pub fn features(&self) -> usize {
        self.stages.iter().filter(|stage| stage.tapped).map(|stage| stage.spec.features()).sum()
    }

    /// Useful floating-point operations of one training step of a stage: two for each multiply-add of the maps and weight
    /// gradients, one map per sample view (or per pair for layers that take pairs), and the states of recurrent layers for
    /// each pair; of sequences, at their mean length.
    pub fn operations(&self, stage: &Stage) -> u64 {
        self.operations_from(stage, stage.cut_point)
    }

    /// The same of a member of a phase, with the frozen layers that run on what arrives.
    pub fn operations_of(&self, member: &Member) -> u64 {
        self.operations_from(self.stage(member), member.from)
    }

    fn operations_from(&self, stage: &Stage, from: u32) -> u64 {
        let prefix = &self.stages[from as usize..stage.layer.0 as usize];
        let at_the_longest =
            prefix.iter().map(|below| self.operations_of_maps(stage, &below.spec)).sum::<u64>()
                + self.operations_of_layer(stage);
        (self.mean_share() * at_the_longest as f64) as u64
    }

    /// Those of the layer in training alone: its maps and as many for its gradients; of sequences, at the longest.
    pub fn operations_of_layer(&self, stage: &Stage) -> u64 {
        2 * self.operations_of_maps(stage, &stage.spec)
    }

    fn operations_of_maps(&self, stage: &Stage, layer: &LayerSpec) -> u64 {
        let states = self.pairs_per_step(stage) * layer.map.multiply_adds_of_pair();
        2 * (self.rows_of(stage, layer) * layer.map.multiply_adds() + states)
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

fn check_training(training: &TrainingConfig, samples: u32, remain: &str) -> Result<(), PlanError> {
    let TrainingConfig { batch, block, report_every, checkpoint_every, .. } = *training;
    let most = samples.min(LARGEST_BATCH);
    let allowed = if batch > samples {
        format!("{SMALLEST_BATCH} to {most}, since {remain}")
    } else {
        format!("{SMALLEST_BATCH} to {most}")
    };
    check((SMALLEST_BATCH..=most).contains(&batch), "training.batch", batch, allowed)?;
    check((1..=CHANNELS).contains(&(block as usize)), "training.block", block, format!("1 to {CHANNELS}"))?;
    check(report_every > 0, "training.report_every", 0, "1 or more steps")?;
    check(
        checkpoint_every > 0 && checkpoint_every % report_every == 0,
        "training.checkpoint_every",
        checkpoint_every,
        format!("a multiple of training.report_every = {report_every}"),
    )
}

fn check_readout(readout: &ReadoutConfig) -> Result<(), PlanError> {
    let ReadoutConfig { lr, batch, epochs, dropout, .. } = *readout;
    check(lr > 0.0 && lr.is_finite(), "readout.lr", lr, "a positive number")?;
    check(batch > 0, "readout.batch", batch, "1 or more samples")?;
    check(epochs > 0, "readout.epochs", epochs, "1 or more epochs")?;
    check((0.0..1.0).contains(&dropout), "readout.dropout", dropout, "0 or more, less than 1")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config;

    const MNIST: &str = include_str!("../../../configs/mnist.toml");
    pub const IMAGE: Shape = Shape { height: 28, width: 28, channels: 1 };
    pub const SAMPLES: TrainingSamples = TrainingSamples::labelled(60_000);

    pub fn plan_of(
        layout: impl Into<Layout>,
        samples: TrainingSamples,
        overrides: &[&str],
    ) -> Result<Plan, PlanError> {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        Plan::new(&config::parse("mnist.toml", MNIST, &overrides).unwrap(), layout, samples)
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
            (
                "data.held_out=60000",
                "data.held_out = 60000: expected 0 to 59998 of the 60000 samples, since layers train on the others",
            ),
            ("data.held_out=59999", "data.held_out = 59999: expected 0 to 59998"),
            (
                "data.held_out=59998",
                "training.batch = 100: expected 2 to 2, since 2 samples are left of 60000 after data.held_out = 59998",
            ),
            ("data.samples=60001", "data.samples = 60001: expected 2 to 60000, or 0 for all"),
            ("data.samples=1", "data.samples = 1: expected 2 to 60000, or 0 for all"),
            (
                "data.samples=99",
                "training.batch = 100: expected 2 to 99, since layers train on data.samples = 99",
            ),
            (
                "training.batch=60001",
                "training.batch = 60001: expected 2 to 60000, since there are 60000 samples",
            ),
            ("layers.0.pairs=takes", "layers[0].pairs = takes: expected `makes`"),
            ("layers.1.units=0", "layers[1].units = 0: expected 1 to"),
            ("layers.1.lr=-1.0", "layers[1].lr = -1: expected a positive number"),
            ("layers.0.period=0", "layers[0].period = 0: expected 1 or more steps"),
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
}
