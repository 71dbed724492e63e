//! How the numbers of a sample are laid out, and what they mean.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The shape of one sample: (height, width, channels), in this order wherever samples are kept or sent.
///
/// So the channels of a pixel lie side by side, then the pixels of a row, then the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
    /// Channels, C.
    pub channels: usize,
}

impl Shape {
    /// How many numbers a sample has: H * W * C.
    #[expect(clippy::len_without_is_empty, reason = "no sample is empty")]
    pub fn len(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}

/// What the bytes of a channel become: (byte / 255 - mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelScale {
    /// The channel's mean over the training set, of bytes / 255.
    pub mean: f32,
    /// Their standard deviation.
    pub deviation: f32,
}

impl ChannelScale {
    /// From 0 to 1.
    pub const UNIT: Self = Self { mean: 0.0, deviation: 1.0 };

    /// The number that `byte` stands for.
    pub fn apply(self, byte: u8) -> f32 {
        (f32::from(byte) / 255.0 - self.mean) / self.deviation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_written_with_crosses_channels_last() {
        let shape = Shape { channels: 3, height: 28, width: 30 };
        assert_eq!((shape.to_string().as_str(), shape.len()), ("28x30x3", 2520));
    }

    #[test]
    fn the_unit_scale_divides_by_255_to_the_last_bit() {
        for byte in 0..=255 {
            assert_eq!(ChannelScale::UNIT.apply(byte).to_bits(), (f32::from(byte) / 255.0).to_bits());
        }
    }

    #[test]
    fn a_scale_subtracts_the_mean_of_unit_pixels_and_divides_by_their_deviation() {
        let scale = ChannelScale { mean: 0.2, deviation: 0.5 };
        assert!((scale.apply(0) + 0.4).abs() < 1e-6);
        assert!((scale.apply(51)).abs() < 1e-6);
        assert!((scale.apply(255) - 1.6).abs() < 1e-6);
    }
}
