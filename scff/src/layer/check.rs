//! Which layers there can be: the only place that says so.

use std::fmt::{self, Display};

use super::birnn::BiRnn;
use super::conv::Conv;
use super::dense::Dense;
use super::layer_map::LayerMap;
use super::map::MapShape;
use super::pool::Pool;
use super::spec::{LayerSpec, Transmit};

/// Channels that a layer, a map or a block may have.
pub const CHANNELS: usize = 1 << 20;
/// Elements that an activation may have: what a layer reads, its map, and what it passes on. In single precision they are
/// a little less than 64 MiB, so that one message holds them.
pub const ELEMENTS: usize = (1 << 24) - 16;
/// Bytes of the longest name, which is repeated in messages and logs.
const NAME_BYTES: usize = 256;

/// A specification of a layer that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub struct SpecError {
    /// What is wrong; messages and configurations have names of their own for it.
    pub field: SpecField,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// A part of a layer's specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecField {
    /// The layer's name.
    Name,
    /// Elements that a dense layer reads.
    Inputs,
    /// The map that a convolution reads, or the longest sequence.
    Input,
    /// Output channels; of a dense layer, units; of a recurrent one, units of each direction.
    Channels,
    /// The layer's map, or what is passed on of it.
    Output,
    /// Side of the kernel.
    Kernel,
    /// Padding before the convolution.
    Padding,
    /// How the convolution is computed.
    Algorithm,
    /// What is passed on.
    Transmit,
    /// Channels of a block.
    Block,
    /// A number of the pooling.
    Pool(PoolField),
    /// A number of the readout's pooling.
    ReadoutPool(PoolField),
}

/// A number of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolField {
    /// Side of the window.
    Size,
    /// From one window to the next.
    Stride,
    /// Cells around the map.
    Padding,
}

impl LayerSpec {
    /// The specification, where there can be such a layer: then none of its sizes is zero or overflows, and kernels and
    /// windows fit their maps. Nothing else may be asked of it before.
    pub fn checked(self) -> Result<Self, SpecError> {
        check(!self.name.trim().is_empty(), SpecField::Name, "\"\"", || "a name".to_owned())?;
        let length = self.name.len();
        check(length <= NAME_BYTES, SpecField::Name, format_args!("{length} bytes"), || {
            format!("at most {NAME_BYTES}")
        })?;
        // It would write lines of its own into logs.
        check(!self.name.contains(char::is_control), SpecField::Name, "a control character", || {
            "a name on one line".to_owned()
        })?;
        match &self.map {
            LayerMap::Dense(dense) => check_dense(dense)?,
            LayerMap::Conv(conv) => check_conv(conv)?,
            LayerMap::BiRnn(birnn) => check_birnn(birnn)?,
        }
        self.check_transmit()?;
        check_count(SpecField::Block, self.block, CHANNELS)?;
        check_pool(self.pool, self.map.output(), SpecField::Pool)?;
        check_map(SpecField::Output, self.output())?;
        check_pool(self.readout_pool, self.output(), SpecField::ReadoutPool)?;
        Ok(self)
    }

    /// A recurrent layer passes on the states that it goes on with, frame by frame, and others cannot.
    fn check_transmit(&self) -> Result<(), SpecError> {
        if self.map.recurrent().is_none() {
            let other = self.transmit != Transmit::Standardized;
            let expected = || "triangle or relu: only recurrent layers standardise states".to_owned();
            return check(other, SpecField::Transmit, "standardized", expected);
        }
        let found = format!("{:?}", self.transmit).to_lowercase();
        check(self.transmit == Transmit::Standardized, SpecField::Transmit, found, || {
            "standardized: a recurrent layer's states".to_owned()
        })?;
        let nothing = || "nothing: sequences are not pooled".to_owned();
        check(self.pool.is_none(), SpecField::Pool(PoolField::Size), "a pooling", nothing)?;
        check(self.readout_pool.is_none(), SpecField::ReadoutPool(PoolField::Size), "a pooling", nothing)
    }
}

fn check_dense(&Dense { inputs, outputs }: &Dense) -> Result<(), SpecError> {
    check_count(SpecField::Inputs, inputs, ELEMENTS)?;
    check_count(SpecField::Channels, outputs, CHANNELS)
}

fn check_conv(conv: &Conv) -> Result<(), SpecError> {
    let Conv { input, channels, kernel, padding, algorithm } = *conv;
    check_map(SpecField::Input, input)?;
    let side = input.height.min(input.width);
    check(padding < side, SpecField::Padding, padding, || {
        format!("less than the sides of a map of {input}")
    })?;
    let most = side + 2 * padding;
    check((1..=most).contains(&kernel), SpecField::Kernel, kernel, || {
        format!("1 to {most} on a padded map of {input}")
    })?;
    check(algorithm.suits(kernel), SpecField::Algorithm, algorithm, || {
        format!("direct: only kernels of 3x3 are computed otherwise, and this one is {kernel}x{kernel}")
    })?;
    check_count(SpecField::Channels, channels, CHANNELS)?;
    check_map(SpecField::Output, conv.output())
}

fn check_birnn(birnn: &BiRnn) -> Result<(), SpecError> {
    check_map(SpecField::Input, birnn.input)?;
    check_count(SpecField::Channels, birnn.hidden, CHANNELS / 2)?;
    check_map(SpecField::Output, birnn.output())
}

fn check_pool(pool: Option<Pool>, map: MapShape, field: fn(PoolField) -> SpecField) -> Result<(), SpecError> {
    let Some(Pool { size, stride, padding, .. }) = pool else { return Ok(()) };
    let side = map.height.min(map.width);
    // A window of more than twice the map would lie in its padding for the most part.
    let most = side.saturating_add(padding.saturating_mul(2)).min(2 * side);
    let fits = (1..=most).contains(&size);
    check(fits, field(PoolField::Size), size, || format!("1 to {most} on a map of {map}"))?;
    check(padding <= size / 2, field(PoolField::Padding), padding, || "at most half the size".to_owned())?;
    check_count(field(PoolField::Stride), stride, side)
}

/// A number of things, from 1 to `most`.
fn check_count(field: SpecField, number: usize, most: usize) -> Result<(), SpecError> {
    check((1..=most).contains(&number), field, number, || format!("1 to {most}"))
}

fn check_map(field: SpecField, map: MapShape) -> Result<(), SpecError> {
    let MapShape { height, width, channels } = map;
    let elements = height.checked_mul(width).and_then(|positions| positions.checked_mul(channels));
    let fits = channels <= CHANNELS && elements.is_some_and(|elements| (1..=ELEMENTS).contains(&elements));
    check(fits, field, format_args!("a map of {map}"), || {
        format!("1 to {ELEMENTS} elements in up to {CHANNELS} channels")
    })
}

fn check(
    holds: bool,
    field: SpecField,
    found: impl Display,
    expected: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    if holds {
        return Ok(());
    }
    Err(SpecError { field, found: found.to_string(), expected: expected() })
}

impl Display for SpecField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Inputs => f.write_str("inputs"),
            Self::Input => f.write_str("input"),
            Self::Channels => f.write_str("channels"),
            Self::Output => f.write_str("output"),
            Self::Kernel => f.write_str("kernel"),
            Self::Padding => f.write_str("padding"),
            Self::Algorithm => f.write_str("algorithm"),
            Self::Transmit => f.write_str("transmit"),
            Self::Block => f.write_str("block"),
            Self::Pool(field) => write!(f, "pool.{field}"),
            Self::ReadoutPool(field) => write!(f, "readout_pool.{field}"),
        }
    }
}

impl Display for PoolField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "size",
            Self::Stride => "stride",
            Self::Padding => "padding",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::algorithm::Algorithm;
    use crate::layer::birnn::{SequencePadding, Summary};
    use crate::layer::pool::PoolKind;
    use crate::layer::spec::{PairSource, Transmit};

    const CONV: Conv = Conv {
        input: MapShape { height: 9, width: 8, channels: 3 },
        channels: 6,
        kernel: 5,
        padding: 2,
        algorithm: Algorithm::Direct,
    };
    const POOL: Pool = Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 };

    fn spec(map: LayerMap) -> LayerSpec {
        LayerSpec {
            name: "layer".into(),
            map,
            pairs: PairSource::Makes,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block: 4,
        }
    }

    fn refused(spec: LayerSpec) -> String {
        spec.checked().unwrap_err().to_string()
    }

    #[test]
    fn impossible_convolutions_are_refused_with_what_would_fit() {
        let conv = |conv| spec(LayerMap::Conv(conv));
        conv(CONV).checked().unwrap();
        assert_eq!(
            refused(conv(Conv { padding: 8, ..CONV })),
            "padding: found 8, expected less than the sides of a map of 9x8x3"
        );
        let kernel = "kernel: found 13, expected 1 to 12 on a padded map of 9x8x3";
        assert_eq!(refused(conv(Conv { kernel: 13, ..CONV })), kernel);
        assert!(refused(conv(Conv { kernel: 0, ..CONV })).starts_with("kernel: found 0"));
        let algorithm = "algorithm: found winograd, expected direct: only kernels of 3x3 are computed otherwise, and this one is 5x5";
        assert_eq!(refused(conv(Conv { algorithm: Algorithm::Winograd, ..CONV })), algorithm);
        conv(Conv { algorithm: Algorithm::Winograd, kernel: 3, ..CONV }).checked().unwrap();
        assert!(refused(conv(Conv { channels: 0, ..CONV })).starts_with("channels: found 0, expected 1 to"));
        assert!(
            refused(conv(Conv { channels: CHANNELS, ..CONV }))
                .starts_with("output: found a map of 9x8x1048576")
        );
        let huge = MapShape { height: usize::MAX, width: 3, channels: usize::MAX };
        assert!(refused(conv(Conv { input: huge, ..CONV })).starts_with("input: found a map of"));
        let flat = MapShape { width: 0, ..CONV.input };
        assert!(refused(conv(Conv { input: flat, ..CONV })).starts_with("input: found a map of 9x0x3"));
    }

    #[test]
    fn impossible_poolings_are_refused_with_what_would_fit() {
        let pooled = |pool| LayerSpec { pool: Some(pool), ..spec(LayerMap::Conv(CONV)) };
        pooled(POOL).checked().unwrap();
        assert_eq!(
            refused(pooled(Pool { size: 11, ..POOL })),
            "pool.size: found 11, expected 1 to 10 on a map of 9x8x6"
        );
        assert_eq!(
            refused(pooled(Pool { padding: 3, ..POOL })),
            "pool.padding: found 3, expected at most half the size"
        );
        assert_eq!(refused(pooled(Pool { stride: 0, ..POOL })), "pool.stride: found 0, expected 1 to 8");
        let far = Pool { size: usize::MAX, padding: usize::MAX / 2, ..POOL };
        assert!(refused(pooled(far)).ends_with("expected 1 to 16 on a map of 9x8x6"));
        // The first pooling leaves 5x4 positions.
        let wide = LayerSpec { readout_pool: Some(Pool { size: 6, padding: 0, ..POOL }), ..pooled(POOL) };
        assert_eq!(refused(wide), "readout_pool.size: found 6, expected 1 to 4 on a map of 5x4x6");
    }

    #[test]
    fn impossible_recurrent_layers_are_refused_with_what_would_fit() {
        let shape = |height, hidden| {
            let input = MapShape { height, width: 2, channels: 20 };
            let (padding, summary) = (SequencePadding::Masked, Summary::Last);
            LayerSpec {
                transmit: Transmit::Standardized,
                ..spec(LayerMap::BiRnn(BiRnn { input, hidden, padding, summary }))
            }
        };
        shape(9, 50).checked().unwrap();
        assert_eq!(refused(shape(9, 0)), "channels: found 0, expected 1 to 524288");
        let wide =
            "output: found a map of 17x1x1048576, expected 1 to 16777200 elements in up to 1048576 channels";
        assert_eq!(refused(shape(17, CHANNELS / 2)), wide);
        assert_eq!(
            refused(LayerSpec { transmit: Transmit::Relu, ..shape(9, 50) }),
            "transmit: found relu, expected standardized: a recurrent layer's states"
        );
        assert_eq!(
            refused(LayerSpec { pool: Some(POOL), ..shape(9, 50) }),
            "pool.size: found a pooling, expected nothing: sequences are not pooled"
        );
        let dense = spec(LayerMap::Dense(Dense { inputs: 3, outputs: 2 }));
        assert!(
            refused(LayerSpec { transmit: Transmit::Standardized, ..dense })
                .starts_with("transmit: found standardized, expected triangle or relu")
        );
    }

    #[test]
    fn impossible_dense_layers_are_refused_with_what_would_fit() {
        let dense = |inputs, outputs| spec(LayerMap::Dense(Dense { inputs, outputs }));
        dense(ELEMENTS, CHANNELS).checked().unwrap();
        assert_eq!(refused(dense(ELEMENTS + 1, 1)), "inputs: found 16777201, expected 1 to 16777200");
        assert_eq!(refused(dense(1, 0)), "channels: found 0, expected 1 to 1048576");
        assert_eq!(refused(LayerSpec { block: 0, ..dense(1, 1) }), "block: found 0, expected 1 to 1048576");
        assert_eq!(
            refused(LayerSpec { name: " ".into(), ..dense(1, 1) }),
            "name: found \"\", expected a name"
        );
        assert_eq!(
            refused(LayerSpec { name: "a\nb".into(), ..dense(1, 1) }),
            "name: found a control character, expected a name on one line"
        );
    }
}
