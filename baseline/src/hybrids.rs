//! Negative samples of the original Forward-Forward algorithm (G. Hinton, arXiv 2212.13345, section 3.2): one image in some large
//! regions and another one in all others, so that what stands close together looks like an image and the whole does not.

use rand_chacha::rand_core::Rng;
use scff::seed::below;

/// How often a mask is blurred: its regions are then about as wide as the strokes of a digit of 28 x 28 pixels are long.
const BLURS: usize = 10;

/// A mask of large regions, (height, width): random bits, blurred again and again by \[1/4, 1/2, 1/4\] in both directions, and what
/// is above one half. Beyond an edge, the edge's own numbers go on.
pub fn mask(height: usize, width: usize, random: &mut impl Rng) -> Vec<bool> {
    let mut values: Vec<f32> = (0..height * width).map(|_| below(random, 2) as f32).collect();
    for _ in 0..BLURS {
        let across = |index: usize, values: &[f32]| {
            let (row, column) = (index / width * width, index % width);
            blurred(
                values[row + column.saturating_sub(1)],
                values[index],
                values[row + (column + 1).min(width - 1)],
            )
        };
        values = (0..values.len()).map(|index| across(index, &values)).collect();
        let down = |index: usize, values: &[f32]| {
            let (row, column) = (index / width, index % width);
            let at = |row: usize| values[row * width + column];
            blurred(at(row.saturating_sub(1)), at(row), at((row + 1).min(height - 1)))
        };
        values = (0..values.len()).map(|index| down(index, &values)).collect();
    }
    values.into_iter().map(|value| value > 0.5).collect()
}

fn blurred(before: f32, here: f32, after: f32) -> f32 {
    0.25 * before + 0.5 * here + 0.25 * after
}

/// Writes `first` where the mask is set and `second` elsewhere: images of (height, width, channels), a mask of (height, width).
pub fn hybrid(mask: &[bool], first: &[f32], second: &[f32], out: &mut [f32]) {
    let channels = out.len() / mask.len();
    let pixels = first.chunks_exact(channels).zip(second.chunks_exact(channels));
    for ((&set, (first, second)), out) in mask.iter().zip(pixels).zip(out.chunks_exact_mut(channels)) {
        out.copy_from_slice(if set { first } else { second });
    }
}

#[cfg(test)]
mod tests {
    use scff::batch::{Epoch, Step};
    use scff::seed::{NO_LAYER, Purpose, Seed};

    use super::*;

    fn masks() -> impl Iterator<Item = Vec<bool>> {
        (0..50).map(|step| {
            let mut random = Seed(1).stream(Purpose::NegativePairs, NO_LAYER, Epoch(0), Step(step));
            mask(28, 20, &mut random)
        })
    }

    #[test]
    fn masks_have_large_regions_of_both_kinds() {
        let (mut set, mut edges, mut all) = (0, 0, 0);
        for mask in masks() {
            set += mask.iter().filter(|set| **set).count();
            all += mask.len();
            edges +=
                mask.chunks_exact(20).flat_map(|row| row.windows(2)).filter(|two| two[0] != two[1]).count();
        }
        let share = set as f64 / all as f64;
        assert!((0.45..0.55).contains(&share), "{share}");
        // Of independent bits half of all neighbours would differ.
        let borders = edges as f64 / all as f64;
        assert!((0.01..0.15).contains(&borders), "{borders}");
        assert_ne!(masks().next(), masks().nth(1));
        assert_eq!(masks().next(), masks().next());
    }

    #[test]
    fn hybrids_have_whole_pixels_of_either_image() {
        let (first, second) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
        let mut out = [0.0; 6];
        hybrid(&[true, false, true], &first, &second, &mut out);
        assert_eq!(out.map(|value: f32| value as i32), [1, 2, -3, -4, 5, 6]);
    }
}
