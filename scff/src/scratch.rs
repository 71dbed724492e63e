//! Large buffers, used again and again: fresh memory would be zeroed by the system page by page, in every step.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// A buffer begins at a multiple of so many bytes: a line of the caches, and the widest registers. Numbers that lie across
/// two lines are read and written in two pieces.
const LINE: usize = 64;
const NUMBERS_OF_A_LINE: usize = LINE / size_of::<f32>();

static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// A buffer that goes back when it is dropped. It has no numbers before it is made.
#[derive(Default)]
pub(crate) struct Buffer {
    numbers: Vec<f32>,
    /// Where the first line begins.
    start: usize,
    length: usize,
}

/// A buffer of `length` numbers, whatever they are.
pub(crate) fn buffer(length: usize) -> Buffer {
    let needed = length + NUMBERS_OF_A_LINE;
    let mut numbers = {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is long enough, or else the longest.
        let fits = |buffer: &Vec<f32>| (buffer.len() < needed, buffer.len().abs_diff(needed));
        let best = (0..free.len()).min_by_key(|&index| fits(&free[index]));
        best.map(|index| free.swap_remove(index)).unwrap_or_default()
    };
    if numbers.len() < needed {
        numbers = vec![0.0; needed];
    }
    let start = numbers.as_ptr().align_offset(LINE).min(NUMBERS_OF_A_LINE);
    Buffer { numbers, start, length }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..][..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        if !numbers.is_empty() {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_with_a_line_whichever_it_was_before() {
        for length in [0, 1, 15, 16, 1000, 17] {
            let buffer = buffer(length);
            assert_eq!((buffer.len(), buffer.as_ptr().align_offset(LINE)), (length, 0));
        }
    }
}
