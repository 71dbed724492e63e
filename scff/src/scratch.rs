//! Large buffers, used again and again: fresh memory would be zeroed by the system page by page, in every step.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// A buffer that goes back when it is dropped.
pub(crate) struct Buffer {
    numbers: Vec<f32>,
    length: usize,
}

/// A buffer of `length` numbers, whatever they are.
pub(crate) fn buffer(length: usize) -> Buffer {
    let mut numbers = {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is long enough, or else the longest.
        let fits = |buffer: &Vec<f32>| (buffer.len() < length, buffer.len().abs_diff(length));
        let best = (0..free.len()).min_by_key(|&index| fits(&free[index]));
        best.map(|index| free.swap_remove(index)).unwrap_or_default()
    };
    if numbers.len() < length {
        numbers = vec![0.0; length];
    }
    Buffer { numbers, length }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.numbers));
    }
}
