//! Sequences of different lengths, side by side and without any padding.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};

/// Sequences of frames, one after another: (frames of all, features). Each has at least one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    frames: Array2<f32>,
    /// Where each begins, and where the last ends.
    bounds: Vec<usize>,
}

impl Sequences {
    /// Sequences of so many frames each, (frames of all, features).
    pub fn new(frames: Array2<f32>, lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut bounds = vec![0];
        for length in lengths {
            assert!(length > 0, "a sequence has a frame");
            bounds.push(bounds[bounds.len() - 1] + length);
        }
        assert_eq!(bounds[bounds.len() - 1], frames.nrows(), "as many frames as all are long");
        Self { frames: frames.as_standard_layout().into_owned(), bounds }
    }

    /// Sequences of so many frames each, all zero.
    pub fn zeros(features: usize, lengths: impl IntoIterator<Item = usize>) -> Self {
        let lengths: Vec<usize> = lengths.into_iter().collect();
        Self::new(Array2::zeros((lengths.iter().sum(), features)), lengths)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Numbers of a frame.
    pub fn features(&self) -> usize {
        self.frames.ncols()
    }

    /// All frames, (frames of all, features).
    pub fn frames(&self) -> ArrayView2<'_, f32> {
        self.frames.view()
    }

    /// How many frames one has.
    pub fn length(&self, sequence: usize) -> usize {
        self.range(sequence).len()
    }

    /// How many frames each has.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.bounds.windows(2).map(|bounds| bounds[1] - bounds[0])
    }

    /// The frames of one among all.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.bounds[sequence]..self.bounds[sequence + 1]
    }

    /// The frames of one: (frames, features).
    pub fn sequence(&self, sequence: usize) -> ArrayView2<'_, f32> {
        let Range { start, end } = self.range(sequence);
        self.frames.slice(s![start..end, ..])
    }

    /// The numbers of each, frame by frame.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        let (features, numbers) = (self.features(), self.frames.as_slice().expect("standard layout"));
        self.bounds.windows(2).map(move |bounds| &numbers[bounds[0] * features..bounds[1] * features])
    }

    /// The same, to be written.
    pub fn rows_mut(&mut self) -> Vec<&mut [f32]> {
        let features = self.features();
        let Self { frames, bounds } = self;
        let mut rest = frames.as_slice_mut().expect("standard layout");
        let mut rows = Vec::with_capacity(bounds.len() - 1);
        for bounds in bounds.windows(2) {
            let (row, others) = rest.split_at_mut((bounds[1] - bounds[0]) * features);
            rows.push(row);
            rest = others;
        }
        rows
    }

    /// The first `count` of them.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.bounds.truncate(count + 1);
        let frames = self.frames.slice(s![..self.bounds[count], ..]).to_owned();
        Self { frames, ..self }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn sequences_lie_side_by_side() {
        let mut sequences = Sequences::new(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [2, 1]);
        assert_eq!((sequences.count(), sequences.features(), sequences.length(0)), (2, 2, 2));
        assert_eq!(sequences.rows().collect::<Vec<_>>(), [&[1.0, 2.0, 3.0, 4.0][..], &[5.0, 6.0]]);
        sequences.rows_mut()[1][0] = 7.0;
        assert_eq!(sequences.sequence(1), array![[7.0, 6.0]]);
        assert_eq!(sequences.first(1), Sequences::new(array![[1.0, 2.0], [3.0, 4.0]], [2]));
    }
}
