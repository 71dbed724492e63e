//! The rows of a batch: those that came with it, and those that are kept.

use std::collections::HashMap;

use proto::WireError;
use scff::batch::SampleKey;
use scff::samples::Samples;

use crate::cache::Cache;
use crate::passing::own_pairs;
use crate::samples::decode;
use crate::session::ArrivedBatch;
use crate::stage::{BatchShape, Feed};

/// Makes batches of what arrives and what is kept.
pub struct Feeding {
    shape: BatchShape,
    cache: Cache,
}

impl Feeding {
    /// Keeps so many bytes of activations at most.
    pub fn new(shape: BatchShape, kept_bytes: usize) -> Self {
        Self { shape, cache: Cache::new(kept_bytes) }
    }

    /// Bytes of the activations that it keeps.
    pub fn kept_bytes(&self) -> usize {
        self.cache.used()
    }

    /// The rows of a batch in single precision; keeps what is to be kept of them.
    pub fn rows(&mut self, batch: &ArrivedBatch) -> Result<Samples, WireError> {
        match self.shape.feed {
            Feed::Keys => self.keyed(batch),
            Feed::LiveSamples | Feed::LivePairs => Ok(self.decoded(&batch.activations().collect::<Vec<_>>())),
            Feed::LiveOwnPairs(first, end) => {
                let BatchShape { size, length, precision, .. } = self.shape;
                let shifts = &batch.message.batch.shifts;
                let pairs = own_pairs(size, shifts, &(first..end));
                // Nobody reads the others.
                let mut sources = vec![&[][..]; size * (1 + shifts.len())];
                pairs.into_iter().zip(batch.activations()).for_each(|(pair, row)| sources[pair] = row);
                Ok(decode(&sources, length, precision))
            }
        }
    }

    /// The rows of a batch of sample keys.
    fn keyed(&mut self, batch: &ArrivedBatch) -> Result<Samples, WireError> {
        let arrivals = self.arrivals(batch)?;
        let rows = self.gather(batch, &arrivals)?;
        for &(key, _) in batch.message.arriving.iter().filter(|(_, keep)| *keep) {
            self.cache.keep(key, arrivals[&key]).expect("room was checked");
        }
        Ok(rows)
    }

    /// The activations that came with the batch, by key.
    fn arrivals<'b>(&self, batch: &'b ArrivedBatch) -> Result<HashMap<SampleKey, &'b [u8]>, WireError> {
        let arriving = &batch.message.arriving;
        let mut arrivals = HashMap::with_capacity(arriving.len());
        for (&(key, _), row) in arriving.iter().zip(batch.activations()) {
            if arrivals.insert(key, row).is_some() {
                let found = format_args!("{key} twice").to_string();
                return Err(WireError::new("batch.arriving", found, "every key once"));
            }
        }
        let keeping = arriving.iter().filter(|(_, keep)| *keep);
        let new: usize = keeping.map(|(key, _)| self.cache.needs(*key, arrivals[key])).sum();
        let kept = self.cache.used() + new;
        if kept > self.cache.capacity() {
            let expected = format_args!("at most {} (kept_bytes)", self.cache.capacity()).to_string();
            return Err(WireError::new("batch.keep", format_args!("{kept} bytes to keep"), expected));
        }
        Ok(arrivals)
    }

    fn gather(
        &self,
        batch: &ArrivedBatch,
        arrivals: &HashMap<SampleKey, &[u8]>,
    ) -> Result<Samples, WireError> {
        let find = |key| arrivals.get(&key).copied().or_else(|| self.cache.get(key));
        let sources = batch.message.batch.rows().map(|key| {
            find(key).ok_or_else(|| {
                WireError::new("batch.arriving", format_args!("no {key}"), "every key that is not kept")
            })
        });
        let sources: Vec<&[u8]> = sources.collect::<Result<_, _>>()?;
        Ok(self.decoded(&sources))
    }

    fn decoded(&self, sources: &[&[u8]]) -> Samples {
        decode(sources, self.shape.length, self.shape.precision)
    }
}
