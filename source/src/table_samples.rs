//! Samples of a table, read when they are asked for.

use std::ops::Range;
use std::sync::Arc;

use super::bad_file::BadFile;
use super::examples::Examples;
use super::input::{InputKind, InputSpec, NumberInput};
use super::shape::Shape;
use super::table_file::TableFile;

/// Rows of a table, read when they are asked for.
#[derive(Clone, Debug)]
pub struct TableSamples {
    /// The table.
    pub file: TableFile,
    /// How many there are.
    pub rows: usize,
    /// The columns that samples are made of, in this order.
    pub columns: Arc<[usize]>,
    /// What they become; of no classes.
    pub input: Arc<InputSpec>,
}

impl TableSamples {
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The shape of every sample.
    pub fn shape(&self) -> Shape {
        self.input.shape()
    }

    /// Reads a range of the rows; no labels.
    pub fn read(&self, range: Range<usize>) -> Result<Examples, BadFile> {
        let InputKind::Numbers(NumberInput { shape, table, .. }) = &self.input.kind else {
            unreachable!("a table has numbers")
        };
        let missing = table.as_ref().map_or_else(Default::default, |table| table.missing);
        let mut numbers = Vec::new();
        self.file.numbers(range, &self.columns, missing, &mut numbers)?;
        let mut examples = Examples::from_rows(*shape, numbers, Vec::new());
        self.input.scale(&mut examples);
        Ok(examples)
    }
}
