//! Layers and readout learn together by back-propagation, from random weights or from those of a run.

use std::sync::Arc;

use anyhow::{Context, bail};
use baseline::network::{Learning, Network};
use proto::state::weights_sha256;
use scff::batch::Epoch;
use scff::frozen::{FrozenLayer, features};
use scff::layer::{Dense, LayerMap, LayerSpec, LayerState, Tensors};
use scff::readout::{Features, Readout};
use source::{Examples, ReadError};

use super::batches::{as_they_are, batches};
use super::measure::measure;
use super::summary::{BaselineSummary, Method, Training};
use super::training::{Learner, Learnt, Prepared, READOUT, Wanted, train};
use crate::location::Location;
use crate::plan::Plan;
use crate::run::initial_state;
use crate::run_dir::{BaselineDir, RunDirReader};
use crate::split::Splits;

/// Which weights are gone on from.
#[derive(Clone, Debug)]
pub enum Start {
    /// Random ones, those with which a run begins.
    Random,
    /// What a finished run of the same configuration has learnt.
    Run(Location),
}

/// Weights of all layers, from the input up, and of the readout.
struct Weights {
    layers: Vec<(LayerSpec, Tensors)>,
    readout: Tensors,
}

/// Trains all layers and the readout together. Blocks.
pub fn back_propagate(
    wanted: &Wanted<'_>,
    start: &Start,
    training: &Training,
) -> anyhow::Result<BaselineSummary> {
    let method = match start {
        Start::Random => Method::BackPropagation,
        Start::Run(_) => Method::FineTuning,
    };
    let prepared = Prepared::of(wanted)?;
    let Prepared { plan, splits } = &prepared;
    let weights = match start {
        Start::Random => initial(plan, splits.classes),
        Start::Run(place) => of_run(place, wanted, plan, splits.classes)?,
    };
    let mut learner = BackPropagation::new(plan, splits, training, weights)?;
    train(wanted, &prepared, method, training, &mut learner)
}

fn initial(plan: &Plan, classes: usize) -> Weights {
    let layer =
        |stage: usize| (plan.stages[stage].spec.clone(), initial_state(plan, &plan.stages[stage]).parameters);
    Weights {
        layers: (0..plan.stages.len()).map(layer).collect(),
        readout: Readout::new(classes, plan.features(), plan.seed).parameters(),
    }
}

/// What the run in `place` has learnt.
fn of_run(place: &Location, wanted: &Wanted<'_>, plan: &Plan, classes: usize) -> anyhow::Result<Weights> {
    let run = RunDirReader::open(place)?;
    if !run.is_of(wanted.config) {
        bail!(
            "{place}: found a run of another configuration, expected one of {}, seed {}",
            wanted.name,
            plan.seed.0
        );
    }
    let frozen = run.frozen(&plan.stages)?;
    let layers = frozen.into_iter().map(|frozen| {
        let layer =
            frozen.with_context(|| format!("{place}: found an unfinished run, expected a finished one"))?;
        Ok((layer.layer.spec().clone(), layer.layer.parameters().clone()))
    });
    let layers = layers.collect::<anyhow::Result<_>>()?;
    let readout = run.readout()?;
    let readout = readout
        .with_context(|| format!("{place}: found a run without a readout, expected a finished one"))?;
    let shape = readout_map(plan, classes).tensors();
    readout.parameters.check("readout", &shape).with_context(|| place.to_string())?;
    Ok(Weights { layers, readout: readout.parameters })
}

/// A network that learns, and from what.
struct BackPropagation<'a> {
    plan: &'a Plan,
    splits: &'a Splits,
    training: &'a Training,
    taps: Vec<bool>,
    network: Network,
}

impl<'a> BackPropagation<'a> {
    fn new(
        plan: &'a Plan,
        splits: &'a Splits,
        training: &'a Training,
        weights: Weights,
    ) -> anyhow::Result<Self> {
        let taps: Vec<bool> = plan.stages.iter().map(|stage| stage.tapped).collect();
        let network = Network::new(weights.layers, taps.clone(), &weights.readout)?;
        Ok(Self { plan, splits, training, taps, network })
    }
}

impl Learner for BackPropagation<'_> {
    fn epoch(&mut self, epoch: Epoch) -> anyhow::Result<f64> {
        let Self { plan, splits, training, .. } = *self;
        let learning = Learning {
            rate: training.rate(epoch),
            weight_decay: training.weight_decay,
            dropout: plan.readout.context(READOUT)?.dropout,
            seed: plan.seed,
        };
        let mut total = 0.0;
        for batch in batches(&splits.train, plan.augmentation, training.batch, plan.seed, epoch) {
            let (samples, labels) = batch?;
            total += self.network.step(&samples, &labels, &learning)? * labels.len() as f64;
        }
        Ok(total / splits.train.len() as f64)
    }

    fn maps(&self) -> Vec<LayerMap> {
        let Self { plan, splits, .. } = *self;
        let layers = plan.stages.iter().map(|stage| stage.spec.map);
        layers.chain([readout_map(plan, splits.classes)]).collect()
    }

    fn states(&self) -> anyhow::Result<Vec<LayerState>> {
        Ok(self.network.states()?)
    }

    fn restore(&mut self, states: &[LayerState]) -> anyhow::Result<()> {
        Ok(self.network.restore(states)?)
    }

    fn learnt(&self, dir: &BaselineDir) -> anyhow::Result<Learnt> {
        let Self { taps, network, splits, .. } = self;
        let layers = network.layers()?.into_iter();
        let layers = layers.map(|(spec, tensors)| Ok(Arc::new(FrozenLayer::new(spec, tensors)?)));
        let layers: Vec<Arc<FrozenLayer>> = layers.collect::<anyhow::Result<_>>()?;
        let readout = network.readout()?;
        let read: Vec<usize> = (0..taps.len()).filter(|&layer| taps[layer]).collect();
        dir.save_model(&layers.iter().map(|layer| &**layer).collect::<Vec<_>>(), &read)?;
        dir.save_readout(&readout, &read)?;
        let readout = Readout::from_parameters(&readout);
        let correct = |examples: &Examples| Ok(correct(&layers, taps, &readout, examples)?);
        Ok(Learnt {
            accuracies: measure(splits, correct)?,
            weights_sha256: weights_sha256(layers.iter().map(|layer| layer.parameters())),
        })
    }
}

/// The readout, which is a dense layer.
fn readout_map(plan: &Plan, classes: usize) -> LayerMap {
    LayerMap::Dense(Dense { inputs: plan.features(), outputs: classes })
}

/// How many samples frozen layers and a readout classify as labelled.
fn correct(
    layers: &[Arc<FrozenLayer>],
    taps: &[bool],
    readout: &Readout,
    examples: &Examples,
) -> Result<usize, ReadError> {
    as_they_are(examples)
        .map(|batch| {
            let (samples, labels) = batch?;
            Ok(readout.correct(&Features::F32(features(layers, taps, samples)), labels))
        })
        .sum()
}
