//! Which hyper-parameters there can be: the only place that says so.

use std::fmt::{self, Display};

use crate::layer::LayerSpec;

use super::layer::Hyperparameters;
use super::sharing::Sharing;

/// Hyper-parameters that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub struct HyperparameterError {
    /// What is wrong; messages and configurations have names of their own for it.
    pub field: HyperparameterField,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// One of a layer's hyper-parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HyperparameterField {
    /// Threshold of positive pairs.
    ThetaPos,
    /// Threshold of negative pairs.
    ThetaNeg,
    /// Weight of the penalty.
    Lambda,
    /// Learning rate of the first step.
    LearningRate,
    /// Decoupled weight decay.
    WeightDecay,
    /// What the learning rate is multiplied by.
    Gamma,
    /// Steps from one such multiplication to the next.
    Period,
    /// What those divide who share the layer.
    Sharing,
}

impl Hyperparameters {
    /// The hyper-parameters, where a layer of `spec` can learn so, from samples in one view or two.
    pub fn checked(self, spec: &LayerSpec, two_views: bool) -> Result<Self, HyperparameterError> {
        use HyperparameterField as Field;
        let Self { loss, optimizer, sharing } = self;
        check(loss.theta_pos.is_finite(), Field::ThetaPos, loss.theta_pos, "a finite number")?;
        check(loss.theta_neg.is_finite(), Field::ThetaNeg, loss.theta_neg, "a finite number")?;
        check(not_negative(loss.lambda.into()), Field::Lambda, loss.lambda, "0 or more")?;
        let rate = optimizer.learning_rate;
        check(positive(rate), Field::LearningRate, rate, "a positive number")?;
        let decay = optimizer.weight_decay;
        check(not_negative(decay), Field::WeightDecay, decay, "0 or more")?;
        check(positive(optimizer.gamma), Field::Gamma, optimizer.gamma, "a positive number")?;
        check(optimizer.period > 0, Field::Period, optimizer.period, "1 or more steps")?;
        check(sharing.is_possible(spec, two_views), Field::Sharing, sharing, expected_of(sharing))?;
        Ok(self)
    }
}

/// What may stand where a layer cannot be shared so.
fn expected_of(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Channels | Sharing::Samples => {
            "channels: samples only of direct convolutions that make pairs of one view"
        }
        Sharing::Grid => "channels: a grid only of convolutions that take pairs",
    }
}

fn positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

fn not_negative(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

fn check(
    holds: bool,
    field: HyperparameterField,
    found: impl Display,
    expected: &str,
) -> Result<(), HyperparameterError> {
    if holds {
        return Ok(());
    }
    Err(HyperparameterError { field, found: found.to_string(), expected: expected.to_owned() })
}

impl Display for HyperparameterField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThetaPos => "theta_pos",
            Self::ThetaNeg => "theta_neg",
            Self::Lambda => "lambda",
            Self::LearningRate => "learning_rate",
            Self::WeightDecay => "weight_decay",
            Self::Gamma => "gamma",
            Self::Period => "period",
            Self::Sharing => "sharing",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goodness::LossParameters;
    use crate::layer::{Algorithm, Conv, Dense, LayerMap, MapShape, PairSource, Transmit};
    use crate::optimizer::OptimizerParameters;

    const GOOD: Hyperparameters = Hyperparameters {
        loss: LossParameters { theta_pos: -1.0, theta_neg: 0.0, lambda: 0.0 },
        optimizer: OptimizerParameters { learning_rate: 1e-9, weight_decay: 0.0, gamma: 2.0, period: 1 },
        sharing: Sharing::Channels,
    };

    fn spec(map: LayerMap, pairs: PairSource) -> LayerSpec {
        let (pool, readout_pool) = (None, None);
        LayerSpec { name: "layer".into(), map, pairs, transmit: Transmit::Relu, pool, readout_pool, block: 4 }
    }

    fn dense() -> LayerSpec {
        spec(LayerMap::Dense(Dense { inputs: 1, outputs: 1 }), PairSource::Makes)
    }

    #[test]
    fn what_no_layer_can_learn_by_is_refused() {
        type Change = fn(&mut Hyperparameters);
        let cases: [(&str, Change); 9] = [
            ("theta_pos: found NaN, expected a finite", |wrong| wrong.loss.theta_pos = f32::NAN),
            ("theta_neg: found -inf, expected a finite", |wrong| wrong.loss.theta_neg = f32::NEG_INFINITY),
            ("lambda: found -0.5, expected 0 or more", |wrong| wrong.loss.lambda = -0.5),
            ("learning_rate: found 0, expected a positive", |wrong| wrong.optimizer.learning_rate = 0.0),
            ("learning_rate: found inf, expected", |wrong| wrong.optimizer.learning_rate = f64::INFINITY),
            ("weight_decay: found -1, expected 0 or more", |wrong| wrong.optimizer.weight_decay = -1.0),
            ("weight_decay: found NaN, expected 0 or more", |wrong| wrong.optimizer.weight_decay = f64::NAN),
            ("gamma: found 0, expected a positive number", |wrong| wrong.optimizer.gamma = 0.0),
            ("period: found 0, expected 1 or more steps", |wrong| wrong.optimizer.period = 0),
        ];
        assert_eq!(GOOD.checked(&dense(), true), Ok(GOOD));
        for (says, change) in cases {
            let mut wrong = GOOD;
            change(&mut wrong);
            let error = wrong.checked(&dense(), true).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn samples_are_shared_only_of_convolutions() {
        let input = MapShape { height: 3, width: 3, channels: 1 };
        let map =
            LayerMap::Conv(Conv { input, channels: 2, kernel: 3, padding: 0, algorithm: Algorithm::Direct });
        let samples = Hyperparameters { sharing: Sharing::Samples, ..GOOD };
        let conv = |pairs| spec(map, pairs);
        assert_eq!(samples.checked(&conv(PairSource::Makes), false), Ok(samples));
        let LayerMap::Conv(direct) = map else { unreachable!("as it was made") };
        let winograd = LayerMap::Conv(Conv { algorithm: Algorithm::Winograd, ..direct });
        let winograd = spec(winograd, PairSource::Makes);
        for (spec, two_views) in [
            (conv(PairSource::Makes), true),
            (conv(PairSource::Takes), false),
            (winograd, false),
            (dense(), false),
        ] {
            let error = samples.checked(&spec, two_views).unwrap_err().to_string();
            assert!(error.starts_with("sharing: found samples, expected channels"), "{error}");
        }
        let grid = Hyperparameters { sharing: Sharing::Grid, ..GOOD };
        assert_eq!(grid.checked(&conv(PairSource::Takes), true), Ok(grid));
        for spec in [conv(PairSource::Makes), dense()] {
            let error = grid.checked(&spec, false).unwrap_err().to_string();
            assert!(error.starts_with("sharing: found grid, expected channels: a grid only of"), "{error}");
        }
    }
}
