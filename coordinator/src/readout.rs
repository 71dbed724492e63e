//! The readout: features computed once, on all workers, then a linear classifier trained on the head node.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use half::f16;
use ndarray::Array2;
use proto::limits::{MESSAGE_BYTES, PAYLOAD_BYTES};
use proto::rows::{Precision, RowBytes, decode_f16};
use proto::wire;
use scff::analysis::effective_rank;
use scff::batch::{Epoch, SampleKey, Variant};
use scff::layer::{ChannelRange, Tensors};
use scff::normalize::{Counting, standardize_rows};
use scff::readout::{Features, NotFinite, ReadoutSpec, train};
use scff::seed::Seed;
use tokio::sync::mpsc;

use crate::cluster::{Worker, WorkerFailure};
use crate::order::keys_of;
use crate::progress::bar;
use crate::stream::Views;
use crate::summary::ReadoutSummary;
use crate::transform::{Job, QUEUE, through};
use source::{Augmentation, Examples};

/// What the readout reads, of every sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taps {
    /// The samples themselves, standardised: the baseline that frozen layers must beat.
    Input,
    /// The outputs of layers, each standardised.
    Layers(LayerTaps),
}

/// The layers that the readout reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTaps {
    /// Of each frozen layer, whether it is read.
    pub read: Vec<bool>,
    /// Elements of the widest of a sample, its activations and its features.
    pub widest: usize,
}

/// Samples that layers and the readout learn from, and samples that measure it.
#[derive(Clone)]
pub struct Splits {
    /// What layers learn from: those without labels, or else `train`.
    pub layers: Arc<Examples>,
    /// What the readout learns from.
    pub train: Arc<Examples>,
    /// Whether the readout learns from their mirror images too.
    pub flips: bool,
    /// To measure on.
    pub measure: Arc<Examples>,
    /// Whether these are held-out training samples, not the test set.
    pub held_out: bool,
    /// Classes of the labels.
    pub classes: usize,
}

/// Why there is no readout.
#[derive(Debug, thiserror::Error)]
pub enum ReadoutError {
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailure),
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

fn input_features(examples: &Examples, precision: Precision) -> Features {
    let mut rows = Array2::zeros((examples.len(), examples.shape().len()));
    for (index, mut row) in rows.outer_iter_mut().enumerate() {
        examples.write(index as u32, row.as_slice_mut().expect("contiguous"));
    }
    standardize_rows(&mut rows, &Counting::Once);
    match precision {
        Precision::F32 => Features::F32(rows),
        Precision::F16 => Features::F16(rows.mapv(f16::from_f32)),
    }
}

/// Samples of one job.
const JOB: usize = 960;

async fn layer_features(
    workers: &[Worker],
    run: &str,
    taps: &LayerTaps,
    examples: &Arc<Examples>,
    flips: bool,
    precision: Precision,
) -> Result<Features, WorkerFailure> {
    let augmentation = if flips { Augmentation::FLIPS } else { Augmentation::NONE };
    let views = Views { examples: examples.clone(), augmentation };
    let variants = (0..augmentation.variants()).map(Variant);
    let keys: Vec<SampleKey> = variants.flat_map(|variant| keys_of(examples.len(), variant)).collect();
    let rows = keys.len();
    let begin = wire::TransformBegin {
        run: run.to_owned(),
        inputs: examples.shape().len() as u64,
        layers: taps.read.len() as u32,
        wire: wire::Wire::from(precision).into(),
        taps: taps.read.clone(),
    };
    let row_bytes = message_row_bytes(taps.widest);
    let (jobs, prepared) = mpsc::channel(QUEUE);
    let (results, mut arrived) = mpsc::channel(QUEUE);
    // A job of few rows at a time: features are wider than samples, and replies are as tall as requests.
    std::thread::spawn(move || {
        for keys in keys.chunks(JOB) {
            let rows = views.rows(keys, precision, row_bytes);
            if jobs.blocking_send(Job { tag: (), rows }).is_err() {
                return;
            }
        }
    });
    let progress = bar(rows as u64, "  features {bar:30} {pos}/{len} samples  {per_sec}  {eta} left");
    let collect = async {
        let mut matrix = FeatureMatrix::new(rows, precision);
        while let Some(Job { rows, .. }) = arrived.recv().await {
            for message in rows {
                progress.inc(u64::from(message.rows));
                tokio::task::block_in_place(|| matrix.append(message))?;
            }
        }
        Ok::<_, String>(matrix)
    };
    let bytes_sent = AtomicU64::new(0);
    let (sent, matrix) = tokio::join!(through(workers, &begin, prepared, results, &bytes_sent), collect);
    progress.finish_and_clear();
    sent?;
    matrix.and_then(FeatureMatrix::finish).map_err(|message| WorkerFailure::protocol(&workers[0], message))
}

/// Bytes of a row that messages are cut for: 96 rows of 784 pixels and of 8,192 features fit well. Fewer where a row is wide
/// somewhere on its way, for a worker takes no more rows in one message than a message of the widest could hold.
fn message_row_bytes(widest: usize) -> usize {
    const FEATURE_BYTES: usize = PAYLOAD_BYTES / 96;
    // Half of what would fit, for messages have heads.
    FEATURE_BYTES.max(2 * widest * size_of::<f32>() / (MESSAGE_BYTES / PAYLOAD_BYTES))
}

/// Features as they arrive.
struct FeatureMatrix {
    samples: usize,
    precision: Precision,
    rows: usize,
    width: Option<usize>,
    singles: Vec<f32>,
    halves: Vec<f16>,
}

impl FeatureMatrix {
    fn new(samples: usize, precision: Precision) -> Self {
        Self { samples, precision, rows: 0, width: None, singles: Vec::new(), halves: Vec::new() }
    }

    fn append(&mut self, message: wire::Rows) -> Result<(), String> {
        let rows = (message.rows as usize).max(1);
        let width = *self.width.get_or_insert(message.payload.len() / rows / self.precision.bytes());
        let RowBytes { rows, payload } =
            RowBytes::parse(message, width * self.precision.bytes(), self.samples - self.rows)
                .map_err(|error| error.to_string())?;
        if self.rows == 0 {
            match self.precision {
                Precision::F32 => self.singles.reserve_exact(self.samples * width),
                Precision::F16 => self.halves.reserve_exact(self.samples * width),
            }
        }
        self.rows += rows;
        match self.precision {
            Precision::F32 => {
                let start = self.singles.len();
                self.singles.resize(start + rows * width, 0.0);
                self.precision.decode(&payload, &mut self.singles[start..]);
            }
            Precision::F16 => self.halves.extend(decode_f16(&payload)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Features, String> {
        if self.rows != self.samples {
            return Err(format!("{} rows of features for {} samples", self.rows, self.samples));
        }
        let shape = (self.samples, self.width.unwrap_or(0));
        Ok(match self.precision {
            Precision::F32 => {
                Features::F32(Array2::from_shape_vec(shape, self.singles).expect("as many as counted"))
            }
            Precision::F16 => {
                Features::F16(Array2::from_shape_vec(shape, self.halves).expect("as many as counted"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proto::limits::rows_per_message;

    use super::*;

    #[test]
    fn messages_hold_no_more_rows_than_a_message_of_the_widest_could() {
        // CIFAR-10's features, and STL-10's third layer.
        for widest in [784, 24_576, 221_184, 4 << 20] {
            let rows = rows_per_message(message_row_bytes(widest));
            assert!(rows * widest * 4 < MESSAGE_BYTES, "{rows} rows of {widest}");
        }
        assert_eq!(rows_per_message(message_row_bytes(18_432)), 96);
    }
}
