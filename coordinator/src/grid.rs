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

/// What a worker does for a layer in each of its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Seconds that whoever has most of it computes.
    pub computed: f64,
    /// Seconds that it waits for sums of others.
    pub waited: f64,
    /// Seconds that its network card sends.
    pub sending: f64,
}

/// What a worker does in a step of all layers that it trains.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    computed: f64,
    waited: f64,
    /// Seconds that its network card sends, and receives.
    sending: f64,
    receiving: f64,
}

impl Load {
    /// One more layer. While one waits for sums another computes, so that only the longest wait is left.
    pub fn add(&mut self, more: Cost) {
        self.computed += more.computed;
        self.waited = self.waited.max(more.waited);
        // As much of sums comes as goes.
        self.carry(more.sending, more.sending);
    }

    /// More for its network card, while it computes: seconds of sending and of receiving.
    pub fn carry(&mut self, sending: f64, receiving: f64) {
        self.sending += sending;
        self.receiving += receiving;
    }

    /// Seconds of it all.
    pub fn seconds(self) -> f64 {
        self.at_work().max(self.sending).max(self.receiving)
    }

    /// The same where its network card were as fast as need be.
    pub fn at_work(self) -> f64 {
        self.computed + self.waited
    }
}

/// In which grids workers may share a layer, and what each comes to: the first one of no more workers than there are is the best.
#[derive(Clone, Debug, PartialEq)]
pub struct Grids(pub Vec<(Grid, Cost)>);

impl Grids {
    /// How so many workers should stand, and what that comes to; some may be left over.
    pub fn choice(&self, workers: usize) -> (Grid, Cost) {
        let fits = |(grid, _): &&(Grid, Cost)| grid.workers() <= workers;
        *self.0.iter().find(fits).expect("one worker can have a layer for itself")
    }

    /// How so many workers should stand; some may be left over.
    pub fn best(&self, workers: usize) -> Grid {
        self.choice(workers).0
    }

    /// Whether more than so many workers would stand better.
    pub fn wants_more(&self, workers: usize) -> bool {
        self.0.first().is_some_and(|(grid, _)| grid.workers() > workers)
    }
}
