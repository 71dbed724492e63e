//! Features: what the readout reads of every sample, computed once, on all workers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use half::f16;
use ndarray::Array2;
use proto::limits::{MESSAGE_BYTES, PAYLOAD_BYTES};
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
}

/// The samples themselves, standardised; of sequences, the means of their frames over the first, the middle and the last
/// third.
pub fn input_features(examples: &Examples, precision: Precision) -> Result<Features, UnfitSample> {
    let shape = examples.shape();
    let width = match examples.layout().lengths {
        Lengths::Alike => shape.len(),
        Lengths::Frames { .. } => THIRDS * shape.channels,
    };
    let mut rows = Array2::zeros((examples.len(), width));
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

/// Samples of one job.
const JOB: usize = 960;

/// The outputs of layers for all samples, and for their mirror images where `flips`, computed on all workers.
pub async fn layer_features(
    workers: &[Worker],
    run: &str,
    taps: &LayerTaps,
    examples: &Arc<Examples>,
    flips: bool,
    precision: Precision,
    events: &Events,
) -> Result<Features, FeaturesError> {
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
    let produced = tokio::task::spawn_blocking(move || {
        for keys in keys.chunks(JOB) {
            let rows = views.rows(keys, precision, row_bytes)?;
            if jobs.blocking_send(Job { tag: (), rows }).is_err() {
                break;
            }
        }
        Ok::<_, UnfitSample>(())
    });
    events.tell(&Event::FeaturesStarted { samples: rows as u64 })?;
    let broken = |message| WorkerFailure::protocol(&workers[0], message);
    let collect = async {
        let mut matrix = FeatureMatrix::new(rows, precision);
        while let Some(Job { rows, .. }) = arrived.recv().await {
            for message in rows {
                let samples = u64::from(message.rows);
                tokio::task::block_in_place(|| matrix.append(message)).map_err(broken)?;
                events.tell(&Event::Features { samples })?;
            }
        }
        Ok::<_, FeaturesError>(matrix)
    };
    let bytes_sent = AtomicU64::new(0);
    let back = Back::Alike(taps.features * precision.bytes());
    let through = through(workers, &begin, back, prepared, results, &bytes_sent);
    let (sent, matrix) = tokio::join!(through, collect);
    events.tell(&Event::FeaturesEnded)?;
    sent?;
    produced.await.expect("samples are written without a panic")?;
    Ok(matrix?.finish().map_err(broken)?)
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
        let missing = self.samples - self.rows;
        let message = RowBytes::parse(message, RowLength::Fixed(width), self.precision, missing)
            .map_err(|error| error.to_string())?;
        let (rows, payload) = (message.rows(), message.payload());
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
                self.precision.decode(payload, &mut self.singles[start..]);
            }
            Precision::F16 => self.halves.extend(decode_f16(payload)),
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
