//! How workers that share a layer stand: rows that divide the samples of a batch, and columns that divide channels.

use std::fmt;
use std::str::FromStr;

/// Rows and columns, at least one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Each has some of the samples.
    pub rows: usize,
    /// Each has some of the channels.
    pub columns: usize,
}

impl Grid {
    /// One worker that has all.
    pub const ONE: Self = Self { rows: 1, columns: 1 };

    /// How many workers stand in it.
    pub fn workers(self) -> usize {
        self.rows * self.columns
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rows, self.columns)
    }
}

impl FromStr for Grid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (rows, columns) = text.split_once('x').ok_or(())?;
        let number = |text: &str| match text.parse::<u16>() {
            Ok(number @ 1..) => Ok(usize::from(number)),
            _ => Err(()),
        };
        Ok(Self { rows: number(rows)?, columns: number(columns)? })
    }
}

/// In which grids workers may share a layer: the first one of no more workers than there are is the best.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grids(pub Vec<Grid>);

impl Grids {
    /// Nobody shares it.
    pub fn one() -> Self {
        Self(vec![Grid::ONE])
    }

    /// How so many workers should stand; some may be left over.
    pub fn best(&self, workers: usize) -> Grid {
        self.0.iter().copied().find(|grid| grid.workers() <= workers).unwrap_or(Grid::ONE)
    }

    /// Whether more than so many workers would stand better.
    pub fn wants_more(&self, workers: usize) -> bool {
        self.0.first().is_some_and(|grid| grid.workers() > workers)
    }
}
