//! Samples of a table, read when they are asked for.

use std::ops::Range;
use std::sync::Arc;

use super::bad_file::BadFile;
use super::cells::Cells;
use super::examples::Examples;
use super::held::Held;
use super::input::{InputKind, InputSpec, NumberInput};
use super::shape::Shape;
use super::table_file::TableFile;
use super::table_options::Missing;
use super::work::Work;

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
    /// Rows that are known to be broken.
    pub broken: Arc<[(usize, BadFile)]>,
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
        Ok(self.examples(self.numbers(range)?))
    }

    /// Rows of these numbers.
    pub fn examples(&self, numbers: impl Into<Held<f32>>) -> Examples {
        let mut examples = Examples::from_rows(self.shape(), numbers, Vec::new());
        self.input.scale(&mut examples);
        examples
    }

    /// What there is to do until all numbers are read, row by row where some may be broken.
    pub fn work(&self, skip_broken: bool) -> Work<'_, f32> {
        Work {
            samples: self.rows,
            values: self.rows * self.columns.len(),
            decoding: format!("the columns {:?}, missing {:?}", self.columns, self.missing()),
            ragged: false,
            decode: Box::new(move |range| {
                if skip_broken {
                    return range.map(|row| self.row(row).map(|numbers| (numbers, None))).collect();
                }
                vec![self.numbers(range).map(|numbers| (numbers, None))]
            }),
            sums: None,
            stored: None,
        }
    }

    fn row(&self, row: usize) -> Result<Vec<f32>, BadFile> {
        match self.broken.binary_search_by_key(&row, |(broken, _)| *broken) {
            Ok(place) => Err(self.broken[place].1.clone()),
            Err(_) => self.numbers(row..row + 1),
        }
    }

    fn missing(&self) -> Missing {
        match &self.input.kind {
            InputKind::Numbers(NumberInput { table: Some(table), .. }) => table.missing,
            _ => Missing::default(),
        }
    }

    fn numbers(&self, rows: Range<usize>) -> Result<Vec<f32>, BadFile> {
        let mut numbers = Vec::new();
        self.file.numbers(Cells { rows, columns: &self.columns, missing: self.missing() }, &mut numbers)?;
        Ok(numbers)
    }
}
