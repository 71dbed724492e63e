//! Some of many samples, in an order of their own.

use std::sync::Arc;

/// Which samples are meant: all in their order, or those of some indices.
#[derive(Clone, Debug, Default)]
pub struct Choice(Option<Arc<[u32]>>);

impl Choice {
    /// How many there are, of `all`.
    pub fn len(&self, all: usize) -> usize {
        self.0.as_ref().map_or(all, |indices| indices.len())
    }

    /// Which one of all stands at a place.
    pub fn at(&self, place: u32) -> usize {
        self.0.as_ref().map_or(place, |indices| indices[place as usize]) as usize
    }

    /// Those that stand at these places.
    #[must_use]
    pub fn of(&self, places: &[u32]) -> Self {
        Self(Some(places.iter().map(|&place| self.at(place) as u32).collect()))
    }
}
