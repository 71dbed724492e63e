//! A readout that workers share: the head node sends samples, and hears what came out.

use std::sync::Arc;

use ndarray::{Array1, Array2, s};
use proto::rows::Precision;
use proto::wire;
use proto::wire::readout_reply::Reply;
use proto::wire::readout_request::Request;
use scff::batch::Epoch;
use scff::layer::Tensors;
use scff::readout::{NotFinite, ReadoutSpec};
use scff::seed::Seed;
use source::Examples;

use super::error::ReadoutError;
use super::said::Due;
use super::sharers::Sharers;
use super::shares::rows;
use crate::clock::nanoseconds_since_1970;
use crate::cluster::{Worker, WorkerFailure};
use crate::events::{Event, Events};
use crate::features::{FeaturesError, LayerTaps, feature_stream};
use crate::split::Splits;

/// Labels of a message.
const LABELS: usize = 1 << 16;
/// Jobs of each worker whose features are on their way.
const JOBS: usize = 4;

/// A readout that workers share.
pub struct SharedReadout<'a> {
    /// Who takes part.
    pub workers: &'a [Worker],
    /// What each of them owns.
    pub shares: Vec<wire::Shard>,
    /// The run's name on them.
    pub run: &'a str,
    /// What is read.
    pub taps: &'a LayerTaps,
    /// Of which samples.
    pub splits: &'a Splits,
    /// Precision of samples and features.
    pub precision: Precision,
    /// How it is trained.
    pub spec: ReadoutSpec,
    /// What its random numbers follow from.
    pub seed: Seed,
    /// Who is told what happens.
    pub events: &'a Events,
}

/// A readout that has learnt.
pub struct Learned {
    /// Weight (classes, features) and bias (classes).
    pub parameters: Tensors,
    /// Of each part, how many samples are classified as labelled.
    pub correct: Vec<usize>,
}

/// What has come of each worker.
struct Arrived {
    /// Whether the readout learns: before that nobody's replies may end.
    learning: bool,
    stored: Vec<u64>,
    /// How many of the stored rows are told of.
    told: u64,
    measured: Vec<Option<Vec<u64>>>,
    parameters: Vec<Vec<u8>>,
}

impl SharedReadout<'_> {
    /// Computes features, has the readout learnt and measured.
    pub async fn learn(&self) -> Result<Learned, ReadoutError> {
        // A number that no other attempt of this run has: sittings follow each other in time.
        let attempt = nanoseconds_since_1970() as u64;
        let begin = |place| self.begin(place, attempt);
        let opened = Sharers::open(self.workers, begin, |place| self.due(place)).await;
        let mut sharers = opened.map_err(FeaturesError::from)?;
        let count = self.workers.len();
        let mut arrived = Arrived {
            learning: false,
            stored: vec![0; count],
            told: 0,
            measured: vec![None; count],
            parameters: vec![Vec::new(); count],
        };
        self.events.tell(&Event::FeaturesStarted { samples: self.rows() })?;
        let stored = self.compute_features(&mut sharers, &mut arrived).await;
        self.events.tell(&Event::FeaturesEnded)?;
        stored?;
        self.events.tell(&Event::ReadoutStarted { epochs: self.spec.epochs })?;
        (sharers.doing, arrived.learning) = ("while it trained the readout", true);
        sharers.send_last(&Request::Learn(wire::ReadoutLearn {})).await;
        while let Some((place, reply)) = sharers.next().await.map_err(FeaturesError::from)? {
            self.take(&sharers, &mut arrived, place, reply)?;
        }
        Ok(self.assemble(&arrived)?)
    }

    /// Rows of features, of all parts.
    fn rows(&self) -> u64 {
        self.splits.parts().iter().map(|(examples, flips)| rows(examples.len(), *flips) as u64).sum()
    }

    fn begin(&self, place: usize, attempt: u64) -> wire::ReadoutBegin {
        let Self { run, taps, splits, precision, spec, .. } = self;
        let part = |(examples, flips): (&Arc<Examples>, bool)| wire::ReadoutPart {
            samples: examples.len() as u64,
            views: rows(1, flips) as u32,
        };
        wire::ReadoutBegin {
            transform: Some(feature_stream(run, taps, &splits.train, false, *precision, self.events).begin()),
            attempt,
            group: self.shares.clone(),
            place: place as u32,
            classes: splits.classes as u32,
            seed: self.seed.0,
            learning_rate: spec.learning_rate,
            batch: spec.batch as u32,
            epochs: spec.epochs,
            dropout: spec.dropout,
            parts: splits.parts().into_iter().map(part).collect(),
            silence_seconds: self.workers[place].connection.silence().duration().as_secs() as u32,
        }
    }

    /// What is to come of the worker at a place.
    fn due(&self, place: usize) -> Due {
        let samples = self.splits.parts().into_iter().map(|(examples, _)| examples.len() as u64).collect();
        let parameters = self.parameter_bytes(place);
        Due { rows: self.rows(), epochs: self.spec.epochs, samples, parameters }
    }

    /// Sends labels to all, and samples to each in turn; returns once all features are stored.
    async fn compute_features(
        &self,
        sharers: &mut Sharers,
        arrived: &mut Arrived,
    ) -> Result<(), ReadoutError> {
        let parts = self.splits.parts();
        let labels: Vec<u32> = parts.iter().flat_map(|(examples, _)| examples.labels()).copied().collect();
        for labels in labels.chunks(LABELS) {
            for place in 0..sharers.len() {
                let labels = wire::ReadoutLabels { labels: labels.to_vec() };
                sharers.send(place, Request::Labels(labels)).await;
            }
        }
        let (mut sent, mut turn) = (0, 0);
        for (part, (examples, flips)) in parts.into_iter().enumerate() {
            let stream = feature_stream(self.run, self.taps, examples, flips, self.precision, self.events);
            let (mut jobs, produced) = stream.produce(0);
            let mut first = 0;
            while let Some(job) = jobs.recv().await {
                let before = first;
                for rows in job.rows {
                    let (part, count) = (part as u32, u64::from(rows.rows));
                    let samples = wire::ReadoutSamples { part, first, rows: Some(rows) };
                    sharers.send(turn % sharers.len(), Request::Samples(samples)).await;
                    first += count;
                }
                turn += 1;
                let rows = first - before;
                sent += rows;
                let on_their_way = (JOBS * sharers.len()) as u64 * rows;
                self.until_stored(sharers, arrived, sent.saturating_sub(on_their_way)).await?;
            }
            produced.await.expect("samples are written without a panic").map_err(FeaturesError::from)?;
        }
        self.until_stored(sharers, arrived, sent).await
    }

    /// Hears what there is to be heard, and returns once everybody has stored what it owns of so many rows.
    async fn until_stored(
        &self,
        sharers: &mut Sharers,
        arrived: &mut Arrived,
        rows: u64,
    ) -> Result<(), ReadoutError> {
        loop {
            while let Some((place, reply)) = sharers.said().await.map_err(FeaturesError::from)? {
                self.take(sharers, arrived, place, reply)?;
            }
            let owners = self.shares.iter().zip(&arrived.stored).filter(|(share, _)| share.start < share.end);
            let stored = owners.map(|(_, stored)| *stored).min().expect("features have owners");
            if stored > arrived.told {
                self.events.tell(&Event::Features { samples: stored - arrived.told })?;
                arrived.told = stored;
            }
            if stored >= rows {
                return Ok(());
            }
            if let Some((place, reply)) = sharers.next().await.map_err(FeaturesError::from)? {
                self.take(sharers, arrived, place, reply)?;
            }
        }
    }

    /// Takes note of what the worker at a place says, or that it has nothing more to say.
    fn take(
        &self,
        sharers: &Sharers,
        arrived: &mut Arrived,
        place: usize,
        reply: Option<Reply>,
    ) -> Result<(), ReadoutError> {
        match reply {
            Some(Reply::Stored(wire::ReadoutStored { rows })) => arrived.stored[place] = rows,
            // All learn alike.
            Some(Reply::Epoch(wire::ReadoutEpoch { epoch, loss })) if place == 0 => {
                self.events.tell(&Event::ReadoutEpoch { epoch: Epoch(epoch), loss })?;
            }
            Some(Reply::Epoch(_)) => {}
            Some(Reply::Measured(wire::ReadoutMeasured { correct })) => {
                arrived.measured[place] = Some(correct);
            }
            Some(Reply::Parameters(part)) => arrived.parameters[place].extend_from_slice(&part),
            Some(Reply::Diverged(wire::ReadoutDiverged { epoch })) => {
                let epoch = Epoch(epoch);
                return Err(NotFinite { epoch, learning_rate: self.spec.rate(epoch) }.into());
            }
            None if arrived.learning && arrived.parameters[place].len() == self.parameter_bytes(place) => {}
            None => {
                let gone = WorkerFailure::gone(sharers.worker(place)).during(sharers.doing);
                return Err(FeaturesError::from(gone).into());
            }
        }
        Ok(())
    }

    /// Bytes of the parameters that come of the worker at a place: its weights and all biases, or nothing where it owns nothing.
    fn parameter_bytes(&self, place: usize) -> usize {
        match self.shares[place].end - self.shares[place].start {
            0 => 0,
            width => size_of::<f32>() * self.splits.classes * (width as usize + 1),
        }
    }

    /// What has come, put together.
    fn assemble(&self, arrived: &Arrived) -> Result<Learned, FeaturesError> {
        let classes = self.splits.classes;
        let mut weight = Array2::zeros((classes, self.taps.features));
        let mut bias = Array1::zeros(classes);
        let measured = arrived.measured[0].as_ref();
        let owners = self.shares.iter().enumerate().filter(|(_, share)| share.start < share.end);
        for (place, share) in owners {
            let broke = |found: &str| WorkerFailure::protocol(&self.workers[place], found);
            if measured.is_none() || arrived.measured[place].as_ref() != measured {
                return Err(broke("it has measured another readout than others who share it").into());
            }
            let (numbers, _) = arrived.parameters[place].as_chunks();
            let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(broke("parameters that are not finite").into());
            }
            let (start, end) = (share.start as usize, share.end as usize);
            let (weights, biases) = numbers.split_at(classes * (end - start));
            let own = Array2::from_shape_vec((classes, end - start), weights.to_vec()).expect("as many");
            weight.slice_mut(s![.., start..end]).assign(&own);
            bias = Array1::from(biases.to_vec());
        }
        let correct = measured.into_iter().flatten().map(|correct| *correct as usize).collect();
        Ok(Learned { parameters: Tensors::linear(weight, bias), correct })
    }
}
