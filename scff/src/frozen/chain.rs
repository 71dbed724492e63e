//! Samples through frozen layers, and the readout's features of them.

use std::sync::Arc;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, s};

use super::layer::FrozenLayer;
use crate::layer::{MapShape, Pool};
use crate::normalize::{Counting, standardize_rows};
use crate::samples::Samples;

impl FrozenLayer {
    /// What the layer passes on for single samples, rows or sequences.
    pub fn pass(&self, samples: &Samples) -> Samples {
        match samples {
            Samples::Rows(rows) => self.transform(rows.view()).into(),
            Samples::Sequences(sequences) => self.transform_sequences(sequences).into(),
        }
    }

    /// What the readout reads of what the layer passes on: pooled and standardised rows; of sequences, their summary.
    fn features(&self, passed_on: &Samples) -> Array2<f32> {
        match passed_on {
            Samples::Rows(rows) => {
                let mut rows = pooled(self.spec().readout_pool, self.spec().output(), rows);
                standardize_rows(&mut rows, &Counting::Once);
                rows
            }
            Samples::Sequences(sequences) => self.summarize(sequences),
        }
    }
}

/// Samples after the first `layers.len()` layers: (samples, elements in) to (samples, elements out).
pub fn transform(layers: &[Arc<FrozenLayer>], samples: ArrayView2<'_, f32>) -> Array2<f32> {
    layers.iter().fold(samples.to_owned(), |rows, layer| layer.transform(rows.view()))
}

/// The readout's features of samples: of each layer for which `taps` holds true, its outputs pooled for the readout and
/// standardised per sample and layer, or the summary of its states, side by side. Without any tapped layer: the
/// standardised samples themselves, which then are rows.
pub fn features(layers: &[Arc<FrozenLayer>], taps: &[bool], samples: impl Into<Samples>) -> Array2<f32> {
    assert_eq!(layers.len(), taps.len(), "one tap for each layer");
    let mut samples = samples.into();
    let mut parts = Vec::new();
    if !taps.contains(&true) {
        let Samples::Rows(mut rows) = samples else { panic!("sequences are read out through layers") };
        standardize_rows(&mut rows, &Counting::Once);
        return rows;
    }
    for (layer, &tapped) in layers.iter().zip(taps) {
        samples = layer.pass(&samples);
        if tapped {
            parts.push(layer.features(&samples));
        }
    }
    let width = parts.iter().map(Array2::ncols).sum();
    let mut features = Array2::zeros((samples.count(), width));
    let mut start = 0;
    for part in parts {
        features.slice_mut(s![.., start..start + part.ncols()]).assign(&part);
        start += part.ncols();
    }
    features
}

fn pooled(pool: Option<Pool>, shape: MapShape, rows: &Array2<f32>) -> Array2<f32> {
    let Some(pool) = pool else { return rows.clone() };
    let mut result = Array2::zeros((rows.nrows(), pool.output(shape).len()));
    result.outer_iter_mut().into_par_iter().zip(rows.outer_iter()).for_each(|(mut out, row)| {
        let row = row.to_slice().expect("rows are contiguous");
        pool.apply(shape, row, out.as_slice_mut().expect("rows are contiguous"));
    });
    result
}
