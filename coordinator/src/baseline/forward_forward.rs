//! Dense layers learn by the original Forward-Forward algorithm, with labels in the input.

use baseline::forward_forward::ForwardForward;
use proto::state::weights_sha256;
use scff::batch::{Epoch, Step};
use scff::layer::LayerMap;
use scff::samples::Samples;
use scff::seed::{NO_LAYER, Purpose, below};
use source::{Examples, Lengths};

use super::accuracies::Accuracies;
use super::batches::{as_they_are, batches};
use super::summary::{BaselineSummary, Method, Training};
use super::training::{Learnt, Wanted, tell, train};
use crate::plan::{Plan, PlanError};
use crate::run::initial_state;
use crate::split::Splits;

/// Training samples that are measured: each is computed once for every class.
const MEASURED: usize = 10_000;

/// Trains all layers, each on its own goodness. Blocks.
pub fn forward_forward(wanted: &Wanted<'_>, training: &Training) -> anyhow::Result<BaselineSummary> {
    train(wanted, Method::ForwardForward, training, |plan, splits, _| {
        check(plan, splits.classes)?;
        learn(plan, splits, training)
    })
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

fn learn(plan: &Plan, splits: &Splits, training: &Training) -> anyhow::Result<Learnt> {
    let classes = splits.classes;
    let layers: Vec<_> = plan.stages.iter().map(|stage| initial_state(plan, stage).parameters).collect();
    let mut network = ForwardForward::new(&layers, classes)?;
    for epoch in (0..training.epochs).map(Epoch) {
        let mut total = 0.0;
        let batches = batches(&splits.train, plan.augmentation, training.batch, plan.seed, epoch);
        for (step, batch) in batches.enumerate() {
            let (samples, labels) = batch?;
            let Samples::Rows(rows) = samples else { unreachable!("checked: samples are rows") };
            let mut random = plan.seed.stream(Purpose::NegativePairs, NO_LAYER, epoch, Step(step as u64));
            let classes = classes as u32;
            let mut other = |label: &u32| (label + 1 + below(&mut random, classes - 1)) % classes;
            let wrong: Vec<u32> = labels.iter().map(&mut other).collect();
            total += network.step(rows.view(), &labels, &wrong, training.rate(epoch))? * labels.len() as f64;
        }
        tell(training, epoch, total / splits.train.len() as f64)?;
    }
    let layers = network.layers()?;
    Ok(Learnt {
        accuracies: Accuracies::measure(splits, MEASURED, |examples| correct(&network, examples))?,
        weights_sha256: weights_sha256(&layers),
    })
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
