//! The moments of samples that come one after the other.

use super::moments::Moments;
use super::read_error::ReadError;

/// Shows the values of each sample, (positions, channels), to what it is given, in the samples' order.
pub type Each<'a, T> = dyn FnMut(&mut dyn FnMut(&[T])) -> Result<(), ReadError> + 'a;

/// Of bytes / 255. Sums of bytes are whole numbers, so their order does not matter.
pub fn bytes(channels: usize, each: &mut Each<'_, u8>) -> Result<Vec<Moments>, ReadError> {
    let mut sums = vec![(0_u64, 0_u64); channels];
    let mut count = 0;
    each(&mut |bytes| {
        for pixel in bytes.chunks_exact(channels) {
            for ((sum, squares), &byte) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(byte);
                *squares += u64::from(byte).pow(2);
            }
        }
        count += bytes.len() / channels;
    })?;
    let count = count.max(1) as f64;
    let moments = |(sum, squares): (u64, u64)| {
        let mean = sum as f64 / count;
        let squares = squares as f64 / count - mean * mean;
        Moments::new(mean / 255.0, squares.max(0.0) * count / (255.0 * 255.0), count)
    };
    Ok(sums.into_iter().map(moments).collect())
}

/// Of numbers; what is missing, which is not a number, does not count.
pub fn numbers(channels: usize, each: &mut Each<'_, f32>) -> Result<Vec<Moments>, ReadError> {
    let mut sums = vec![(0.0, 0.0); channels];
    each(&mut |numbers| {
        for frame in numbers.chunks_exact(channels) {
            for ((sum, count), &value) in sums.iter_mut().zip(frame).filter(|(_, value)| !value.is_nan()) {
                *sum += f64::from(value);
                *count += 1.0;
            }
        }
    })?;
    let means: Vec<(f64, f64)> =
        sums.into_iter().map(|(sum, count)| (sum / f64::max(count, 1.0), f64::max(count, 1.0))).collect();
    let mut squares = vec![0.0; channels];
    each(&mut |numbers| {
        for frame in numbers.chunks_exact(channels) {
            let columns = squares.iter_mut().zip(&means).zip(frame);
            for ((squares, (mean, _)), &value) in columns.filter(|(_, value)| !value.is_nan()) {
                *squares += (f64::from(value) - mean).powi(2);
            }
        }
    })?;
    let moments = means.into_iter().zip(squares);
    Ok(moments.map(|((mean, count), squares)| Moments::new(mean, squares, count)).collect())
}
