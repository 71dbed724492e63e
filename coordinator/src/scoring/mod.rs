//! Anomaly scores: how unlike what a run's layers learned from a sample is.
//!
//! A [`Method`] says what is compared, and a [`Reference`] with what: statistics of a sample of the training data, which are
//! computed once and kept in the run directory. Scores of features come from the workers, as features do; scores of goodness
//! are computed in this process.

mod method;

mod reference;

mod learned;

pub use method::Method;
pub use reference::{Reference, TOGETHER};

use std::sync::Arc;

use anyhow::ensure;
use ndarray::{Array2, ArrayView2};
use proto::state::weights_sha256;
use scff::layer::RowLength;
use source::{Examples, Input};

use crate::extraction::{Extraction, Samples};
use crate::location::Location;
use crate::run_dir::{self, ReferenceOf, RunDirReader};
use crate::sitting::Surroundings;

/// Samples of the training data that others are compared with, at most.
const REFERENCE: usize = 4096;
/// Features of all of them, at most: 128 MiB, and twice as much while they are made ready.
const REFERENCE_FEATURES: usize = 32 << 20;

/// A run's model, ready to score.
pub struct Scoring {
    extraction: Extraction,
    reference: Reference,
}

impl Scoring {
    /// Takes up what samples are compared with: from the run directory, or else from the run's training data, and then it is
    /// kept.
    pub async fn open(
        place: &Location,
        layers: Option<&[usize]>,
        method: Method,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let mut extraction = Extraction::open(place, layers, surroundings)?;
        let model = &extraction.model;
        ensure!(
            method.is_of_features() || matches!(model.layers[0].spec().reads(), RowLength::Fixed(_)),
            "{place}: {method} is computed of dense and convolutional layers, not of recurrent ones"
        );
        let of = ReferenceOf {
            layers_sha256: weights_sha256(model.layers.iter().map(|layer| layer.parameters())),
            read: (0..model.read.len()).filter(|&layer| model.read[layer]).collect(),
        };
        let dir = RunDirReader::open(place)?;
        if let Some(arrays) = dir.reference(&method.to_string(), &of, Reference::arrays_of(method))? {
            return Ok(Self { extraction, reference: Reference::from_arrays(method, arrays)? });
        }
        let most = REFERENCE.min(REFERENCE_FEATURES / model.features()).max(2);
        let examples = Arc::new(learned::some(&dir, most, surroundings)?);
        let reference = if method.is_of_features() {
            let features = features_of(&mut extraction, examples).await?;
            tokio::task::block_in_place(|| Reference::of_features(method, features))?
        } else {
            let layers = &extraction.model.layers;
            tokio::task::block_in_place(|| Reference::of_goodness(method, layers, &rows(&examples)?))?
        };
        if let Err(error) = run_dir::keep_reference(
            place,
            &method.to_string(),
            &of,
            &reference.arrays(),
            surroundings.patience,
        ) {
            tracing::warn!("what samples are compared with is not kept: {error}");
        }
        Ok(Self { extraction, reference })
    }

    /// Samples such as the run's.
    pub fn input(&self, source: &source::InputSource) -> anyhow::Result<Arc<Input>> {
        self.extraction.input(source)
    }

    /// Passes the scores of all samples on to `sink`, some at a time, in order; the higher, the more unlike.
    pub async fn score(
        &mut self,
        input: &Arc<Input>,
        sink: &mut (dyn FnMut(&[f32]) -> anyhow::Result<()> + Send),
    ) -> anyhow::Result<()> {
        let Self { extraction, reference } = self;
        if reference.is_of_features() {
            let mut scored = |features: ArrayView2<'_, f32>| sink(&reference.scores_of_features(features));
            return extraction.pass(&Samples::of_input(input), &mut scored).await;
        }
        let layers = &extraction.model.layers;
        tokio::task::block_in_place(|| {
            for start in (0..input.len()).step_by(TOGETHER) {
                let examples = input.read(start..(start + TOGETHER).min(input.len()))?;
                sink(&reference.scores_of_goodness(layers, rows(&examples)?.view()))?;
            }
            Ok(())
        })
    }
}

/// The features of samples that fit into memory, (samples, features).
async fn features_of(extraction: &mut Extraction, examples: Arc<Examples>) -> anyhow::Result<Array2<f32>> {
    let shape = (examples.len(), extraction.model.features());
    let mut features = Vec::with_capacity(shape.0 * shape.1);
    let mut append = |rows: ArrayView2<'_, f32>| {
        features.extend(rows);
        Ok(())
    };
    extraction.pass(&Samples::of_examples(examples), &mut append).await?;
    Ok(Array2::from_shape_vec(shape, features)?)
}

/// Samples of one shape as a matrix, (samples, elements).
fn rows(examples: &Examples) -> anyhow::Result<Array2<f32>> {
    let mut rows = Array2::zeros((examples.len(), examples.shape().len()));
    for (index, mut row) in rows.outer_iter_mut().enumerate() {
        examples.write(index as u32, row.as_slice_mut().expect("contiguous"))?;
    }
    Ok(rows)
}
