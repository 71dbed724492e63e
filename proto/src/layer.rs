//! Layers on the wire.

use scff::goodness::LossParameters;
use scff::layer::{Dense, LayerSpec, LinearMap, PairSource, Transmit};
use scff::optimizer::OptimizerParameters;
use scff::train::Hyperparameters;

use crate::limits::{CHANNELS, ELEMENTS};
use crate::{WireError, required, wire};

/// A number of things, from 1 to `limit`.
pub(crate) fn count(field: &'static str, number: u64, limit: usize) -> Result<usize, WireError> {
    match usize::try_from(number) {
        Ok(number) if (1..=limit).contains(&number) => Ok(number),
        _ => Err(WireError::new(field, number, format_args!("1 to {limit}"))),
    }
}

impl From<&LayerSpec> for wire::LayerSpec {
    fn from(spec: &LayerSpec) -> Self {
        let LinearMap::Dense(dense) = spec.map;
        let dense = wire::Dense { inputs: dense.inputs as u64, outputs: dense.outputs as u64 };
        let pairs = match spec.pairs {
            PairSource::Makes => wire::PairSource::Makes,
            PairSource::Takes => wire::PairSource::Takes,
        };
        let transmit = match spec.transmit {
            Transmit::Triangle => wire::Transmit::Triangle,
            Transmit::Relu => wire::Transmit::Relu,
        };
        Self {
            name: spec.name.clone(),
            map: Some(wire::layer_spec::Map::Dense(dense)),
            pairs: pairs.into(),
            transmit: transmit.into(),
            block: spec.block as u64,
        }
    }
}

impl TryFrom<wire::LayerSpec> for LayerSpec {
    type Error = WireError;

    fn try_from(message: wire::LayerSpec) -> Result<Self, WireError> {
        let wire::layer_spec::Map::Dense(dense) = required("spec.map", message.map)?;
        let map = LinearMap::Dense(Dense {
            inputs: count("spec.dense.inputs", dense.inputs, ELEMENTS)?,
            outputs: count("spec.dense.outputs", dense.outputs, CHANNELS)?,
        });
        let pairs = match wire::PairSource::try_from(message.pairs) {
            Ok(wire::PairSource::Makes) => PairSource::Makes,
            Ok(wire::PairSource::Takes) => PairSource::Takes,
            _ => return Err(WireError::new("spec.pairs", message.pairs, "MAKES (1) or TAKES (2)")),
        };
        let transmit = match wire::Transmit::try_from(message.transmit) {
            Ok(wire::Transmit::Triangle) => Transmit::Triangle,
            Ok(wire::Transmit::Relu) => Transmit::Relu,
            _ => return Err(WireError::new("spec.transmit", message.transmit, "TRIANGLE (1) or RELU (2)")),
        };
        let block = count("spec.block", message.block, CHANNELS)?;
        Ok(Self { name: message.name, map, pairs, transmit, block })
    }
}

impl From<&Hyperparameters> for wire::Hyperparameters {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        let Hyperparameters { loss, optimizer } = hyperparameters;
        Self {
            theta_pos: loss.theta_pos,
            theta_neg: loss.theta_neg,
            lambda: loss.lambda,
            learning_rate: optimizer.learning_rate,
            weight_decay: optimizer.weight_decay,
            gamma: optimizer.gamma,
            period: optimizer.period,
        }
    }
}

impl TryFrom<wire::Hyperparameters> for Hyperparameters {
    type Error = WireError;

    fn try_from(message: wire::Hyperparameters) -> Result<Self, WireError> {
        let wire::Hyperparameters {
            theta_pos,
            theta_neg,
            lambda,
            learning_rate,
            weight_decay,
            gamma,
            period,
        } = message;
        let numbers = [
            ("hyperparameters.theta_pos", f64::from(theta_pos)),
            ("hyperparameters.theta_neg", f64::from(theta_neg)),
            ("hyperparameters.lambda", f64::from(lambda)),
            ("hyperparameters.learning_rate", learning_rate),
            ("hyperparameters.weight_decay", weight_decay),
            ("hyperparameters.gamma", gamma),
        ];
        if let Some((field, number)) = numbers.into_iter().find(|(_, number)| !number.is_finite()) {
            return Err(WireError::new(field, number, "a finite number"));
        }
        if period == 0 {
            return Err(WireError::new("hyperparameters.period", 0, "1 or more steps"));
        }
        Ok(Self {
            loss: LossParameters { theta_pos, theta_neg, lambda },
            optimizer: OptimizerParameters { learning_rate, weight_decay, gamma, period },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LayerSpec {
        LayerSpec {
            name: "dense1".into(),
            map: LinearMap::Dense(Dense { inputs: 784, outputs: 2000 }),
            pairs: PairSource::Takes,
            transmit: Transmit::Relu,
            block: 200,
        }
    }

    #[test]
    fn a_layer_survives_the_wire() {
        assert_eq!(LayerSpec::try_from(wire::LayerSpec::from(&spec())), Ok(spec()));
    }

    #[test]
    fn impossible_layers_are_refused_by_field() {
        let refuse = |change: fn(&mut wire::LayerSpec)| {
            let mut message = wire::LayerSpec::from(&spec());
            change(&mut message);
            LayerSpec::try_from(message).unwrap_err().field
        };
        assert_eq!(refuse(|spec| spec.map = None), "spec.map");
        assert_eq!(refuse(|spec| spec.block = 0), "spec.block");
        assert_eq!(refuse(|spec| spec.pairs = 9), "spec.pairs");
        let huge = wire::Dense { inputs: u64::MAX, outputs: 1 };
        assert_eq!(
            LayerSpec::try_from(wire::LayerSpec {
                map: Some(wire::layer_spec::Map::Dense(huge)),
                ..wire::LayerSpec::from(&spec())
            })
            .unwrap_err()
            .field,
            "spec.dense.inputs"
        );
    }
}
