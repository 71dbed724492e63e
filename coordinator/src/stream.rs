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
use source::{Augmentation, Examples, Image};

/// A sample that the wire cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{key} holds {unfit}")]
pub struct UnfitSample {
    /// Which sample, in which view.
    pub key: SampleKey,
    /// What it holds.
    pub unfit: Unfit,
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
    /// The views of `keys`, each (height, width, channels), cut into messages whose rows are at most `row_bytes` long
    /// on either side of a transform.
    pub fn rows(
        &self,
        keys: &[SampleKey],
        precision: Precision,
        row_bytes: usize,
    ) -> Result<Vec<wire::Rows>, UnfitSample> {
        let shape = self.examples.shape();
        let background = self.examples.background();
        let mut sample = vec![0.0; shape.len()];
        let mut view = vec![0.0; shape.len()];
        keys.chunks(rows_per_message(row_bytes))
            .map(|keys| {
                let mut payload = Vec::with_capacity(keys.len() * shape.len() * precision.bytes());
                for &key in keys {
                    self.examples.write(key.index, &mut sample);
                    let image = Image { shape, values: &sample, background: &background };
                    self.augmentation.apply(key, image, &mut view);
                    precision.encode(&view, &mut payload).map_err(|unfit| UnfitSample { key, unfit })?;
                }
                Ok(wire::Rows::alike(keys.len(), payload))
            })
            .collect()
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
    /// Bytes of a sample's activation at the cut point.
    pub activation_bytes: u64,
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
            let arriving = self.ledger.arriving(&batch, |_| self.activation_bytes);
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
            examples: Arc::new(Examples::unlabeled(shape, SCALES, pixels)),
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

    #[test]
    fn a_sample_that_the_wire_cannot_carry_is_named() {
        const SCALES: &[ChannelScale] = &[ChannelScale { mean: 0.0, deviation: 1e-5 }];
        let shape = Shape { height: 1, width: 2, channels: 1 };
        let views = Views {
            examples: Arc::new(Examples::unlabeled(shape, SCALES, vec![0, 1, 0, 255])),
            augmentation: Augmentation::NONE,
        };
        let keys = [0, 1].map(|index| SampleKey { index, variant: Variant(0) });
        assert!(views.rows(&keys, Precision::F32, 8).is_ok());
        let error = views.rows(&keys, Precision::F16, 4).unwrap_err();
        assert_eq!(error.key, keys[1]);
        assert!(error.to_string().starts_with("sample 1 variant 0 holds"), "{error}");
    }
}
