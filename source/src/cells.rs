//! Cells of a table.

use std::ops::Range;

use super::table_options::Missing;

/// Which cells of a table are asked for as numbers.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    /// Of these rows, one after the other.
    pub rows: Range<usize>,
    /// Of each these columns, in this order.
    pub columns: &'a [usize],
    /// What becomes of those that are missing.
    pub missing: Missing,
}
