//! A readout, from samples to what it reaches.

use std::sync::Arc;

use ndarray::Array2;
use proto::rows::Precision;
use proto::self_test::{Tester, cache_folder};
use proto::wire;
use scff::analysis::effective_rank;
use scff::layer::{ChannelRange, Tensors};
use scff::readout::{Features, ReadoutSpec, train};
use scff::seed::Seed;
use source::Examples;

use super::error::ReadoutError;
use super::room::{NoRoom, check_room};
use super::shared::{Learned, SharedReadout};
use super::shares::{rows, shares};
use crate::accuracies::Accuracies;
use crate::clock::Stopwatch;
use crate::cluster::Worker;
use crate::events::{Event, Events};
use crate::features::{
    FeaturesError, LayerTaps, Taps, feature_stream, input_features, input_width, layer_features,
};
use crate::kernels::Agreed;
use crate::split::Splits;
use crate::summary::ReadoutSummary;

/// What a readout is trained and measured with.
pub struct ReadoutRun<'a> {
    /// Who computes features.
    pub workers: &'a [Worker],
    /// Whether they may share the readout: whoever trains a layer of the same run would have to stop.
    pub free: bool,
    /// The run's name on them.
    pub run: &'a str,
    /// What is read.
    pub taps: &'a Taps,
    /// Of which samples.
    pub splits: &'a Splits,
    /// What the run computes with, once workers have agreed on it.
    pub agreed: Option<&'a Agreed>,
    /// Precision of features.
    pub precision: Precision,
    /// How it is trained.
    pub spec: ReadoutSpec,
    /// What its random numbers follow from.
    pub seed: Seed,
    /// Who is told what happens.
    pub events: &'a Events,
}

impl ReadoutRun<'_> {
    /// Computes the features of all parts, trains the readout and measures it: on the workers, where there are several that have
    /// room for the features, and otherwise on the head node. The bits are the same.
    pub async fn read_out(self) -> Result<(Tensors, ReadoutSummary), ReadoutError> {
        let began = Stopwatch::start();
        let there = self.workers.iter().filter(|worker| !worker.connection.has_left());
        let there: Vec<Worker> = there.cloned().collect();
        let shared = match self.taps {
            Taps::Layers(taps) => self.shares(&there, taps).await.map(|shares| (taps, shares)),
            Taps::Input => None,
        };
        let (Learned { parameters, correct }, effective_rank) = match shared {
            Some((taps, shares)) => {
                let rank = self.rank(&there, taps).await?;
                let Self { run, splits, precision, spec, seed, events, .. } = self;
                let shared = SharedReadout {
                    workers: &there,
                    shares,
                    run,
                    taps,
                    splits,
                    precision,
                    spec,
                    seed,
                    events,
                };
                (shared.learn().await?, rank)
            }
            None => self.alone().await?,
        };
        let parts = self.splits.parts().into_iter().map(|(examples, _)| examples);
        let reached = |(correct, examples): (&usize, &Arc<Examples>)| *correct as f64 / examples.len() as f64;
        let mut reached = correct.iter().zip(parts).map(reached);
        let mut next = || reached.next().expect("every part is measured");
        let (on_trained, on_measured) = (next(), next());
        let Splits { held_out, validation, .. } = self.splits;
        let summary = ReadoutSummary {
            features: parameters.weight().ncols(),
            accuracies: Accuracies {
                train_accuracy: on_trained,
                test_accuracy: (!held_out).then_some(on_measured),
                validation_accuracy: validation.as_ref().map(|_| next()),
                held_out_accuracy: held_out.then_some(on_measured),
            },
            effective_rank,
            seconds: began.seconds(),
        };
        self.events.tell(&Event::ReadOut(summary.clone()))?;
        Ok((parameters, summary))
    }

    /// Who owns which features, where it is for the workers. A single one has it where this process would compute other bits.
    async fn shares(&self, workers: &[Worker], taps: &LayerTaps) -> Option<Vec<wire::Shard>> {
        let bits = self.has_bits().await;
        let enough = self.free && workers.len() >= if bits { 2 } else { 1 };
        let shares = if enough { shares(workers, taps.features, self.splits, self.precision) } else { None };
        if let (None, false, Some(agreed)) = (&shares, bits, self.agreed) {
            let own = own_kernel();
            tracing::warn!(
                "the readout is computed with {own} here, whose bits are not those of {}",
                agreed.blas
            );
        }
        shares
    }

    /// Whether this process computes with the bits of the run's kernel.
    async fn has_bits(&self) -> bool {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.blas != own_kernel()) else { return true };
        let tester = Tester { argument: None, folder: cache_folder() };
        tester.test_in_use().await.kernels.iter().any(|kernel| kernel.digest == agreed.digest)
    }

    /// Learns on the head node; returns the effective rank too.
    async fn alone(&self) -> Result<(Learned, Option<f64>), ReadoutError> {
        self.check_room()?;
        let mut features = Vec::new();
        for (examples, flips) in self.splits.parts() {
            features.push(self.features(examples, flips).await?);
        }
        let (splits, spec, seed, events) = (self.splits.clone(), self.spec, self.seed, self.events.clone());
        self.events.tell(&Event::ReadoutStarted { epochs: spec.epochs })?;
        let computed = tokio::task::spawn_blocking(move || {
            Ok((learn(&features, &splits, &spec, seed, &events)?, rank(&features[0])))
        });
        computed.await.expect("the readout does not panic")
    }

    /// That the features of all parts fit the memory of this process.
    fn check_room(&self) -> Result<(), NoRoom> {
        let rows = self.splits.parts().into_iter().map(|(examples, flips)| rows(examples.len(), flips));
        let (rows, bytes) = (rows.sum::<usize>(), self.precision.bytes());
        let features = match self.taps {
            Taps::Input => input_width(&self.splits.train),
            Taps::Layers(taps) => taps.features,
        };
        let what = format!("the readout's features, {rows} rows x {features} x {bytes} B,");
        let needed = (rows as u64).saturating_mul((features * bytes) as u64);
        let advice =
            "have several workers share them (--cache-memory), take wire = \"f16\", or read fewer layers";
        check_room(what, needed, advice)
    }

    async fn features(&self, examples: &Arc<Examples>, flips: bool) -> Result<Features, FeaturesError> {
        let Self { workers, run, precision, events, .. } = *self;
        match self.taps {
            Taps::Input => Ok(input_features(examples, precision)?),
            Taps::Layers(taps) => {
                let stream = feature_stream(run, taps, examples, flips, precision, events);
                layer_features(workers, &stream).await
            }
        }
    }

    /// The effective rank of features of which no more come here than it takes.
    async fn rank(&self, workers: &[Worker], taps: &LayerTaps) -> Result<Option<f64>, ReadoutError> {
        let Self { run, splits, precision, events, .. } = *self;
        let mut stream = feature_stream(run, taps, &splits.train, splits.flips, precision, events);
        stream.samples = stream.samples.min(RANKED);
        let features = layer_features(workers, &stream).await?;
        let ranked = tokio::task::spawn_blocking(move || rank(&features));
        Ok(ranked.await.expect("the rank does not panic"))
    }
}

/// Library and kernel of this process, as a run records them.
fn own_kernel() -> String {
    format!("{} {}", scff::blas::version(), scff::blas::kernel())
}

/// Trains the readout on the features of the first part and measures it on those of all. Blocks.
fn learn(
    features: &[Features],
    splits: &Splits,
    spec: &ReadoutSpec,
    seed: Seed,
    events: &Events,
) -> Result<Learned, ReadoutError> {
    let mut told = Ok(());
    let readout = train(&features[0], splits.train.labels(), splits.classes, spec, seed, |epoch, loss| {
        if told.is_ok() {
            told = events.tell(&Event::ReadoutEpoch { epoch, loss });
        }
    })?;
    told?;
    let parts = features.iter().zip(splits.parts());
    let correct =
        parts.map(|(features, (examples, _))| readout.correct(features, examples.labels())).collect();
    Ok(Learned { parameters: readout.parameters(), correct })
}

/// Samples, or mirror images of them where these come among the first, whose features the effective rank is taken of: enough to tell collapse, and a second's work.
const RANKED: usize = 1000;

/// None where the singular values do not come out, or are not finite.
fn rank(features: &Features) -> Option<f64> {
    let samples = features.samples().min(RANKED);
    let width = features.width();
    let mut array = Array2::zeros((samples, width));
    for (sample, mut row) in array.outer_iter_mut().enumerate() {
        features.read(sample, ChannelRange { start: 0, end: width }, row.as_slice_mut().expect("contiguous"));
    }
    effective_rank(&array).ok().filter(|rank| rank.is_finite())
}
