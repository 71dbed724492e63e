//! Samples, or pairs of them, as they arrive at a layer and as it passes them on.

use ndarray::{Array2, ArrayView2, s};

use crate::finite::all_finite;
use crate::sequences::Sequences;

/// Samples or pairs: rows for dense layers and convolutions, sequences for recurrent ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// All of one length, (rows, elements).
    Rows(Array2<f32>),
    /// Of any number of frames each.
    Sequences(Sequences),
}

impl Samples {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.nrows(),
            Self::Sequences(sequences) => sequences.count(),
        }
    }

    /// A number that is not finite, if there is one.
    pub fn not_finite(&self) -> Option<f32> {
        let numbers = match self {
            Self::Rows(rows) => rows.view(),
            Self::Sequences(sequences) => sequences.frames(),
        };
        if all_finite(&numbers) {
            return None;
        }
        numbers.iter().copied().find(|value| !value.is_finite())
    }

    /// The first `count` of them.
    #[must_use]
    pub fn first(self, count: usize) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.slice(s![..count, ..]).to_owned()),
            Self::Sequences(sequences) => Self::Sequences(sequences.first(count)),
        }
    }
}

impl From<Array2<f32>> for Samples {
    fn from(rows: Array2<f32>) -> Self {
        Self::Rows(rows)
    }
}

impl From<Sequences> for Samples {
    fn from(sequences: Sequences) -> Self {
        Self::Sequences(sequences)
    }
}

impl From<ArrayView2<'_, f32>> for Samples {
    fn from(rows: ArrayView2<'_, f32>) -> Self {
        Self::Rows(rows.to_owned())
    }
}
