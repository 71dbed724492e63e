//! Images that are stored one channel after the other.

use super::shape::Shape;

/// How the pixels of one channel are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// (height, width).
    RowMajor,
    /// (width, height).
    ColumnMajor,
}

/// Writes an image that is stored as planes, (channels, height, width) or (channels, width, height), to `out`,
/// (height, width, channels).
pub fn channels_last(shape: Shape, plane: Plane, image: &[u8], out: &mut [u8]) {
    let Shape { height, width, channels } = shape;
    assert_eq!((image.len(), out.len()), (shape.len(), shape.len()), "an image {shape}");
    let (row_stride, column_stride) = match plane {
        Plane::RowMajor => (width, 1),
        Plane::ColumnMajor => (1, height),
    };
    for (y, row) in out.chunks_exact_mut(width * channels).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
            let at = y * row_stride + x * column_stride;
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = image[channel * height * width + at];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { height: 2, width: 3, channels: 2 };

    fn converted(plane: Plane, image: [u8; 12]) -> Vec<u8> {
        let mut out = vec![0; SHAPE.len()];
        channels_last(SHAPE, plane, &image, &mut out);
        out
    }

    #[test]
    fn planes_of_rows_and_of_columns_hold_the_same_image() {
        // Tens are the channel; the image is 1 2 3 above 4 5 6.
        let expected = [11, 21, 12, 22, 13, 23, 14, 24, 15, 25, 16, 26];
        let rows = [11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25, 26];
        assert_eq!(converted(Plane::RowMajor, rows), expected);
        let columns = [11, 14, 12, 15, 13, 16, 21, 24, 22, 25, 23, 26];
        assert_eq!(converted(Plane::ColumnMajor, columns), expected);
    }
}
