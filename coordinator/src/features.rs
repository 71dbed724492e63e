//! Features: what the readout reads of every sample, computed once, on all workers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use half::f16;
use ndarray::Array2;
use proto::limits::{MESSAGE_BYTES, PAYLOAD_BYTES, rows_per_message};
use proto::row_bytes::{RowBytes, RowLength};
use proto::rows::{Precision, decode_f16};
use proto::wire;
use scff::batch::{SampleKey, Variant};
use scff::normalize::{Counting, standardize_rows};
use scff::readout::Features;
use source::{Augmentation, Examples, Lengths};
use tokio::sync::mpsc;

use crate::back::Back;
use crate::cluster::{Worker, WorkerFailure};
use crate::events::{Event, Events};
use crate::order::keys_of;
use crate::run_dir::RunDirError;
use crate::stream::{UnfitSample, Views};
use crate::transform::{Job, QUEUE, through};

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
    /// Elements of a sample's features.
    pub features: usize,
    /// Elements of the widest of a sample, its activations and its features.
    pub widest: usize,
}

/// Why there are no features.
#[derive(Debug, thiserror::Error)]
pub enum FeaturesError {
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailure),
    /// A sample does not get to the workers.
    #[error(transparent)]
    Sample(#[from] UnfitSample),
    /// Whoever listens to what happens failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// Whoever takes the features in failed.
    #[error(transparent)]
    Sink(anyhow::Error),
}

/// Features of a sample that is read as it is.
pub fn input_width(examples: &Examples) -> usize {
    let shape = examples.shape();
    match examples.layout().lengths {
        Lengths::Alike => shape.len(),
        Lengths::Frames { .. } => THIRDS * shape.channels,
    }
}

/// The samples themselves, standardised; of sequences, the means of their frames over the first, the middle and the last
/// third.
pub fn input_features(examples: &Examples, precision: Precision) -> Result<Features, UnfitSample> {
    let shape = examples.shape();
    let mut rows = Array2::zeros((examples.len(), input_width(examples)));
    let mut sample = vec![0.0; shape.len()];
    for (index, mut row) in rows.outer_iter_mut().enumerate() {
        let row = row.as_slice_mut().expect("contiguous");
        match examples.layout().lengths {
            Lengths::Alike => examples.write(index as u32, row)?,
            Lengths::Frames { .. } => {
                let sample = &mut sample[..examples.shape_of(index as u32).len()];
                examples.write(index as u32, sample)?;
                means_of_thirds(sample, shape.channels, row);
            }
        }
    }
    standardize_rows(&mut rows, &Counting::Once);
    Ok(match precision {
        Precision::F32 => Features::F32(rows),
        Precision::F16 => Features::F16(rows.mapv(f16::from_f32)),
    })
}

/// Parts of a sequence that are averaged.
const THIRDS: usize = 3;

/// The means over the frames of each third of a sequence, (frames, channels), side by side. Of fewer than three frames,
/// some belong to several thirds.
fn means_of_thirds(sequence: &[f32], channels: usize, out: &mut [f32]) {
    let frames = sequence.len() / channels;
    for (third, out) in out.chunks_exact_mut(channels).enumerate() {
        let start = third * frames / THIRDS;
        let end = ((third + 1) * frames / THIRDS).max(start + 1);
        for (channel, out) in out.iter_mut().enumerate() {
            let sum: f32 = (start..end).map(|frame| sequence[frame * channels + channel]).sum();
            *out = sum / (end - start) as f32;
        }
    }
}

/// Gives the rows of a range of samples, cut into messages whose rows are at most so many bytes long. It may block.
pub type RowsOf = dyn Fn(Range<usize>, usize) -> Result<Vec<wire::Rows>, UnfitSample> + Send + Sync;

/// Samples on their way through the layers of a run on its workers, whose features come back in order.
pub struct FeatureStream<'a> {
    /// What the run is called on the workers, which host its layers.
    pub run: &'a str,
    /// What is read.
    pub taps: &'a LayerTaps,
    /// Elements of a sample; of sequences, of the longest.
    pub inputs: usize,
    /// How many samples there are.
    pub samples: usize,
    /// What they are.
    pub rows: Arc<RowsOf>,
    /// Precision of samples and features.
    pub precision: Precision,
    /// Who is told how it goes on.
    pub events: &'a Events,
}

/// Samples of one job, at most.
const JOB: usize = 960;
/// Bytes of one job at its widest, unless a single message has more.
const JOB_BYTES: usize = 4 << 20;

impl FeatureStream<'_> {
    /// Passes the features of all samples from `first` on to `sink`, (some samples, features) at a time. What is in memory at a
    /// time does not depend on how many samples there are. After a failure, what `sink` has is whole.
    pub async fn pass_on(
        &self,
        workers: &[Worker],
        first: usize,
        mut sink: impl FnMut(&RowBytes) -> Result<(), FeaturesError>,
    ) -> Result<(), FeaturesError> {
        let Self { taps, samples, precision, events, .. } = *self;
        let (results, arrived) = mpsc::channel(QUEUE);
        let (prepared, produced) = self.produce(first);
        events.tell(&Event::FeaturesStarted { samples: (samples - first) as u64 })?;
        let collect = async {
            // Gone with this: where features are refused, nobody waits for room for more.
            let mut arrived = arrived;
            let mut missing = samples - first;
            while let Some(Job { rows, .. }) = arrived.recv().await {
                for message in rows {
                    let rows = RowBytes::parse(message, RowLength::Fixed(taps.features), precision, missing)
                        .map_err(|error| WorkerFailure::protocol(&workers[0], error))?;
                    tokio::task::block_in_place(|| sink(&rows))?;
                    missing -= rows.rows();
                    events.tell(&Event::Features { samples: rows.rows() as u64 })?;
                }
            }
            Ok::<_, FeaturesError>(missing)
        };
        let back = Back::Alike(taps.features * precision.bytes());
        let begin = self.begin();
        let bytes_sent = AtomicU64::new(0);
        let through = through(workers, &begin, back, prepared, results, &bytes_sent);
        let (sent, missing) = tokio::join!(through, collect);
        events.tell(&Event::FeaturesEnded)?;
        let missing = missing?;
        sent?;
        produced.await.expect("samples are written without a panic")?;
        if missing > 0 {
            let message = format!("features of {missing} of {samples} samples are missing");
            return Err(WorkerFailure::protocol(&workers[0], message).into());
        }
        Ok(())
    }

    /// What a worker has to know of it.
    pub fn begin(&self) -> wire::TransformBegin {
        wire::TransformBegin {
            run: self.run.to_owned(),
            inputs: self.inputs as u64,
            layers: self.taps.read.len() as u32,
            wire: wire::Wire::from(self.precision).into(),
            taps: self.taps.read.clone(),
        }
    }

    /// Prepares the rows of all samples from `first` on, on a thread of their own, no more than a few jobs ahead. It ends with whoever
    /// takes the jobs.
    pub fn produce(
        &self,
        first: usize,
    ) -> (mpsc::Receiver<Job<()>>, tokio::task::JoinHandle<Result<(), UnfitSample>>) {
        let (jobs, prepared) = mpsc::channel(QUEUE);
        let (rows, samples, widest) = (self.rows.clone(), self.samples, self.taps.widest);
        let row_bytes = message_row_bytes(widest);
        // Whole messages. A job of few rows at a time: features are wider than samples, and replies are as tall as requests.
        let message = rows_per_message(row_bytes);
        let job =
            (JOB_BYTES / (widest * size_of::<f32>() * message)).clamp(1, (JOB / message).max(1)) * message;
        let produced = tokio::task::spawn_blocking(move || {
            for start in (first..samples).step_by(job) {
                let rows = rows(start..(start + job).min(samples), row_bytes)?;
                if jobs.blocking_send(Job { tag: (), rows }).is_err() {
                    break;
                }
            }
            Ok(())
        });
        (prepared, produced)
    }
}

/// The way of all samples, and of their mirror images where `flips`, to the outputs of layers.
pub fn feature_stream<'a>(
    run: &'a str,
    taps: &'a LayerTaps,
    examples: &Arc<Examples>,
    flips: bool,
    precision: Precision,
    events: &'a Events,
) -> FeatureStream<'a> {
    let augmentation = if flips { Augmentation::FLIPS } else { Augmentation::NONE };
    let views = Views { examples: examples.clone(), augmentation };
    let variants = (0..augmentation.variants()).map(Variant);
    let keys: Vec<SampleKey> = variants.flat_map(|variant| keys_of(examples.len(), variant)).collect();
    let samples = keys.len();
    let rows = Arc::new(move |range, row_bytes| views.rows(&keys[range], precision, row_bytes));
    FeatureStream { run, taps, inputs: examples.shape().len(), samples, rows, precision, events }
}

/// The outputs of layers for all samples of `stream`, computed on all workers.
pub async fn layer_features(
    workers: &[Worker],
    stream: &FeatureStream<'_>,
) -> Result<Features, FeaturesError> {
    let mut matrix = FeatureMatrix::new(stream.samples, stream.taps.features, stream.precision);
    let appended = stream.pass_on(workers, 0, |rows| {
        matrix.append(rows);
        Ok(())
    });
    appended.await?;
    Ok(matrix.finish())
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
    width: usize,
    precision: Precision,
    singles: Vec<f32>,
    halves: Vec<f16>,
}

impl FeatureMatrix {
    fn new(samples: usize, width: usize, precision: Precision) -> Self {
        Self { samples, width, precision, singles: Vec::new(), halves: Vec::new() }
    }

    fn append(&mut self, rows: &RowBytes) {
        // Memory is taken once something has come.
        match self.precision {
            Precision::F32 => {
                let start = self.singles.len();
                self.singles.reserve_exact(self.samples * self.width - start);
                self.singles.resize(start + rows.rows() * self.width, 0.0);
                self.precision.decode(rows.payload(), &mut self.singles[start..]);
            }
            Precision::F16 => {
                self.halves.reserve_exact(self.samples * self.width - self.halves.len());
                self.halves.extend(decode_f16(rows.payload()));
            }
        }
    }

    fn finish(self) -> Features {
        let shape = (self.samples, self.width);
        match self.precision {
            Precision::F32 => {
                Features::F32(Array2::from_shape_vec(shape, self.singles).expect("as many as counted"))
            }
            Precision::F16 => {
                Features::F16(Array2::from_shape_vec(shape, self.halves).expect("as many as counted"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_sequences_are_read_by_the_means_of_their_thirds() {
        let sequences = [vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.0], vec![3.0, 5.0]];
        let examples = Examples::from_sequences(5, 2, sequences, vec![0, 1]);
        let Features::F32(found) = input_features(&examples, Precision::F32).unwrap() else {
            panic!("single")
        };
        let mut expected = ndarray::array![[1.0, 2.0, 4.0, 5.0, 8.0, 8.5], [3.0, 5.0, 3.0, 5.0, 3.0, 5.0]];
        standardize_rows(&mut expected, &Counting::Once);
        assert_eq!(found, expected);
    }

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
