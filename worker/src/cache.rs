//! Kept activations, as they came over the wire: so a kept sample has the same bits as one that is sent again.

use std::collections::HashMap;

use scff::batch::SampleKey;

/// Rows are kept in slabs of about this size, which are allocated as rows come.
const SLAB_BYTES: usize = 4 << 20;

/// Activations by sample key.
pub struct Cache {
    row_bytes: usize,
    capacity: usize,
    rows_per_slab: usize,
    slabs: Vec<Vec<u8>>,
    places: HashMap<SampleKey, usize>,
}

/// There is no room for another row.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Cache {
    /// Room for `capacity` rows of `row_bytes` bytes; none is allocated yet.
    pub fn new(row_bytes: usize, capacity: usize) -> Self {
        let rows_per_slab = (SLAB_BYTES / row_bytes.max(1)).max(1);
        Self { row_bytes, capacity, rows_per_slab, slabs: Vec::new(), places: HashMap::new() }
    }

    /// How many rows may be kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many rows are kept.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether a row is kept for `key`.
    pub fn contains(&self, key: SampleKey) -> bool {
        self.places.contains_key(&key)
    }

    /// The row that is kept for `key`.
    pub fn get(&self, key: SampleKey) -> Option<&[u8]> {
        let place = *self.places.get(&key)?;
        let start = place % self.rows_per_slab * self.row_bytes;
        Some(&self.slabs[place / self.rows_per_slab][start..start + self.row_bytes])
    }

    /// Keeps `row` for `key`, in place of what was kept for it before.
    pub fn keep(&mut self, key: SampleKey, row: &[u8]) -> Result<(), Full> {
        assert_eq!(row.len(), self.row_bytes, "rows are cut by their length");
        if let Some(&place) = self.places.get(&key) {
            let start = place % self.rows_per_slab * self.row_bytes;
            self.slabs[place / self.rows_per_slab][start..start + self.row_bytes].copy_from_slice(row);
            return Ok(());
        }
        let place = self.len();
        if place == self.capacity {
            return Err(Full);
        }
        if place.is_multiple_of(self.rows_per_slab) {
            let rows = self.rows_per_slab.min(self.capacity - place);
            self.slabs.push(Vec::with_capacity(rows * self.row_bytes));
        }
        self.slabs.last_mut().expect("a slab was begun").extend_from_slice(row);
        self.places.insert(key, place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use scff::batch::Variant;

    use super::*;

    fn key(index: u32) -> SampleKey {
        SampleKey { index, variant: Variant(1) }
    }

    #[test]
    fn what_is_kept_is_found_across_slabs() {
        let row_bytes = SLAB_BYTES / 3;
        let mut cache = Cache::new(row_bytes, 8);
        for index in 0..8 {
            cache.keep(key(index), &vec![index as u8; row_bytes]).unwrap();
        }
        assert_eq!(cache.slabs.len(), 3);
        cache.keep(key(4), &vec![44; row_bytes]).unwrap();
        assert_eq!(cache.len(), 8);
        for (index, byte) in [(0, 0), (2, 2), (3, 3), (4, 44), (7, 7)] {
            assert!(cache.get(key(index)).unwrap().iter().all(|&found| found == byte), "{index}");
        }
        assert_eq!(cache.get(key(8)), None);
    }

    #[test]
    fn nothing_is_kept_or_allocated_beyond_the_capacity() {
        let mut cache = Cache::new(10, 3);
        assert!(cache.slabs.is_empty());
        for index in 0..3 {
            cache.keep(key(index), &[0; 10]).unwrap();
        }
        assert_eq!(cache.keep(key(3), &[0; 10]), Err(Full));
        assert_eq!(cache.slabs.iter().map(Vec::capacity).sum::<usize>(), 30);
        assert_eq!(Cache::new(10, 0).keep(key(0), &[0; 10]), Err(Full));
    }
}
