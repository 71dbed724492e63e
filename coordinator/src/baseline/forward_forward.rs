//! Dense layers learn by the original Forward-Forward algorithm, without labels; then a readout of what they pass on learns as
//! that of any run.

use anyhow::Context;
use baseline::forward_forward::ForwardForward;
use baseline::hybrids::{hybrid, mask};
use ndarray::{Array2, s};
use proto::state::weights_sha256;
use scff::batch::{Epoch, Step, Variant};
use scff::layer::{LayerMap, LayerState};
use scff::readout::{Features, ReadoutSpec, train as train_readout};
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose};
use source::{Augmentation, Examples, Lengths, Shape};

use super::batches::{as_they_are, batches, view};
use super::measure::measure;
use super::summary::{BaselineSummary, Method, Training};
use super::training::{Learner, Learnt, Prepared, READOUT, Wanted, train};
use crate::plan::{Plan, PlanError};
use crate::run::initial_state;
use crate::run_dir::BaselineDir;
use crate::split::Splits;

/// Trains all layers, each on its own goodness, and then the readout. Blocks.
pub fn forward_forward(wanted: &Wanted<'_>, training: &Training) -> anyhow::Result<BaselineSummary> {
    let prepared = Prepared::of(wanted)?;
    let Prepared { plan, splits } = &prepared;
    check(plan)?;
    let layers: Vec<_> = plan.stages.iter().map(|stage| initial_state(plan, stage).parameters).collect();
    let network = ForwardForward::new(&layers)?;
    let taps = plan.stages.iter().map(|stage| stage.tapped).collect();
    let readout = plan.readout.context(READOUT)?;
    let mut learner = Unlabelled { plan, splits, training, taps, readout, network };
    train(wanted, &prepared, Method::ForwardForward, training, &mut learner)
}

/// Negative samples are made of images, and layers are dense.
fn check(plan: &Plan) -> Result<(), PlanError> {
    for (index, stage) in plan.stages.iter().enumerate() {
        let kind = match stage.spec.map {
            LayerMap::Dense(_) => continue,
            LayerMap::Conv(_) => "conv",
            LayerMap::BiRnn(_) => "birnn",
        };
        return Err(PlanError {
            key: format!("layers[{index}].kind"),
            found: kind.to_owned(),
            expected: "dense, for the original Forward-Forward algorithm".to_owned(),
        });
    }
    let Shape { height, width, channels } = plan.shape;
    if height.min(width) < 2 || plan.lengths != Lengths::Alike {
        return Err(PlanError {
            key: "data.name".to_owned(),
            found: format!("{}, whose samples are {height} x {width} x {channels}", plan.data),
            expected: "images, of which the original Forward-Forward algorithm makes hybrids".to_owned(),
        });
    }
    Ok(())
}

/// A network that learns to tell images from hybrids of two.
struct Unlabelled<'a> {
    plan: &'a Plan,
    splits: &'a Splits,
    training: &'a Training,
    taps: Vec<bool>,
    readout: ReadoutSpec,
    network: ForwardForward,
}

impl Unlabelled<'_> {
    /// Hybrids of each image, (images, elements), and the next one.
    fn hybrids(&self, images: &Array2<f32>, epoch: Epoch, step: Step) -> Array2<f32> {
        let Shape { height, width, .. } = self.plan.shape;
        let mut random = self.plan.seed.stream(Purpose::NegativePairs, NO_LAYER, epoch, step);
        let image = |index: usize| images.row(index % images.nrows()).to_slice().expect("contiguous");
        let mut hybrids = Array2::zeros(images.dim());
        for (index, mut out) in hybrids.outer_iter_mut().enumerate() {
            let mask = mask(height, width, &mut random);
            hybrid(&mask, image(index), image(index + 1), out.as_slice_mut().expect("contiguous"));
        }
        hybrids
    }

    /// What the readout reads of all images, and of their mirror images where `flips`.
    fn features(&self, examples: &Examples, flips: bool) -> anyhow::Result<Features> {
        let augmentation = if flips { Augmentation::FLIPS } else { Augmentation::NONE };
        let views = usize::from(augmentation.variants());
        let mut features = Array2::zeros((views * examples.len(), self.plan.features()));
        let mut next = 0;
        for variant in (0..augmentation.variants()).map(Variant) {
            for batch in view(examples, augmentation, variant) {
                let (samples, _) = batch?;
                let rows = self.network.features(rows(&samples).view(), &self.taps)?;
                features.slice_mut(s![next..next + rows.nrows(), ..]).assign(&rows);
                next += rows.nrows();
            }
        }
        Ok(Features::F32(features))
    }
}

impl Learner for Unlabelled<'_> {
    fn epoch(&mut self, epoch: Epoch) -> anyhow::Result<f64> {
        let Self { plan, splits, training, .. } = *self;
        let mut total = 0.0;
        let batches = batches(&splits.layers, plan.augmentation, training.batch, plan.seed, epoch);
        for (step, batch) in batches.enumerate() {
            let (samples, _) = batch?;
            let images = rows(&samples);
            let hybrids = self.hybrids(images, epoch, Step(step as u64));
            let loss = self.network.step(images.view(), hybrids.view(), training.rate(epoch))?;
            total += loss * images.nrows() as f64;
        }
        Ok(total / splits.layers.len() as f64)
    }

    fn maps(&self) -> Vec<LayerMap> {
        self.plan.stages.iter().map(|stage| stage.spec.map).collect()
    }

    fn states(&self) -> anyhow::Result<Vec<LayerState>> {
        Ok(self.network.states()?)
    }

    fn restore(&mut self, states: &[LayerState]) -> anyhow::Result<()> {
        Ok(self.network.restore(states)?)
    }

    fn learnt(&self, _dir: &BaselineDir) -> anyhow::Result<Learnt> {
        let Self { plan, splits, readout, .. } = self;
        let trained = self.features(&splits.train, splits.flips)?;
        let labels = splits.train.labels();
        let readout = train_readout(&trained, labels, splits.classes, readout, plan.seed, |epoch, loss| {
            let (epoch, epochs) = (epoch.0 + 1, readout.epochs);
            proto::logs::say(format_args!("readout epoch {epoch}/{epochs}  loss {loss:.4}"));
        })?;
        drop(trained);
        let correct = |examples: &Examples| {
            let correct = as_they_are(examples).map(|batch| {
                let (samples, labels) = batch?;
                let features = self.network.features(rows(&samples).view(), &self.taps)?;
                Ok(readout.correct(&Features::F32(features), labels))
            });
            correct.sum()
        };
        Ok(Learnt {
            accuracies: measure(splits, correct)?,
            weights_sha256: weights_sha256(&self.network.layers()?),
        })
    }
}

fn rows(samples: &Samples) -> &Array2<f32> {
    match samples {
        Samples::Rows(rows) => rows,
        Samples::Sequences(_) => unreachable!("checked: samples are images"),
    }
}
