//! The readout: a linear classifier on features, trained and measured on the head node.

use std::time::Instant;

use ndarray::Array2;
use proto::rows::Precision;
use scff::analysis::effective_rank;
use scff::batch::Epoch;
use scff::layer::{ChannelRange, Tensors};
use scff::readout::{Features, NotFinite, ReadoutSpec, train};
use scff::seed::Seed;
use source::Examples;

use crate::cluster::Worker;
use crate::features::{FeaturesError, Taps, input_features, layer_features};
use crate::progress::bar;
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
}

/// Computes the features of both splits, trains the readout and measures it.
pub async fn read_out(
    workers: &[Worker],
    run: &str,
    taps: &Taps,
    splits: &Splits,
    precision: Precision,
    spec: &ReadoutSpec,
    seed: Seed,
) -> Result<(Tensors, ReadoutSummary), ReadoutError> {
    let began = Instant::now();
    let mut features = Vec::new();
    // The readout learns from images and their mirror images where layers do, and is measured on images as they are.
    for (examples, flips) in [(&splits.train, splits.flips), (&splits.measure, false)] {
        features.push(match taps {
            Taps::Input => input_features(examples, precision),
            Taps::Layers(taps) => layer_features(workers, run, taps, examples, flips, precision).await?,
        });
    }
    let measured = features.pop().expect("two splits");
    let trained = features.pop().expect("two splits");
    let (splits, spec) = (splits.clone(), *spec);
    let computed = tokio::task::spawn_blocking(move || {
        let progress =
            bar(u64::from(spec.epochs), "   readout {bar:30} {pos}/{len} epochs  {msg}  {eta} left");
        let readout =
            train(&trained, splits.train.labels(), splits.classes, &spec, seed, |Epoch(epoch), loss| {
                progress.set_position(u64::from(epoch) + 1);
                progress.set_message(format!("loss {loss:.4}"));
            });
        progress.abandon();
        let readout = readout?;
        let accuracy = |features: &Features, examples: &Examples| {
            readout.correct(features, examples.labels()) as f64 / examples.len() as f64
        };
        let on_measured = accuracy(&measured, &splits.measure);
        let summary = ReadoutSummary {
            features: trained.width(),
            train_accuracy: accuracy(&trained, &splits.train),
            test_accuracy: (!splits.held_out).then_some(on_measured),
            held_out_accuracy: splits.held_out.then_some(on_measured),
            effective_rank: rank(&trained),
            seconds: 0.0,
        };
        Ok::<_, NotFinite>((readout.parameters(), summary))
    });
    let (parameters, summary) = computed.await.expect("the readout does not panic")?;
    Ok((parameters, ReadoutSummary { seconds: began.elapsed().as_secs_f64(), ..summary }))
}

/// Samples whose features the effective rank is taken of: enough to tell collapse, and a second's work.
const RANKED: usize = 1000;

fn rank(features: &Features) -> f64 {
    let samples = features.samples().min(RANKED);
    let width = features.width();
    let mut array = Array2::zeros((samples, width));
    for (sample, mut row) in array.outer_iter_mut().enumerate() {
        features.read(sample, ChannelRange { start: 0, end: width }, row.as_slice_mut().expect("contiguous"));
    }
    effective_rank(&array).unwrap_or(f64::NAN)
}
