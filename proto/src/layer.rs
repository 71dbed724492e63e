//! Layers on the wire.

use scff::goodness::LossParameters;
use scff::layer::{
    Algorithm, BiRnn, Conv, Dense, LayerMap, LayerSpec, MapShape, PairSource, Pool, PoolField, PoolKind,
    SequencePadding, SpecError, SpecField, Summary, Transmit,
};
use scff::optimizer::OptimizerParameters;
use scff::train::{HyperparameterError, HyperparameterField, Hyperparameters, Sharing};

use crate::{WireError, required, wire};

impl From<&LayerSpec> for wire::LayerSpec {
    fn from(spec: &LayerSpec) -> Self {
        let map = match spec.map {
            LayerMap::Dense(Dense { inputs, outputs }) => {
                wire::layer_spec::Map::Dense(wire::Dense { inputs: inputs as u64, outputs: outputs as u64 })
            }
            LayerMap::Conv(conv) => wire::layer_spec::Map::Conv(conv.into()),
            LayerMap::BiRnn(birnn) => wire::layer_spec::Map::Birnn(birnn.into()),
        };
        let pairs = match spec.pairs {
            PairSource::Makes => wire::PairSource::Makes,
            PairSource::Takes => wire::PairSource::Takes,
        };
        let transmit = match spec.transmit {
            Transmit::Triangle => wire::Transmit::Triangle,
            Transmit::Relu => wire::Transmit::Relu,
            Transmit::Standardized => wire::Transmit::Standardized,
        };
        Self {
            name: spec.name.clone(),
            map: Some(map),
            pairs: pairs.into(),
            transmit: transmit.into(),
            block: spec.block as u64,
            pool: spec.pool.map(Into::into),
            readout_pool: spec.readout_pool.map(Into::into),
        }
    }
}

impl From<MapShape> for wire::Map {
    fn from(MapShape { height, width, channels }: MapShape) -> Self {
        Self { height: height as u64, width: width as u64, channels: channels as u64 }
    }
}

impl From<BiRnn> for wire::BiRnn {
    fn from(BiRnn { input, hidden, padding, summary }: BiRnn) -> Self {
        let padding = match padding {
            SequencePadding::Masked => wire::SequencePadding::Masked,
            SequencePadding::Counts => wire::SequencePadding::Counts,
        };
        let summary = match summary {
            Summary::Last => wire::Summary::Last,
            Summary::Mean => wire::Summary::Mean,
            Summary::Thirds => wire::Summary::Thirds,
        };
        Self {
            input: Some(input.into()),
            hidden: hidden as u64,
            padding: padding.into(),
            summary: summary.into(),
        }
    }
}

impl From<Conv> for wire::Conv {
    fn from(conv: Conv) -> Self {
        let algorithm = match conv.algorithm {
            Algorithm::Direct => wire::Algorithm::Direct,
            Algorithm::Winograd => wire::Algorithm::Winograd,
        };
        Self {
            input: Some(conv.input.into()),
            channels: conv.channels as u64,
            kernel: conv.kernel as u64,
            padding: conv.padding as u64,
            algorithm: algorithm.into(),
        }
    }
}

impl From<Pool> for wire::Pool {
    fn from(pool: Pool) -> Self {
        let kind = match pool.kind {
            PoolKind::Max => wire::PoolKind::Max,
            PoolKind::Average => wire::PoolKind::Average,
        };
        Self {
            kind: kind.into(),
            size: pool.size as u64,
            stride: pool.stride as u64,
            padding: pool.padding as u64,
        }
    }
}

/// A number as it stands in a message; what is too large to be one is too large for any layer.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn linear_map(message: wire::layer_spec::Map) -> Result<LayerMap, WireError> {
    match message {
        wire::layer_spec::Map::Dense(wire::Dense { inputs, outputs }) => {
            Ok(LayerMap::Dense(Dense { inputs: size(inputs), outputs: size(outputs) }))
        }
        wire::layer_spec::Map::Conv(message) => conv(message).map(LayerMap::Conv),
        wire::layer_spec::Map::Birnn(message) => birnn(message).map(LayerMap::BiRnn),
    }
}

fn conv(message: wire::Conv) -> Result<Conv, WireError> {
    let wire::Conv { input, channels, kernel, padding, algorithm } = message;
    let input = shape(required("spec.conv.input", input)?);
    let algorithm = match wire::Algorithm::try_from(algorithm) {
        Ok(wire::Algorithm::Direct) => Algorithm::Direct,
        Ok(wire::Algorithm::Winograd) => Algorithm::Winograd,
        Err(_) => {
            return Err(WireError::new("spec.conv.algorithm", algorithm, "DIRECT (0) or WINOGRAD (1)"));
        }
    };
    Ok(Conv { input, channels: size(channels), kernel: size(kernel), padding: size(padding), algorithm })
}

fn shape(wire::Map { height, width, channels }: wire::Map) -> MapShape {
    MapShape { height: size(height), width: size(width), channels: size(channels) }
}

fn birnn(wire::BiRnn { input, hidden, padding, summary }: wire::BiRnn) -> Result<BiRnn, WireError> {
    let input = shape(required("spec.birnn.input", input)?);
    let padding = match wire::SequencePadding::try_from(padding) {
        Ok(wire::SequencePadding::Masked) => SequencePadding::Masked,
        Ok(wire::SequencePadding::Counts) => SequencePadding::Counts,
        _ => return Err(WireError::new("spec.birnn.padding", padding, "MASKED (1) or COUNTS (2)")),
    };
    let summary = match wire::Summary::try_from(summary) {
        Ok(wire::Summary::Last) => Summary::Last,
        Ok(wire::Summary::Mean) => Summary::Mean,
        Ok(wire::Summary::Thirds) => Summary::Thirds,
        _ => return Err(WireError::new("spec.birnn.summary", summary, "LAST (1), MEAN (2) or THIRDS (3)")),
    };
    Ok(BiRnn { input, hidden: size(hidden), padding, summary })
}

fn pool(kind_field: &'static str, message: Option<wire::Pool>) -> Result<Option<Pool>, WireError> {
    let Some(wire::Pool { kind, size: side, stride, padding }) = message else { return Ok(None) };
    let kind = match wire::PoolKind::try_from(kind) {
        Ok(wire::PoolKind::Max) => PoolKind::Max,
        Ok(wire::PoolKind::Average) => PoolKind::Average,
        _ => return Err(WireError::new(kind_field, kind, "MAX (1) or AVERAGE (2)")),
    };
    Ok(Some(Pool { kind, size: size(side), stride: size(stride), padding: size(padding) }))
}

/// What the mathematics has against the layer of a message.
fn refused(SpecError { field, found, expected }: SpecError, map: &LayerMap) -> WireError {
    let dense = matches!(map, LayerMap::Dense(_));
    let recurrent = map.recurrent().is_some();
    let field = match field {
        SpecField::Name => "spec.name",
        SpecField::Inputs => "spec.dense.inputs",
        SpecField::Input if recurrent => "spec.birnn.input",
        SpecField::Input => "spec.conv.input",
        SpecField::Channels | SpecField::Output if recurrent => "spec.birnn.hidden",
        SpecField::Channels | SpecField::Output if dense => "spec.dense.outputs",
        SpecField::Channels | SpecField::Output => "spec.conv.channels",
        SpecField::Kernel => "spec.conv.kernel",
        SpecField::Padding => "spec.conv.padding",
        SpecField::Algorithm => "spec.conv.algorithm",
        SpecField::Transmit => "spec.transmit",
        SpecField::Block => "spec.block",
        SpecField::Pool(PoolField::Size) => "spec.pool.size",
        SpecField::Pool(PoolField::Stride) => "spec.pool.stride",
        SpecField::Pool(PoolField::Padding) => "spec.pool.padding",
        SpecField::ReadoutPool(PoolField::Size) => "spec.readout_pool.size",
        SpecField::ReadoutPool(PoolField::Stride) => "spec.readout_pool.stride",
        SpecField::ReadoutPool(PoolField::Padding) => "spec.readout_pool.padding",
    };
    WireError { field, found, expected }
}

impl TryFrom<wire::LayerSpec> for LayerSpec {
    type Error = WireError;

    fn try_from(message: wire::LayerSpec) -> Result<Self, WireError> {
        let map = linear_map(required("spec.map", message.map)?)?;
        let pairs = match wire::PairSource::try_from(message.pairs) {
            Ok(wire::PairSource::Makes) => PairSource::Makes,
            Ok(wire::PairSource::Takes) => PairSource::Takes,
            _ => return Err(WireError::new("spec.pairs", message.pairs, "MAKES (1) or TAKES (2)")),
        };
        let transmit = match wire::Transmit::try_from(message.transmit) {
            Ok(wire::Transmit::Triangle) => Transmit::Triangle,
            Ok(wire::Transmit::Relu) => Transmit::Relu,
            Ok(wire::Transmit::Standardized) => Transmit::Standardized,
            _ => {
                let expected = "TRIANGLE (1), RELU (2) or STANDARDIZED (3)";
                return Err(WireError::new("spec.transmit", message.transmit, expected));
            }
        };
        let spec = Self {
            name: message.name,
            map,
            pairs,
            transmit,
            pool: pool("spec.pool.kind", message.pool)?,
            readout_pool: pool("spec.readout_pool.kind", message.readout_pool)?,
            block: size(message.block),
        };
        spec.checked().map_err(|error| refused(error, &map))
    }
}

impl From<&Hyperparameters> for wire::Hyperparameters {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        let Hyperparameters { loss, optimizer, sharing } = hyperparameters;
        let sharing = match sharing {
            Sharing::Channels => wire::Sharing::Channels,
            Sharing::Samples => wire::Sharing::Samples,
            Sharing::Grid => wire::Sharing::Grid,
        };
        Self {
            theta_pos: loss.theta_pos,
            theta_neg: loss.theta_neg,
            lambda: loss.lambda,
            learning_rate: optimizer.learning_rate,
            weight_decay: optimizer.weight_decay,
            gamma: optimizer.gamma,
            period: optimizer.period,
            sharing: sharing.into(),
        }
    }
}

/// Checks how a layer of `spec` learns, from samples in one view or two.
pub fn hyperparameters(
    message: wire::Hyperparameters,
    spec: &LayerSpec,
    two_views: bool,
) -> Result<Hyperparameters, WireError> {
    let wire::Hyperparameters {
        theta_pos,
        theta_neg,
        lambda,
        learning_rate,
        weight_decay,
        gamma,
        period,
        sharing,
    } = message;
    let sharing = match wire::Sharing::try_from(sharing) {
        Ok(wire::Sharing::Channels) => Sharing::Channels,
        Ok(wire::Sharing::Samples) => Sharing::Samples,
        Ok(wire::Sharing::Grid) => Sharing::Grid,
        Err(_) => {
            let expected = "CHANNELS (0), SAMPLES (1) or GRID (2)";
            return Err(WireError::new("hyperparameters.sharing", sharing, expected));
        }
    };
    let hyperparameters = Hyperparameters {
        loss: LossParameters { theta_pos, theta_neg, lambda },
        optimizer: OptimizerParameters { learning_rate, weight_decay, gamma, period },
        sharing,
    };
    hyperparameters.checked(spec, two_views).map_err(unlearnable)
}

/// What the mathematics has against the hyper-parameters of a message.
fn unlearnable(HyperparameterError { field, found, expected }: HyperparameterError) -> WireError {
    let field = match field {
        HyperparameterField::ThetaPos => "hyperparameters.theta_pos",
        HyperparameterField::ThetaNeg => "hyperparameters.theta_neg",
        HyperparameterField::Lambda => "hyperparameters.lambda",
        HyperparameterField::LearningRate => "hyperparameters.learning_rate",
        HyperparameterField::WeightDecay => "hyperparameters.weight_decay",
        HyperparameterField::Gamma => "hyperparameters.gamma",
        HyperparameterField::Period => "hyperparameters.period",
        HyperparameterField::Sharing => "hyperparameters.sharing",
    };
    WireError { field, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense() -> LayerSpec {
        LayerSpec {
            name: "dense1".into(),
            map: LayerMap::Dense(Dense { inputs: 784, outputs: 2000 }),
            pairs: PairSource::Takes,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block: 200,
        }
    }

    fn conv() -> LayerSpec {
        let input = MapShape { height: 9, width: 8, channels: 3 };
        let pool = |kind, size, padding| Some(Pool { kind, size, stride: 2, padding });
        LayerSpec {
            name: "conv1".into(),
            map: LayerMap::Conv(Conv {
                input,
                channels: 6,
                kernel: 5,
                padding: 2,
                algorithm: Algorithm::Direct,
            }),
            pool: pool(PoolKind::Max, 4, 1),
            readout_pool: pool(PoolKind::Average, 2, 0),
            ..dense()
        }
    }

    fn birnn() -> LayerSpec {
        let input = MapShape { height: 9, width: 1, channels: 39 };
        let (padding, summary) = (SequencePadding::Counts, Summary::Thirds);
        LayerSpec {
            name: "birnn1".into(),
            map: LayerMap::BiRnn(BiRnn { input, hidden: 50, padding, summary }),
            transmit: Transmit::Standardized,
            ..dense()
        }
    }

    #[test]
    fn a_layer_survives_the_wire() {
        let mut winograd = conv();
        if let LayerMap::Conv(conv) = &mut winograd.map {
            (conv.kernel, conv.algorithm) = (3, Algorithm::Winograd);
        }
        for spec in [dense(), conv(), winograd, birnn()] {
            assert_eq!(LayerSpec::try_from(wire::LayerSpec::from(&spec)), Ok(spec));
        }
    }

    fn refuse(spec: &LayerSpec, change: impl Fn(&mut wire::LayerSpec)) -> &'static str {
        let mut message = wire::LayerSpec::from(spec);
        change(&mut message);
        LayerSpec::try_from(message).unwrap_err().field
    }

    fn refuse_conv(change: impl Fn(&mut wire::Conv)) -> &'static str {
        refuse(&conv(), |spec| match &mut spec.map {
            Some(wire::layer_spec::Map::Conv(conv)) => change(conv),
            other => panic!("{other:?} is no convolution"),
        })
    }

    #[test]
    fn what_is_impossible_is_refused_by_the_message_s_field() {
        assert_eq!(refuse_conv(|conv| conv.input = None), "spec.conv.input");
        assert_eq!(refuse_conv(|conv| conv.padding = u64::MAX), "spec.conv.padding");
        assert_eq!(refuse_conv(|conv| conv.kernel = 13), "spec.conv.kernel");
        assert_eq!(refuse_conv(|conv| conv.algorithm = 2), "spec.conv.algorithm");
        assert_eq!(refuse_conv(|conv| conv.algorithm = 1), "spec.conv.algorithm");
        let large = wire::Map { height: 1 << 23, width: 1 << 23, channels: 3 };
        assert_eq!(refuse_conv(|conv| conv.input = Some(large)), "spec.conv.input");
        assert_eq!(refuse_conv(|conv| conv.channels = 1 << 20), "spec.conv.channels");
        let refuse_pool = |pool| refuse(&conv(), |spec| spec.pool = Some(pool));
        let pool = wire::Pool { kind: 1, size: 4, stride: 2, padding: 1 };
        assert_eq!(refuse_pool(wire::Pool { kind: 0, ..pool }), "spec.pool.kind");
        assert_eq!(refuse_pool(wire::Pool { size: u64::MAX, ..pool }), "spec.pool.size");
        assert_eq!(refuse_pool(wire::Pool { stride: 0, ..pool }), "spec.pool.stride");
        assert_eq!(refuse_pool(wire::Pool { padding: 3, ..pool }), "spec.pool.padding");
        let wide = wire::Pool { size: 6, padding: 0, ..pool };
        assert_eq!(refuse(&conv(), |spec| spec.readout_pool = Some(wide)), "spec.readout_pool.size");
    }

    #[test]
    fn impossible_recurrent_layers_are_refused_by_field() {
        let refuse_birnn = |change: fn(&mut wire::BiRnn)| {
            refuse(&birnn(), |spec| match &mut spec.map {
                Some(wire::layer_spec::Map::Birnn(birnn)) => change(birnn),
                other => panic!("{other:?} is no recurrent layer"),
            })
        };
        assert_eq!(refuse_birnn(|birnn| birnn.input = None), "spec.birnn.input");
        assert_eq!(refuse_birnn(|birnn| birnn.input = Some(wire::Map::default())), "spec.birnn.input");
        assert_eq!(refuse_birnn(|birnn| birnn.hidden = 0), "spec.birnn.hidden");
        assert_eq!(refuse_birnn(|birnn| birnn.hidden = u64::MAX), "spec.birnn.hidden");
        assert_eq!(refuse_birnn(|birnn| birnn.hidden = (1 << 19) + 1), "spec.birnn.hidden");
        assert_eq!(refuse_birnn(|birnn| birnn.padding = 0), "spec.birnn.padding");
        assert_eq!(refuse_birnn(|birnn| birnn.summary = 9), "spec.birnn.summary");
        assert_eq!(refuse(&birnn(), |spec| spec.transmit = 2), "spec.transmit");
        assert_eq!(refuse(&dense(), |spec| spec.transmit = 3), "spec.transmit");
        let pool = wire::Pool { kind: 1, size: 2, stride: 1, padding: 0 };
        assert_eq!(refuse(&birnn(), |spec| spec.pool = Some(pool)), "spec.pool.size");
        assert_eq!(refuse(&birnn(), |spec| spec.readout_pool = Some(pool)), "spec.readout_pool.size");
    }

    #[test]
    fn impossible_layers_are_refused_by_field() {
        assert_eq!(refuse(&dense(), |spec| spec.map = None), "spec.map");
        assert_eq!(refuse(&dense(), |spec| spec.block = 0), "spec.block");
        assert_eq!(refuse(&dense(), |spec| spec.name.clear()), "spec.name");
        assert_eq!(refuse(&dense(), |spec| spec.pairs = 9), "spec.pairs");
        let huge = wire::Dense { inputs: u64::MAX, outputs: 1 };
        let map = Some(wire::layer_spec::Map::Dense(huge));
        assert_eq!(refuse(&dense(), |spec| spec.map = map), "spec.dense.inputs");
    }
}
