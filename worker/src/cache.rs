//! Kept activations, as they came over the wire: so a kept sample has the same bits as one that is sent again.

use std::collections::HashMap;

use scff::batch::SampleKey;

/// Rows are kept in slabs of about this size, which are allocated as rows come.
const SLAB_BYTES: usize = 4 << 20;

/// Activations by sample key, each as long as it came.
pub struct Cache {
    capacity: usize,
    used: usize,
    slabs: Vec<Vec<u8>>,
    places: HashMap<SampleKey, Place>,
}

/// Where a row is kept.
#[derive(Clone, Copy)]
struct Place {
    slab: u32,
    start: u32,
    length: u32,
}

/// There is no room for another row.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Cache {
    /// Room for rows of `capacity` bytes in all; none is allocated yet.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, used: 0, slabs: Vec::new(), places: HashMap::new() }
    }

    /// How many bytes of rows may be kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many bytes of rows are kept.
    pub fn used(&self) -> usize {
        self.used
    }

    /// How many bytes more are used once `row` is kept for `key`.
    pub fn needs(&self, key: SampleKey, row: &[u8]) -> usize {
        if self.place_for(key, row).is_some() { 0 } else { row.len() }
    }

    /// The row that is kept for `key`.
    pub fn get(&self, key: SampleKey) -> Option<&[u8]> {
        let Place { slab, start, length } = *self.places.get(&key)?;
        Some(&self.slabs[slab as usize][start as usize..][..length as usize])
    }

    /// Keeps `row` for `key`, in place of what was kept for it before.
    pub fn keep(&mut self, key: SampleKey, row: &[u8]) -> Result<(), Full> {
        let place = match self.place_for(key, row) {
            Some(Place { slab, start, .. }) => {
                self.slabs[slab as usize][start as usize..][..row.len()].copy_from_slice(row);
                Place { slab, start, length: row.len() as u32 }
            }
            None if row.len() > self.capacity - self.used => return Err(Full),
            None => self.append(row),
        };
        self.places.insert(key, place);
        Ok(())
    }

    /// The place of what is kept for `key`, where it is long enough for `row`.
    fn place_for(&self, key: SampleKey, row: &[u8]) -> Option<Place> {
        self.places.get(&key).copied().filter(|place| row.len() <= place.length as usize)
    }

    fn append(&mut self, row: &[u8]) -> Place {
        let fits = |slab: &Vec<u8>| row.len() <= slab.capacity() - slab.len();
        if !self.slabs.last().is_some_and(fits) {
            // Whole rows of this length: where all are alike, nothing is left over.
            let rows = (SLAB_BYTES / row.len().max(1)).max(1);
            self.slabs.push(Vec::with_capacity((rows * row.len()).min(self.capacity - self.used)));
        }
        let last = self.slabs.len() - 1;
        let place =
            Place { slab: last as u32, start: self.slabs[last].len() as u32, length: row.len() as u32 };
        self.slabs[last].extend_from_slice(row);
        self.used += row.len();
        place
    }
}

#[cfg(test)]
mod tests {
    use scff::batch::Variant;

    use super::*;

    fn key(index: u32) -> SampleKey {
        SampleKey { index, variant: Variant(1) }
    }

    fn allocated(cache: &Cache) -> usize {
        cache.slabs.iter().map(Vec::capacity).sum()
    }

    #[test]
    fn what_is_kept_is_found_across_slabs() {
        let row_bytes = SLAB_BYTES / 3;
        let mut cache = Cache::new(8 * row_bytes);
        for index in 0..8 {
            cache.keep(key(index), &vec![index as u8; row_bytes]).unwrap();
        }
        assert_eq!((cache.slabs.len(), allocated(&cache)), (3, 8 * row_bytes));
        cache.keep(key(4), &vec![44; row_bytes]).unwrap();
        assert_eq!(cache.used(), 8 * row_bytes);
        for (index, byte) in [(0, 0), (2, 2), (3, 3), (4, 44), (7, 7)] {
            assert!(cache.get(key(index)).unwrap().iter().all(|&found| found == byte), "{index}");
        }
        assert_eq!(cache.get(key(8)), None);
    }

    #[test]
    fn nothing_is_kept_or_allocated_beyond_the_capacity() {
        let mut cache = Cache::new(30);
        assert!(cache.slabs.is_empty());
        for index in 0..3 {
            cache.keep(key(index), &[0; 10]).unwrap();
        }
        assert_eq!(cache.keep(key(3), &[0; 10]), Err(Full));
        assert_eq!(allocated(&cache), 30);
        assert_eq!(Cache::new(0).keep(key(0), &[0; 10]), Err(Full));
    }

    #[test]
    fn rows_of_different_lengths_are_kept_as_they_came() {
        let row = |index: u32| vec![index as u8; 1 + (index as usize * 7919) % (SLAB_BYTES / 3)];
        let all = (0..40).map(|index| row(index).len()).sum();
        let mut cache = Cache::new(all);
        for index in 0..40 {
            assert_eq!(cache.needs(key(index), &row(index)), row(index).len());
            cache.keep(key(index), &row(index)).unwrap();
        }
        assert!((0..40).all(|index| cache.get(key(index)) == Some(&*row(index))));
        assert_eq!(cache.used(), all);
        assert_eq!(cache.keep(key(40), &[0]), Err(Full));
    }

    #[test]
    fn a_row_takes_the_place_of_one_that_was_as_long_or_longer() {
        let mut cache = Cache::new(12);
        cache.keep(key(0), &[1; 5]).unwrap();
        cache.keep(key(1), &[2; 2]).unwrap();
        assert_eq!((cache.needs(key(0), &[3; 4]), cache.needs(key(1), &[4; 3])), (0, 3));
        cache.keep(key(0), &[3; 4]).unwrap();
        cache.keep(key(1), &[4; 3]).unwrap();
        assert_eq!((cache.get(key(0)), cache.get(key(1))), (Some(&[3; 4][..]), Some(&[4; 3][..])));
        assert_eq!(cache.used(), 10, "what has moved has left its bytes behind");
        assert_eq!(cache.keep(key(0), &[5; 5]), Err(Full));
        assert_eq!(cache.get(key(0)), Some(&[3; 4][..]));
    }
}
