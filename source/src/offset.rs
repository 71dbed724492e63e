//! Where an image is moved in its frame.

use scff::batch::Variant;

use super::image::Image;

/// How far an image is moved, in pixels; p pixels at most along each axis, by which offsets are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Towards higher rows.
    pub down: i32,
    /// Towards higher columns.
    pub right: i32,
}

impl Offset {
    /// How many offsets there are of at most `pixels` along each axis: (2p + 1)^2.
    pub fn count(pixels: u8) -> u32 {
        side(pixels).pow(2) as u32
    }

    /// The number of this offset: (down * (2p + 1) + right) mod (2p + 1)^2, so that 0 moves nothing.
    pub fn variant(self, pixels: u8) -> Variant {
        let side = side(pixels);
        Variant((self.down * side + self.right).rem_euclid(side * side) as u16)
    }

    /// The offset of that number.
    pub fn of(variant: Variant, pixels: u8) -> Self {
        let (p, side) = (i32::from(pixels), side(pixels));
        let from_corner = (i32::from(variant.0) + p * side + p) % (side * side);
        Self { down: from_corner / side - p, right: from_corner % side - p }
    }

    /// Writes the moved image to `out`, (height, width, channels), with background filled in.
    pub fn apply(self, image: Image<'_>, out: &mut [f32]) {
        let Image { shape, values, background } = image;
        assert_eq!((values.len(), out.len()), (shape.len(), shape.len()), "an image {shape}");
        for pixel in out.chunks_exact_mut(shape.channels) {
            pixel.copy_from_slice(background);
        }
        let (from_row, to_row, rows) = overlap(self.down, shape.height);
        let (from_column, to_column, columns) = overlap(self.right, shape.width);
        let length = columns * shape.channels;
        for row in 0..rows {
            let from = ((from_row + row) * shape.width + from_column) * shape.channels;
            let to = ((to_row + row) * shape.width + to_column) * shape.channels;
            out[to..to + length].copy_from_slice(&values[from..from + length]);
        }
    }
}

/// How many offsets an axis has: 2p + 1.
fn side(pixels: u8) -> i32 {
    2 * i32::from(pixels) + 1
}

/// The part of an axis that stays in view: where it starts before and after the move, and its length.
fn overlap(offset: i32, length: usize) -> (usize, usize, usize) {
    let distance = (offset.unsigned_abs() as usize).min(length);
    let kept = length - distance;
    if offset < 0 { (distance, 0, kept) } else { (0, distance, kept) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::shape::Shape;

    #[test]
    fn variants_number_all_offsets_and_0_moves_nothing() {
        for pixels in [0, 1, 2, 3, 127] {
            let mut offsets = HashSet::new();
            for variant in (0..Offset::count(pixels) as u16).map(Variant) {
                let offset = Offset::of(variant, pixels);
                let p = i32::from(pixels);
                assert!(offset.down.abs() <= p && offset.right.abs() <= p, "{offset:?}");
                assert_eq!(offset.variant(pixels), variant);
                offsets.insert((offset.down, offset.right));
            }
            assert_eq!(offsets.len(), (2 * usize::from(pixels) + 1).pow(2));
            assert_eq!(Offset::of(Variant(0), pixels), Offset { down: 0, right: 0 });
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "pixels are copied, not computed")]
    fn a_positive_offset_moves_down_and_right() {
        let shape = Shape { height: 2, width: 2, channels: 1 };
        let image = Image { shape, values: &[1.0, 2.0, 3.0, 4.0], background: &[-1.0] };
        let mut out = [0.0; 4];
        Offset { down: 1, right: 0 }.apply(image, &mut out);
        assert_eq!(out, [-1.0, -1.0, 1.0, 2.0]);
        Offset { down: 0, right: 1 }.apply(image, &mut out);
        assert_eq!(out, [-1.0, 1.0, -1.0, 3.0]);
    }
}
