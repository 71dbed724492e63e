//! Random views of an image.

use rand::Rng;
use scff::batch::Variant;
use scff::seed::below;

use super::examples::Shape;

/// The largest translation whose variants all have a number.
pub const MAX_TRANSLATION: u8 = 127;

/// What training does to an image before a layer sees it.
///
/// A view is a [`Variant`]: `draw` picks one, `apply` makes it, and variant 0 is the image as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Augmentation {
    /// Nothing.
    None,
    /// Moved along each axis by round(u) pixels, u uniform in [-p, p], zeros filled in.
    ///
    /// So +-p have probability 1/(4p) each and every offset between them 1/(2p). The variant of an offset is
    /// (down * (2p + 1) + right) mod (2p + 1)^2.
    Translation {
        /// p, at most [`MAX_TRANSLATION`].
        pixels: u8,
    },
}

impl Augmentation {
    /// How many variants there are; they are numbered from 0.
    pub fn variants(self) -> u16 {
        match self {
            Self::None => 1,
            Self::Translation { pixels } => Offset::side(pixels).pow(2) as u16,
        }
    }

    /// A random variant: for a translation the offset down, then the offset right.
    pub fn draw(self, random: &mut impl Rng) -> Variant {
        match self {
            Self::None | Self::Translation { pixels: 0 } => Variant(0),
            Self::Translation { pixels } => {
                let bound = 4 * u32::from(pixels);
                let down = offset_of(below(random, bound), pixels);
                let right = offset_of(below(random, bound), pixels);
                Offset { down, right }.variant(pixels)
            }
        }
    }

    /// Writes the view `variant` of `image`, (channels, height, width), to `out`.
    pub fn apply(self, variant: Variant, shape: Shape, image: &[f32], out: &mut [f32]) {
        assert!(variant.0 < self.variants(), "{self:?} has no variant {}", variant.0);
        match self {
            Self::None => out.copy_from_slice(image),
            Self::Translation { pixels } => Offset::of(variant, pixels).apply(shape, image, out),
        }
    }
}

/// The offset of one axis for a number drawn from 0..4p: -p for 0, p for 4p - 1, two numbers for each other.
fn offset_of(drawn: u32, pixels: u8) -> i32 {
    drawn.div_ceil(2) as i32 - i32::from(pixels)
}

/// Where a translation moves an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset {
    down: i32,
    right: i32,
}

impl Offset {
    /// How many offsets an axis has: 2p + 1.
    fn side(pixels: u8) -> i32 {
        assert!(pixels <= MAX_TRANSLATION, "a translation by {pixels} pixels has more variants than numbers");
        2 * i32::from(pixels) + 1
    }

    fn variant(self, pixels: u8) -> Variant {
        let side = Self::side(pixels);
        Variant((self.down * side + self.right).rem_euclid(side * side) as u16)
    }

    fn of(variant: Variant, pixels: u8) -> Self {
        let (p, side) = (i32::from(pixels), Self::side(pixels));
        let from_corner = (i32::from(variant.0) + p * side + p) % (side * side);
        Self { down: from_corner / side - p, right: from_corner % side - p }
    }

    fn apply(self, shape: Shape, image: &[f32], out: &mut [f32]) {
        assert_eq!((image.len(), out.len()), (shape.len(), shape.len()), "an image {shape}");
        out.fill(0.0);
        let (from_row, to_row, rows) = overlap(self.down, shape.height);
        let (from_column, to_column, columns) = overlap(self.right, shape.width);
        for channel in 0..shape.channels {
            for row in 0..rows {
                let from = (channel * shape.height + from_row + row) * shape.width + from_column;
                let to = (channel * shape.height + to_row + row) * shape.width + to_column;
                out[to..to + columns].copy_from_slice(&image[from..from + columns]);
            }
        }
    }
}

/// The part of an axis that stays in view: where it starts before and after the move, and its length.
fn overlap(offset: i32, length: usize) -> (usize, usize, usize) {
    let distance = (offset.unsigned_abs() as usize).min(length);
    let kept = length - distance;
    if offset < 0 { (distance, 0, kept) } else { (0, distance, kept) }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use scff::batch::{Epoch, LayerIndex, Step};
    use scff::seed::{Purpose, Seed};

    use super::*;

    const SHAPE: Shape = Shape { channels: 2, height: 4, width: 5 };

    /// out[y][x] = image[y - down][x - right], 0 outside.
    fn naive(offset: Offset, shape: Shape, image: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for channel in 0..shape.channels {
            for y in 0..shape.height as i32 {
                for x in 0..shape.width as i32 {
                    let (y, x) = (y - offset.down, x - offset.right);
                    let inside =
                        (0..shape.height as i32).contains(&y) && (0..shape.width as i32).contains(&x);
                    let at =
                        (channel * shape.height) as i32 * shape.width as i32 + y * shape.width as i32 + x;
                    out.push(if inside { image[at as usize] } else { 0.0 });
                }
            }
        }
        out
    }

    #[test]
    fn every_offset_has_exactly_its_probability() {
        for p in [1_u8, 2, 3, 127] {
            let mut counts = HashMap::new();
            for drawn in 0..4 * u32::from(p) {
                *counts.entry(offset_of(drawn, p)).or_insert(0) += 1;
            }
            let p = i32::from(p);
            assert_eq!(counts.len() as i32, 2 * p + 1);
            for offset in -p..=p {
                // In units of 1/(4p): 1/(4p) at the ends, 1/(2p) between them.
                assert_eq!(counts[&offset], if offset.abs() == p { 1 } else { 2 }, "offset {offset} of {p}");
            }
        }
    }

    #[test]
    fn variants_number_all_offsets_and_0_is_none_of_them() {
        for pixels in [0, 1, 2, 3, MAX_TRANSLATION] {
            let variants = Augmentation::Translation { pixels }.variants();
            assert_eq!(u32::from(variants), (2 * u32::from(pixels) + 1).pow(2));
            let mut offsets = HashSet::new();
            for variant in (0..variants).map(Variant) {
                let offset = Offset::of(variant, pixels);
                let p = i32::from(pixels);
                assert!(offset.down.abs() <= p && offset.right.abs() <= p, "{offset:?}");
                assert_eq!(offset.variant(pixels), variant);
                offsets.insert((offset.down, offset.right));
            }
            assert_eq!(offsets.len(), usize::from(variants));
            assert_eq!(Offset::of(Variant(0), pixels), Offset { down: 0, right: 0 });
        }
    }

    #[test]
    fn every_view_equals_its_naive_twin() {
        let image: Vec<f32> = (1..=SHAPE.len()).map(|i| i as f32).collect();
        for pixels in [0, 1, 2, 7] {
            let augmentation = Augmentation::Translation { pixels };
            for variant in (0..augmentation.variants()).map(Variant) {
                let mut out = vec![f32::NAN; SHAPE.len()];
                augmentation.apply(variant, SHAPE, &image, &mut out);
                assert_eq!(out, naive(Offset::of(variant, pixels), SHAPE, &image), "{variant:?} of {pixels}");
            }
        }
    }

    #[test]
    fn variant_0_is_the_image_as_it_is() {
        let image: Vec<f32> = (0..SHAPE.len()).map(|i| i as f32).collect();
        for augmentation in [Augmentation::None, Augmentation::Translation { pixels: 2 }] {
            let mut out = vec![f32::NAN; SHAPE.len()];
            augmentation.apply(Variant(0), SHAPE, &image, &mut out);
            assert_eq!(out, image);
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "pixels are copied, not computed")]
    fn a_positive_offset_moves_down_and_right() {
        let shape = Shape { channels: 1, height: 2, width: 2 };
        let mut out = [0.0; 4];
        Offset { down: 1, right: 0 }.apply(shape, &[1.0, 2.0, 3.0, 4.0], &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0, 2.0]);
        Offset { down: 0, right: 1 }.apply(shape, &[1.0, 2.0, 3.0, 4.0], &mut out);
        assert_eq!(out, [0.0, 1.0, 0.0, 3.0]);
    }

    #[test]
    fn drawn_variants_are_spread_as_the_product_of_both_axes() {
        let augmentation = Augmentation::Translation { pixels: 2 };
        let mut random = Seed(1).stream(Purpose::Augmentation, LayerIndex(0), Epoch(0), Step(0));
        let mut counts = [0_i32; 25];
        for _ in 0..64_000 {
            counts[usize::from(augmentation.draw(&mut random).0)] += 1;
        }
        for (variant, count) in counts.into_iter().enumerate() {
            let Offset { down, right } = Offset::of(Variant(variant as u16), 2);
            let weight = |offset: i32| if offset.abs() == 2 { 1 } else { 2 };
            let expected = 1000 * weight(down) * weight(right);
            // Five standard deviations of the largest binomial count: 5 * sqrt(4000) = 316.
            assert!((count - expected).abs() < 316, "{down} {right}: {count}, expected {expected}");
        }
    }

    #[test]
    fn without_augmentation_nothing_is_drawn() {
        let stream = || Seed(1).stream(Purpose::Augmentation, LayerIndex(0), Epoch(0), Step(0));
        let mut random = stream();
        assert_eq!(Augmentation::None.draw(&mut random), Variant(0));
        assert_eq!(Augmentation::Translation { pixels: 0 }.draw(&mut random), Variant(0));
        assert_eq!(random.next_u64(), stream().next_u64());
    }
}
