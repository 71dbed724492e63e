//! The columns of a table, and what stands in them.

use std::borrow::Cow;

use ndarray::ArrayView2;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// What stands in it.
    pub kind: ColumnKind,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// A text for each row.
    Text,
    /// A number for each row.
    Number,
    /// So many numbers for each row.
    Numbers(usize),
}

/// What stands in a column for some rows.
#[derive(Clone, Debug)]
pub enum Values<'a> {
    /// (rows)
    Text(Vec<Cow<'a, str>>),
    /// (rows, numbers of each); one of each where the column has one.
    Numbers(ArrayView2<'a, f32>),
}

impl Column {
    /// A column of texts.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Text }
    }

    /// A column of single numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnKind::Number }
    }

    /// A column of so many numbers each.
    pub fn numbers(name: impl Into<String>, count: usize) -> Self {
        Self { name: name.into(), kind: ColumnKind::Numbers(count) }
    }
}

impl Values<'_> {
    /// For how many rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Text(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.nrows(),
        }
    }
}
