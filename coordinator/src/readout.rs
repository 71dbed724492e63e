//! The readout: a linear classifier on features, trained and measured on the head node.

use std::sync::Arc;

use ndarray::Array2;
use proto::rows::Precision;
use scff::analysis::effective_rank;
use scff::layer::{ChannelRange, Tensors};
use scff::logistic::NoSpan;
use scff::readout::{Features, NotFinite, ReadoutSpec, train};
use scff::seed::Seed;
use source::Examples;

use crate::accuracies::Accuracies;

use crate::clock::Stopwatch;
use crate::cluster::Worker;
use crate::events::{Event, Events};
use crate::features::{FeaturesError, Taps, input_features, layer_features};
use crate::run_dir::RunDirError;
use crate::split::Splits;
use crate::summary::ReadoutSummary;

/// Why there is no readout.
#[derive(Debug, thiserror::Error)]
pub enum ReadoutError {
    /// There is nothing to learn from.
    #[error(transparent)]
    Features(#[from] FeaturesError),
    /// It does not learn.
    #[error("{0}: try a smaller readout.lr")]
    NotFinite(#[from] NotFinite),
    /// Nothing can be learned of a few labels.
    #[error(transparent)]
    NoSpan(#[from] NoSpan),
    /// The run directory failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

/// What a readout is trained and measured with.
pub struct ReadoutRun<'a> {
    /// Who computes features.
    pub workers: &'a [Worker],
    /// The run's name on them.
    pub run: &'a str,
    /// What is read.
    pub taps: &'a Taps,
    /// Of which samples.
    pub splits: &'a Splits,
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
    /// Computes the features of all parts, trains the readout and measures it.
    pub async fn read_out(self) -> Result<(Tensors, ReadoutSummary), ReadoutError> {
        let began = Stopwatch::start();
        // The readout learns from images and their mirror images where layers do, and is measured on images as they are.
        let trained = self.features(&self.splits.train, self.splits.flips).await?;
        let measured = self.features(&self.splits.measure, false).await?;
        let validated = match &self.splits.validation {
            Some(validation) => Some(self.features(validation, false).await?),
            None => None,
        };
        let features = AllFeatures { trained, measured, validated };
        let (splits, spec, seed, events) = (self.splits.clone(), self.spec, self.seed, self.events.clone());
        self.events.tell(&Event::ReadoutStarted { epochs: spec.epochs })?;
        let computed = tokio::task::spawn_blocking(move || learn(&features, &splits, &spec, seed, &events));
        let (parameters, summary) = computed.await.expect("the readout does not panic")?;
        let summary = ReadoutSummary { seconds: began.seconds(), ..summary };
        self.events.tell(&Event::ReadOut(summary.clone()))?;
        Ok((parameters, summary))
    }

    async fn features(&self, examples: &Arc<Examples>, flips: bool) -> Result<Features, FeaturesError> {
        let Self { workers, run, precision, events, .. } = *self;
        match self.taps {
            Taps::Input => Ok(input_features(examples, precision)?),
            Taps::Layers(taps) => {
                layer_features(workers, run, taps, examples, flips, precision, events).await
            }
        }
    }
}

/// The features of what is learned from, measured on, and validated on if anything is.
struct AllFeatures {
    trained: Features,
    measured: Features,
    validated: Option<Features>,
}

/// Trains the readout on the features of one part and measures it on those of others. Blocks.
fn learn(
    features: &AllFeatures,
    splits: &Splits,
    spec: &ReadoutSpec,
    seed: Seed,
    events: &Events,
) -> Result<(Tensors, ReadoutSummary), ReadoutError> {
    let AllFeatures { trained, measured, validated } = features;
    let mut told = Ok(());
    let readout = train(trained, splits.train.labels(), splits.classes, spec, seed, |epoch, loss| {
        if told.is_ok() {
            told = events.tell(&Event::ReadoutEpoch { epoch, loss });
        }
    })?;
    told?;
    let accuracy = |features: &Features, examples: &Examples| {
        readout.correct(features, examples.labels()) as f64 / examples.len() as f64
    };
    let on_measured = accuracy(measured, &splits.measure);
    let on_validated = validated.as_ref().zip(splits.validation.as_deref());
    let summary = ReadoutSummary {
        features: trained.width(),
        accuracies: Accuracies {
            train_accuracy: accuracy(trained, &splits.train),
            test_accuracy: (!splits.held_out).then_some(on_measured),
            validation_accuracy: on_validated.map(|(features, examples)| accuracy(features, examples)),
            held_out_accuracy: splits.held_out.then_some(on_measured),
        },
        effective_rank: rank(trained),
        seconds: 0.0,
    };
    Ok((readout.parameters(), summary))
}

/// Samples whose features the effective rank is taken of: enough to tell collapse, and a second's work.
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
