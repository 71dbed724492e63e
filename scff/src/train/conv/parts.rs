//! Which pairs a row is part of.

use crate::pair::{Pair, PairedRows};

/// A pair that a row is part of.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Which pair.
    pub(super) pair: usize,
    /// The row of the other half.
    pub(super) other: Option<usize>,
    /// How many of the halves the row is.
    pub(super) halves: f32,
    /// Whether the row is the first half: each pair has one row that adds up its part of the bias gradient.
    pub(super) first: bool,
}

/// The pairs that each row is part of.
pub(super) fn parts(input: &PairedRows) -> Vec<Vec<Part>> {
    let mut parts: Vec<Vec<Part>> = vec![Vec::new(); input.rows().nrows()];
    for (index, pair) in input.pairs().iter().enumerate() {
        let Pair { first, second, .. } = *pair;
        let part = |other, halves, first| Part { pair: index, other, halves, first };
        match second {
            Some(second) if second != first => {
                parts[first].push(part(Some(second), 1.0, true));
                parts[second].push(part(Some(first), 1.0, false));
            }
            Some(_) => parts[first].push(part(second, 2.0, true)),
            None => parts[first].push(part(None, 1.0, true)),
        }
    }
    parts
}
