//! Batches on their way to a group: keys always, activations only where the group does not keep them.

use std::sync::Arc;

use proto::batch::ArrivingBatch;
use proto::limits::rows_per_message;
use proto::rows::{Precision, Unfit};
use proto::wire;
use scff::batch::{SampleKey, Step};
use tokio::sync::mpsc;

use crate::ledger::Ledger;
use crate::order::Order;
use crate::transform::Job;
use source::{Augmentation, DataError, Examples, Image, ReadError};

/// A sample that does not get to a worker.
#[derive(Debug, thiserror::Error)]
pub enum UnfitSample {
    /// The wire cannot carry it.
    #[error("{key} holds {unfit}")]
    Number {
        /// Which sample, in which view.
        key: SampleKey,
        /// What it holds.
        unfit: Unfit,
    },
    /// The same of a sample that has a name.
    #[error("{name}: found {unfit}, expected a number that activations may have")]
    Named {
        /// What it is called.
        name: String,
        /// What it holds.
        unfit: Unfit,
    },
    /// It does not come from its file.
    #[error(transparent)]
    Unread(#[from] ReadError),
    /// A user's file is not what it was taken for.
    #[error(transparent)]
    Input(Box<DataError>),
}

/// The samples of a split with their augmented views.
#[derive(Clone)]
pub struct Views {
    /// The samples.
    pub examples: Arc<Examples>,
    /// How views differ.
    pub augmentation: Augmentation,
}

impl Views {
    /// The views of `keys`, each (height, width, channels) of its own shape, cut into messages whose rows are at most `row_bytes` long
    /// on either side of a transform.
    pub fn rows(
        &self,
        keys: &[SampleKey],
        precision: Precision,
        row_bytes: usize,
    ) -> Result<Vec<wire::Rows>, UnfitSample> {
        let background = self.examples.background();
        let longest = self.examples.shape().len();
        let mut sample = vec![0.0; longest];
        let mut view = vec![0.0; longest];
        keys.chunks(rows_per_message(row_bytes))
            .map(|keys| {
                let lengths: Vec<u32> =
                    keys.iter().map(|key| self.examples.shape_of(key.index).len() as u32).collect();
                let elements: usize = lengths.iter().map(|&length| length as usize).sum();
                let mut payload = Vec::with_capacity(elements * precision.bytes());
                for &key in keys {
                    let shape = self.examples.shape_of(key.index);
                    let (sample, view) = (&mut sample[..shape.len()], &mut view[..shape.len()]);
                    self.examples.write(key.index, sample)?;
                    let image = Image { shape, values: sample, background: &background };
                    self.augmentation.apply(key, image, view);
                    precision
                        .encode(view, &mut payload)
                        .map_err(|unfit| UnfitSample::Number { key, unfit })?;
                }
                let alike = lengths.windows(2).all(|pair| pair[0] == pair[1]);
                let lengths = if alike { Vec::new() } else { lengths };
                Ok(wire::Rows { rows: keys.len() as u32, payload: payload.into(), lengths })
            })
            .collect()
    }

    /// Elements of a sample's activation, of which the longest sample's has `most`: they grow with its frames.
    pub fn elements(&self, key: SampleKey, most: usize) -> usize {
        most * self.examples.shape_of(key.index).len() / self.examples.shape().len()
    }
}

/// The batches of a stage from one step to its end, prepared on a thread of its own.
pub struct BatchSource {
    /// Which samples meet.
    pub order: Order,
    /// What the group keeps.
    pub ledger: Ledger,
    /// The samples.
    pub views: Views,
    /// Precision of activations.
    pub precision: Precision,
    /// Elements of an activation at the cut point; of sequences, of the longest.
    pub elements: usize,
    /// Bytes of the longest of a sample and its activations up to the cut point.
    pub row_bytes: usize,
}

impl BatchSource {
    /// Prepares the batches of `steps` until all are done or nobody takes them any more. Blocks.
    pub fn produce(
        mut self,
        steps: std::ops::Range<u64>,
        jobs: &mpsc::Sender<Job<wire::Batch>>,
    ) -> Result<(), UnfitSample> {
        for step in steps {
            let batch = self.order.batch(Step(step));
            let Self { ledger, views, elements, precision, .. } = &mut self;
            let bytes = |key| (views.elements(key, *elements) * precision.bytes()) as u64;
            let arriving = ledger.arriving(&batch, bytes);
            let keys: Vec<SampleKey> = arriving.iter().map(|(key, _)| *key).collect();
            let rows = self.views.rows(&keys, self.precision, self.row_bytes)?;
            let tag = wire::Batch::from(&ArrivingBatch { batch, arriving });
            if jobs.blocking_send(Job { tag, rows }).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use scff::batch::Variant;

    use super::*;
    use source::{ChannelScale, Moves, Shape};

    #[test]
    fn a_view_is_moved_mirrored_and_filled_with_black_pixels_that_are_scaled_too() {
        const SCALES: &[ChannelScale] =
            &[ChannelScale { mean: 1.0, deviation: 0.5 }, ChannelScale { mean: 0.0, deviation: 0.25 }];
        let shape = Shape { height: 1, width: 3, channels: 2 };
        let pixels = vec![255, 0, 0, 255, 255, 255];
        let views = Views {
            examples: Arc::new(Examples::from_pixels(shape, SCALES, pixels, Vec::new())),
            augmentation: Augmentation::new(Moves::Crop { padding: 1 }, true).unwrap(),
        };
        // As it is; one pixel to the right; the mirror image of that. The scales are chosen to be exact.
        let keys = [0, 2, 3].map(|variant| SampleKey { index: 0, variant: Variant(variant) });
        let rows = views.rows(&keys, Precision::F32, 24).unwrap();
        let mut found = vec![0.0; 18];
        let payload: Vec<u8> = rows.iter().flat_map(|rows| rows.payload.to_vec()).collect();
        Precision::F32.decode(&payload, &mut found);
        assert_eq!(found[..6], [0.0, 0.0, -2.0, 4.0, 0.0, 4.0]);
        assert_eq!(found[6..12], [-2.0, 0.0, 0.0, 0.0, -2.0, 4.0]);
        assert_eq!(found[12..], [-2.0, 4.0, 0.0, 0.0, -2.0, 0.0]);
    }

    /// Sequences of 3, 1, 1 and 2 frames of two numbers, all numbers different.
    fn sequences() -> Views {
        let sequence = |first: u16, frames: u16| (first..first + 2 * frames).map(f32::from).collect();
        let sequences = [sequence(0, 3), sequence(10, 1), sequence(20, 1), sequence(30, 2)];
        let examples = Examples::from_sequences(4, 2, sequences, vec![0; 4]);
        Views { examples: Arc::new(examples), augmentation: Augmentation::NONE }
    }

    #[test]
    fn sequences_are_sent_without_padding_and_with_their_lengths_where_they_differ() {
        let keys = [3, 1, 2, 0].map(|index| SampleKey { index, variant: Variant(0) });
        let lengths = |keys: &[SampleKey]| {
            let rows = sequences().rows(keys, Precision::F32, 32).unwrap();
            let [rows] = &rows[..] else { panic!("one message") };
            (rows.rows, rows.lengths.clone(), rows.payload.len())
        };
        assert_eq!(lengths(&keys), (4, vec![4, 2, 2, 6], 4 * 14));
        assert_eq!(lengths(&keys[1..3]), (2, vec![], 4 * 4));
        let mut found = vec![0.0; 14];
        Precision::F32.decode(&sequences().rows(&keys, Precision::F32, 32).unwrap()[0].payload, &mut found);
        let expected = [30, 31, 32, 33, 10, 11, 20, 21, 0, 1, 2, 3, 4, 5];
        assert_eq!(found, expected.map(|number: u16| f32::from(number)));
    }

    #[test]
    fn what_is_kept_of_sequences_is_counted_by_their_own_frames() {
        let text = include_str!("../../configs/iris.toml");
        let config = crate::config::parse("iris.toml", text, &["training.batch=4".to_owned()]).unwrap();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let plan = crate::plan::Plan::new(&config, shape, source::TrainingSamples::labelled(4)).unwrap();
        // Three numbers for each frame, in half precision: 18, 6, 6 and 12 bytes.
        let kept = |bytes| {
            let source = BatchSource {
                order: Order::new(&plan, &plan.stages[0]),
                ledger: Ledger::new(bytes),
                views: sequences(),
                precision: Precision::F16,
                elements: 12,
                row_bytes: 24,
            };
            let (jobs, mut prepared) = mpsc::channel(1);
            source.produce(0..1, &jobs).unwrap();
            prepared.blocking_recv().unwrap().tag.keep.iter().filter(|keep| **keep).count()
        };
        assert_eq!(kept(18 + 6 + 6 + 12), 4);
        assert_eq!(kept(18 + 6 + 6 + 11), 3);
    }

    #[test]
    fn a_sample_that_the_wire_cannot_carry_is_named() {
        const SCALES: &[ChannelScale] = &[ChannelScale { mean: 0.0, deviation: 1e-5 }];
        let shape = Shape { height: 1, width: 2, channels: 1 };
        let views = Views {
            examples: Arc::new(Examples::from_pixels(shape, SCALES, vec![0, 1, 0, 255], Vec::new())),
            augmentation: Augmentation::NONE,
        };
        let keys = [0, 1].map(|index| SampleKey { index, variant: Variant(0) });
        assert!(views.rows(&keys, Precision::F32, 8).is_ok());
        let error = views.rows(&keys, Precision::F16, 4).unwrap_err();
        assert!(matches!(error, UnfitSample::Number { key, .. } if key == keys[1]));
        assert!(error.to_string().starts_with("sample 1 variant 0 holds"), "{error}");
    }
}
