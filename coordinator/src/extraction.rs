//! Samples of any input through the frozen layers of a run, on all its workers.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use ndarray::ArrayView2;
use proto::refusal::Reason;
use proto::row_bytes::RowBytes;
use proto::rows::Precision;
use proto::state::weights_sha256;
use proto::wire;
use scff::batch::Variant;
use source::{Augmentation, DataSource, Examples, Input, InputSource, InputSpec, open_input};

use crate::cluster::{Cluster, HostableLayer, Worker};
use crate::data_folder;
use crate::data_place::DataPlace;
use crate::event_log::teller;
use crate::events::{Event, Events};
use crate::features::{FeatureStream, FeaturesError, LayerTaps, RowsOf};
use crate::location::Location;
use crate::model::Model;
use crate::order::keys_of;
use crate::retries::Retries;
use crate::run_dir::{RunDirReader, RunIdentity};
use crate::sitting::{Surroundings, cluster};
use crate::stream::{UnfitSample, Views};

/// A run's model and the workers that compute with it.
pub struct Extraction {
    /// The layers up to the highest that is read, and what reads them.
    pub model: Model,
    /// How samples are read.
    input: InputSpec,
    data: DataPlace,
    taps: LayerTaps,
    layers: Vec<Arc<HostableLayer>>,
    cluster: Cluster,
    events: Events,
    retries: Retries,
}

/// Samples that are read as they are needed.
#[derive(Clone)]
pub struct Samples {
    /// How many there are.
    count: usize,
    rows: Arc<RowsOf>,
}

impl Samples {
    /// Those of an input.
    pub fn of_input(input: &Arc<Input>) -> Self {
        let (count, input) = (input.len(), input.clone());
        Self { count, rows: Arc::new(move |range, row_bytes| rows(&input, range, row_bytes)) }
    }

    /// Those of a data set, as they are.
    pub fn of_examples(examples: Arc<Examples>) -> Self {
        let keys: Vec<_> = keys_of(examples.len(), Variant(0)).collect();
        let views = Views { examples, augmentation: Augmentation::NONE };
        let count = keys.len();
        Self {
            count,
            rows: Arc::new(move |range, row_bytes| views.rows(&keys[range], Precision::F32, row_bytes)),
        }
    }
}

/// Takes features in, (some samples, features), in the order of samples.
pub type Sink<'a> = dyn FnMut(ArrayView2<'_, f32>) -> anyhow::Result<()> + Send + 'a;

impl Extraction {
    /// Takes up what a run has frozen so far; of its layers these are read, or else those that its readout reads. No worker is
    /// dialled yet.
    pub fn open(
        place: &Location,
        layers: Option<&[usize]>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let mut model = Model::open(place)?;
        if let Some(layers) = layers {
            model = model.reading(place, layers)?;
        }
        let model = model.up_to_the_highest_read();
        let dir = RunDirReader::open(place)?;
        let input = dir.input()?.with_context(|| {
            format!("{place}: found no input.json, which says how samples are read: expected a run that this version began")
        })?;
        let identity = dir.identity()?.unwrap_or_else(|| RunIdentity::new(place));
        let (elements, reads) = (input.shape().len(), model.layers[0].spec().reads().longest());
        ensure!(
            elements == reads,
            "{place}: input.json: found samples of {elements} numbers, expected {reads} as the first layer reads"
        );
        let outputs = model.layers.iter().map(|layer| layer.spec().outputs());
        let widest = outputs.chain([elements, model.features()]).max().expect("one at least");
        let hostable = model.layers.iter().zip(0..).map(|(layer, index)| {
            Arc::new(HostableLayer::new(index, layer.clone(), weights_sha256([layer.parameters()])))
        });
        Ok(Self {
            taps: LayerTaps { read: model.read.clone(), features: model.features(), widest },
            layers: hostable.collect(),
            model,
            input,
            data: surroundings.data.clone(),
            cluster: cluster(&identity, surroundings),
            events: Events::new(vec![teller()]),
            retries: surroundings.retries,
        })
    }

    /// Opens samples such as the run's.
    pub fn input(&self, source: &InputSource) -> anyhow::Result<Arc<Input>> {
        let folder = match source {
            InputSource::Path(_) => PathBuf::new(),
            InputSource::Part { name, .. } => {
                data_folder::local(&DataSource::Known(*name), &self.data.location)?
            }
        };
        Ok(Arc::new(open_input(source, &folder, &self.input)?))
    }

    /// What the run's classes are called, in the order of its labels.
    pub fn classes(&self) -> &[String] {
        &self.input.classes
    }

    /// Passes the features of all samples on to `sink`, each once and in order, whatever happens to workers meanwhile.
    pub async fn pass(&mut self, samples: &Samples, sink: &mut Sink<'_>) -> anyhow::Result<()> {
        let (mut done, mut failures) = (0, 0);
        loop {
            tokio::time::sleep(self.retries.pause(failures)).await;
            let workers = self.cluster.gather(&|waited| self.events.tell(&Event::Waiting(waited))).await?;
            let before = done;
            let failure = match self.attempt(&workers, samples, &mut done, sink).await {
                Err(FeaturesError::Worker(failure)) if failure.passing => failure,
                ended => return Ok(ended?),
            };
            self.cluster.give_up(&failure).await;
            let (leaves, again_from) = (failure.reason == Reason::Closing, done as u64);
            self.events.tell(&Event::FeaturesInterrupted { failure: failure.clone(), again_from })?;
            if leaves {
                continue;
            }
            failures = if done > before { 1 } else { failures + 1 };
            if failures == self.retries.tries {
                return Err(failure.into());
            }
        }
    }

    /// Goes on from the sample `done`, which moves along.
    async fn attempt(
        &mut self,
        workers: &[Worker],
        samples: &Samples,
        done: &mut usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), FeaturesError> {
        self.cluster.host(&self.layers).await?;
        let stream = FeatureStream {
            run: self.cluster.run(),
            taps: &self.taps,
            inputs: self.input.shape().len(),
            samples: samples.count,
            rows: samples.rows.clone(),
            precision: Precision::F32,
            events: &self.events,
        };
        let first = *done;
        let mut features = Vec::new();
        let taken_in = |rows: &RowBytes| {
            let shape = (rows.rows(), self.taps.features);
            features.resize(shape.0 * shape.1, 0.0);
            Precision::F32.decode(rows.payload(), &mut features);
            let features = ArrayView2::from_shape(shape, &features).expect("as many as were decoded");
            sink(features).map_err(FeaturesError::Sink)?;
            *done += shape.0;
            Ok(())
        };
        stream.pass_on(workers, first, taken_in).await
    }
}

/// A range of an input's samples, cut into messages.
fn rows(input: &Input, range: Range<usize>, row_bytes: usize) -> Result<Vec<wire::Rows>, UnfitSample> {
    let examples = Arc::new(input.read(range.clone()).map_err(|error| UnfitSample::Input(Box::new(error)))?);
    let keys: Vec<_> = keys_of(examples.len(), Variant(0)).collect();
    let rows = Views { examples, augmentation: Augmentation::NONE }.rows(&keys, Precision::F32, row_bytes);
    rows.map_err(|error| match error {
        UnfitSample::Number { key, unfit } => {
            UnfitSample::Named { name: input.name(range.start + key.index as usize).into_owned(), unfit }
        }
        other => other,
    })
}
