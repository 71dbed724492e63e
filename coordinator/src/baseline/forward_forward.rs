//! Dense layers learn by the original Forward-Forward algorithm, with labels in the input.

use baseline::forward_forward::ForwardForward;
use proto::state::weights_sha256;
use scff::batch::{Epoch, Step};
use scff::layer::{LayerMap, LayerState};
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, below};
use source::{Examples, Lengths};

use super::accuracies::Accuracies;
use super::batches::{as_they_are, batches};
use super::summary::{BaselineSummary, Method, Training};
use super::training::{Learner, Learnt, Prepared, Wanted, train};
use crate::plan::{Plan, PlanError};
use crate::run::initial_state;
use crate::run_dir::BaselineDir;
use crate::split::Splits;

/// Training samples that are measured: each is computed once for every class.
const MEASURED: usize = 10_000;

/// Trains all layers, each on its own goodness. Blocks.
pub fn forward_forward(wanted: &Wanted<'_>, training: &Training) -> anyhow::Result<BaselineSummary> {
    let prepared = Prepared::of(wanted)?;
    let Prepared { plan, splits } = &prepared;
    check(plan, splits.classes)?;
    let layers: Vec<_> = plan.stages.iter().map(|stage| initial_state(plan, stage).parameters).collect();
    let network = ForwardForward::new(&layers, splits.classes)?;
    let mut learner = Labelled { plan, splits, training, network };
    train(wanted, &prepared, Method::ForwardForward, training, &mut learner)
}

/// Labels stand in the input of dense layers.
fn check(plan: &Plan, classes: usize) -> Result<(), PlanError> {
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
    if plan.shape.len() <= classes || plan.lengths != Lengths::Alike {
        return Err(PlanError {
            key: "data.name".to_owned(),
            found: format!("{}, whose samples have {} numbers", plan.data, plan.shape.len()),
            expected: format!("samples of more than {classes} numbers, of which a label takes the first"),
        });
    }
    Ok(())
}

/// A network that learns samples with labels in them.
struct Labelled<'a> {
    plan: &'a Plan,
    splits: &'a Splits,
    training: &'a Training,
    network: ForwardForward,
}

impl Learner for Labelled<'_> {
    fn epoch(&mut self, epoch: Epoch) -> anyhow::Result<f64> {
        let Self { plan, splits, training, .. } = *self;
        let classes = splits.classes as u32;
        let mut total = 0.0;
        let batches = batches(&splits.train, plan.augmentation, training.batch, plan.seed, epoch);
        for (step, batch) in batches.enumerate() {
            let (samples, labels) = batch?;
            let Samples::Rows(rows) = samples else { unreachable!("checked: samples are rows") };
            let mut random = plan.seed.stream(Purpose::NegativePairs, NO_LAYER, epoch, Step(step as u64));
            let mut other = |label: &u32| (label + 1 + below(&mut random, classes - 1)) % classes;
            let wrong: Vec<u32> = labels.iter().map(&mut other).collect();
            let loss = self.network.step(rows.view(), &labels, &wrong, training.rate(epoch))?;
            total += loss * labels.len() as f64;
        }
        Ok(total / splits.train.len() as f64)
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
        let correct = |examples: &Examples| correct(&self.network, examples);
        Ok(Learnt {
            accuracies: Accuracies::measure(self.splits, MEASURED, correct)?,
            weights_sha256: weights_sha256(&self.network.layers()?),
        })
    }
}

fn correct(network: &ForwardForward, examples: &Examples) -> anyhow::Result<usize> {
    let mut correct = 0;
    for batch in as_they_are(examples) {
        let (samples, labels) = batch?;
        let Samples::Rows(rows) = samples else { unreachable!("checked: samples are rows") };
        let found = network.classify(rows.view())?;
        correct += found.iter().zip(labels).filter(|(found, label)| found == label).count();
    }
    Ok(correct)
}
